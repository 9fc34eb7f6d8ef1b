-- needs: rows, lifecycle, change, flush
-- A: {queue, depth or -1, aging in ms or -1}. Jobs that wait keep the rank that they have.
wrote()
local key = P .. 'q:' .. A[1]
for field, value in pairs({depth = A[2], aging = A[3]}) do
  if value < 0 then CALL('HDEL', key, field) else CALL('HSET', key, field, value) end
end
CALL('SADD', P .. 'queues', A[1])
return answer()

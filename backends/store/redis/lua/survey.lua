-- needs: rows, views
-- A: {epoch, owner, limit of ready jobs counted, limit of isolated jobs shown}.
if not leads(A[1], A[2]) then return stale() end
local ready, alone = {}, {}
for _, name in ipairs(CALL('SMEMBERS', P .. 'queues')) do
  if CALL('HGET', P .. 'q:' .. name, 'paused') ~= '1' then
    local n = CALL('ZCARD', P .. 'ready:' .. name)
    if n > 0 then ready[#ready + 1] = {name, math.min(n, A[3])} end
    for _, ref in ipairs(CALL('ZRANGE', P .. 'alone:' .. name, 0, A[4] - 1)) do alone[#alone + 1] = ref end
  end
end
local shown = {}
for _, r in ipairs(rows_of(alone)) do
  if r then shown[#shown + 1] = {r.ref, r.id, r.queue} end
end
return answer(views(), ready, shown)

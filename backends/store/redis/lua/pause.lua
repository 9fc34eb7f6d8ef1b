-- needs: rows, lifecycle, change, flush
-- A: {queue, whether it is to be paused}.
if A[2] then
  for _, session in ipairs(CALL('HVALS', P .. 'sessions')) do
    for _, r in ipairs(rows_of(CALL('SMEMBERS', P .. 's:' .. session .. ':a'))) do
      if r and r.queue == A[1] and r.state == ASSIGNED then move(r, E_WITHDRAW, 0) end
    end
  end
end
flush()
CALL('HSET', P .. 'q:' .. A[1], 'paused', A[2] and '1' or '0')
CALL('SADD', P .. 'queues', A[1])
queue_of(A[1]).paused = A[2]
ring('nodes')
wake(true)
return answer()

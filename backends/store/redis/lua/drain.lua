-- needs: rows, lifecycle, change, flush
-- A: {node, whether it is to be drained}.
wrote()
CALL(A[2] and 'SADD' or 'SREM', P .. 'draining', A[1])
ring('nodes')
wake(true)
return answer()

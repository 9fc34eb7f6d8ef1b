-- A: {name}.
if CALL('HEXISTS', P .. 'schedules', A[1]) == 0 then return answer(false) end
wrote()
CALL('HDEL', P .. 'schedules', A[1])
CALL('HDEL', P .. 'ticks', A[1])
return answer(true)

-- A: {name, entry, last tick}. An unchanged one keeps its last tick.
if CALL('HGET', P .. 'schedules', A[1]) == A[2] then return answer() end
wrote()
CALL('HSET', P .. 'schedules', A[1], A[2])
CALL('HSET', P .. 'ticks', A[1], string.format('%.0f', A[3]))
return answer()

-- needs: rows, lifecycle, change, flush, insert
-- A: {epoch, owner, schedule, last tick, tick, groups of jobs, most jobs of a queue}.
if not leads(A[1], A[2]) then return stale() end
if tonumber(CALL('HGET', P .. 'ticks', A[3]) or '') ~= A[4] then return answer(false) end
local _, n = choose(A[6])
local queue, holds, most, more = full(A[6], A[7])
if queue then return refuse('full', queue, holds, most, more) end
add(PUT, P .. 'ticks', A[3], string.format('%.0f', A[5]))
NEW_WORK = n > 0
if n > 0 then insert(A[6]) end
flush()
wake(false)
return answer(true)

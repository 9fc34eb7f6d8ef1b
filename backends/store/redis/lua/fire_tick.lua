-- needs: rows, lifecycle, change, flush, insert
-- A: {epoch, owner, schedule, last tick, tick, jobs, most jobs of a queue}.
if not leads(A[1], A[2]) then return stale() end
if tonumber(CALL('HGET', P .. 'ticks', A[3]) or '') ~= A[4] then return answer(false) end
local _, fresh = choose(A[6])
local queue, holds, most = full(fresh, A[7])
if queue then return refuse('full', queue, holds, most, #fresh) end
if #fresh > 0 then insert(fresh) end
add(PUT, P .. 'ticks', A[3], string.format('%.0f', A[5]))
flush()
wake(false)
return answer(true)

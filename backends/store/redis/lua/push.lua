-- needs: rows, lifecycle, change, flush, insert
-- A: {groups of jobs, most jobs of a queue that may wait or run}.
local ids, n = choose(A[1])
local queue, holds, most, more = full(A[1], A[2])
if queue then return refuse('full', queue, holds, most, more) end
if n == 0 then return answer(ids, 0, false) end
insert(A[1])
NEW_WORK = true
flush()
return answer(ids, n, wake(false))

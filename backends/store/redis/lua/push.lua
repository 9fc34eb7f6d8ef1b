-- needs: rows, lifecycle, change, flush, insert
-- A: {jobs, most jobs of a queue that may wait or run}.
local ids, fresh = choose(A[1])
local queue, holds, most = full(fresh, A[2])
if queue then return refuse('full', queue, holds, most, #fresh) end
if #fresh == 0 then return answer(ids, 0, false) end
insert(fresh)
flush()
return answer(ids, #fresh, wake(false))

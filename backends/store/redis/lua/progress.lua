-- needs: rows, lifecycle, change, flush
-- A: {session, {ref, id, epoch, seq, what it says}}.
local refs = {}
for i, one in ipairs(A[2]) do refs[i] = one[1] end
for i, r in ipairs(rows_of(refs)) do
  local one = A[2][i]
  if r and r.state == RUNNING and r.id == one[2] and r.epoch == one[3] and r.seq == one[4] and r.session == A[1] then
    r.flags = with(r.flags, HAS_PROGRESS)
    CHANGED[r.ref] = r
    add(PUT, P .. 'progress', r.ref, cmsgpack.pack({NOW, one[5]}))
  end
end
if next(CHANGED) then flush() end
return answer()

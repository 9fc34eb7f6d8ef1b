-- needs: rows, lifecycle, change, flush
-- A: {session, {ref, id, epoch, seq}}. Answers with the places of those that were refused.
local refused, refs = {}, {}
local alive = CALL('HEXISTS', P .. 's:' .. A[1], 'node') == 1
for i, one in ipairs(A[2]) do refs[i] = one[1] end
for i, r in ipairs(rows_of(refs)) do
  local one = A[2][i]
  if alive and r and r.state == RUNNING and r.id == one[2] and r.epoch == one[3] and r.seq == one[4]
    and r.session == A[1] then
    if r.started == 0 then
      r.started = NOW
      CHANGED[r.ref] = r
    end
  else
    refused[#refused + 1] = i
  end
end
if next(CHANGED) then flush() end
return answer(refused)

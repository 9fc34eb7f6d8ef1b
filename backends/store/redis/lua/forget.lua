-- needs: rows, lifecycle, change, flush
-- A: {ids or false, queue or '', place to look from, how many to look at}. How many went, where to go on, whether to.
local refs, more = {}, false
if A[1] then
  for _, ref in ipairs(fields(P .. 'ids', A[1])) do
    if ref then refs[#refs + 1] = ref end
  end
else
  refs = CALL('ZRANGE', P .. 'failed', A[3], A[3] + A[4] - 1)
  more = #refs == A[4]
end
local went, seen = 0, {}
for _, r in ipairs(rows_of(refs)) do
  if r and not seen[r.ref] and r.state == FAILED and (A[2] == '' or r.queue == A[2]) and move(r, E_FORGET, 0) then
    seen[r.ref] = true
    went = went + 1
  end
end
if went > 0 then
  flush()
  for topic in pairs(RINGS) do ring(topic) end
end
return answer(went, A[3] + #refs - went, more)

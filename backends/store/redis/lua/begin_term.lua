-- A: {cluster id, backend, number, owner}.
local held = CALL('HMGET', KEYS[1], 'cluster', 'backend', 'term', 'claimant', 'epoch')
local epoch = tonumber(held[5] or '') or 0
if held[1] then
  if held[1] ~= A[1] or held[2] ~= A[2] then return refuse('cluster', held[1], held[2] or '') end
  local term = tonumber(held[3] or '') or 0
  if term == A[3] and held[4] == A[4] and epoch > 0 then return answer(epoch) end
  if A[3] <= term then return refuse('term', term, held[4] or '') end
end
SET = {cluster = A[1], backend = A[2], term = string.format('%.0f', A[3]), claimant = A[4], owner = A[4],
  epoch = epoch + 1, waiting = '0'}
wrote()
return answer(epoch + 1)

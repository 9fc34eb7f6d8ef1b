-- A: {cluster id, backend, number, owner}.
local held = CALL('HMGET', KEYS[1], 'cluster', 'backend', 'term', 'claimant', 'epoch')
local epoch = tonumber(held[5] or '') or 0
if held[1] then
  if held[1] ~= A[1] or held[2] ~= A[2] then return refuse('cluster', held[1], held[2] or '') end
  local term = tonumber(held[3] or '') or 0
  if term == A[3] and held[4] == A[4] and epoch > 0 then return answer(epoch) end
  if A[3] <= term then return refuse('term', term, held[4] or '') end
end
-- Tokens go on from the time: should the server lose its newest writes, none of the lost ones is issued again.
local seq = math.max(tonumber(STORE[6] or '') or 0, NOW * 1000)
SET = {cluster = A[1], backend = A[2], term = string.format('%.0f', A[3]), claimant = A[4], owner = A[4],
  epoch = epoch + 1, waiting = '0',
  seq = string.format('%.0f', seq)}
wrote()
return answer(epoch + 1)

-- needs: rows, lifecycle, change, flush
-- A: {queue, how many at most, last ref or 0: the newest now}. How many went, the last ref.
local last = A[3] > 0 and A[3] or tonumber(STORE[7] or '') or 0
local went, left = 0, A[2]

local function purge(refs)
  for _, r in ipairs(rows_of(refs)) do
    if r and r.queue == A[1] and tonumber(r.ref) <= last and r.state <= ASSIGNED and left > 0 then
      move(r, E_PURGE, 0)
      went = went + 1
      left = left - 1
    end
  end
end

for _, kind in ipairs({'delayed:', 'ready:', 'alone:'}) do
  if left > 0 then purge(CALL('ZRANGE', P .. kind .. A[1], 0, left - 1)) end
end
for _, session in ipairs(CALL('HVALS', P .. 'sessions')) do
  if left > 0 then purge(CALL('SMEMBERS', P .. 's:' .. session .. ':a')) end
end
if went > 0 then
  flush()
  wake(true)
end
return answer(went, last)

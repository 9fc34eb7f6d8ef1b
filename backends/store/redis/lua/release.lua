-- needs: rows, lifecycle, change, flush
-- A: {epoch or 0 for the node itself, owner, session, counter or -1, why}. Ends a session and releases
-- its rows: one act, so that nothing is stranded in between.
if A[1] > 0 and not leads(A[1], A[2]) then return stale() end
if A[1] < 0 then return stale() end
local session = A[3]
local key = P .. 's:' .. session
local s = CALL('HMGET', key, 'node', 'counter')
if not s[1] then return answer(0, 0, {}, true, 0) end
if A[4] >= 0 and tonumber(s[2] or '') ~= A[4] then return answer(0, 0, {}, false, 0) end

local err = cmsgpack.pack({'NodeLost', 'node ' .. s[1] .. ' was lost: ' .. A[5], ''})
local handed_back, lost, doubted, quarantined = 0, 0, 0, {}

local function release(r)
  local event = release_event(r)
  local ran = r.state == RUNNING and r.started > 0
  if not move(r, event, 0, err) then return end
  if event == E_QUARANTINE then quarantined[#quarantined + 1] = r.id end
  if event == E_DOUBT then
    doubted = doubted + 1
  elseif ran then
    lost = lost + 1
  else
    handed_back = handed_back + 1
  end
end

for _, set in ipairs({':a', ':r'}) do
  for _, r in ipairs(rows_of(CALL('SMEMBERS', key .. set))) do
    if r and r.session == session and is_held(r.state) then release(r) end
  end
end
RINGS['session-' .. session] = true
flush()
CALL('DEL', key, key .. ':a', key .. ':r', key .. ':q', key .. ':c')
if CALL('HGET', P .. 'sessions', s[1]) == tostring(session) then CALL('HDEL', P .. 'sessions', s[1]) end
wake(true)
return answer(handed_back, lost, quarantined, true, doubted)

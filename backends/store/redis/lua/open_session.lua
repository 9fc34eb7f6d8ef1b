-- needs: rows, lifecycle, change, flush, pools
-- A: {node, boot id, info, ttl in ms, pools, host, pid}.
local held = CALL('HGET', P .. 'sessions', A[1])
if held then
  local key = P .. 's:' .. held
  local s = CALL('HMGET', key, 'boot', 'pid', 'host', 'ttl')
  if s[1] and s[1] ~= A[2] then return refuse('conflict', s[2] or '', s[3] or '', tonumber(s[4] or '') or 0) end
  if s[1] then
    local more = raised(key, A[5])
    wrote()
    CALL('HINCRBY', key, 'counter', 1)
    CALL('HSET', key, 'ttl', A[4], 'info', A[3])
    replace_pools(key, A[5])
    if more then wake(true) end
    return answer(tonumber(held))
  end
end
-- Numbers go on from the time, in seconds: a number that a server lost with its newest writes is not given again.
local session = math.max((tonumber(CALL('HGET', KEYS[1], 'session') or '') or 0) + 1, math.floor(NOW / 1000))
local key = P .. 's:' .. session
local more = raised(key, A[5])
SET.session = session
wrote()
CALL('DEL', key, key .. ':a', key .. ':r', key .. ':q', key .. ':c')
CALL('HSET', key, 'node', A[1], 'boot', A[2], 'info', A[3], 'ttl', A[4], 'counter', 0, 'alone', 0, 'host', A[6],
  'pid', A[7])
CALL('HSET', P .. 'sessions', A[1], session)
CALL('HSET', P .. 'nodes', session, A[1])
replace_pools(key, A[5])
if more then wake(true) end
return answer(session)

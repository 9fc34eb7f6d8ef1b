-- Sessions as the leader sees them, by number: {session, info, counter, ttl in ms, pools, alone, draining, held by
-- queue}.
local function live_sessions()
  local list = {}
  for _, one in ipairs(CALL('HVALS', P .. 'sessions')) do list[#list + 1] = tonumber(one) end
  table.sort(list)
  return list
end

local function view_of(session)
  local key = P .. 's:' .. session
  local s = CALL('HMGET', key, 'node', 'info', 'counter', 'ttl', 'pools', 'alone')
  if not s[1] then return nil end
  return {session, s[2] or '', tonumber(s[3] or '') or 0, tonumber(s[4] or '') or 0, s[5] or '',
    tonumber(s[6] or '') or 0, CALL('SISMEMBER', P .. 'draining', s[1]), CALL('HGETALL', key .. ':q')}
end

local function views()
  local list = {}
  for _, session in ipairs(live_sessions()) do list[#list + 1] = view_of(session) end
  return list
end

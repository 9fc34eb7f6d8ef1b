-- needs: rows, lifecycle, change, flush, views
-- A: {epoch, owner, limit, finished at most, their age in ms, failed at most, their age, age of ids}.
if not leads(A[1], A[2]) then return stale() end

local function drop(r)
  if r and not is_live(r.state) then
    leave(r)
    forget(r, r.finished)
  end
end

-- Completed and cancelled rows, a list in the order of their ends.
local function prune_finished(most, age, limit)
  if limit <= 0 then return 0 end
  local excess = CALL('LLEN', P .. 'finished') - most
  local refs = CALL('LRANGE', P .. 'finished', 0, math.min(limit, math.max(excess, 1)) - 1)
  local went = 0
  while #refs > 0 do
    for i, r in ipairs(rows_of(refs)) do
      if went >= limit or (went >= excess and r and r.finished >= NOW - age) then
        later('LTRIM', P .. 'finished', {went, -1})
        return went
      end
      drop(r)
      went = went + 1
    end
    refs = went < limit and CALL('LRANGE', P .. 'finished', went, limit - 1) or {}
  end
  later('LTRIM', P .. 'finished', {went, -1})
  return went
end

local function prune_failed(most, age, limit)
  local old = CALL('ZCOUNT', P .. 'failed', '-inf', '(' .. string.format('%.0f', NOW - age))
  local n = math.min(math.max(CALL('ZCARD', P .. 'failed') - most, old), limit)
  if n <= 0 then return 0 end
  local refs = CALL('ZRANGE', P .. 'failed', 0, n - 1)
  for i, r in ipairs(rows_of(refs)) do
    drop(r)
    add(ZDROP, P .. 'failed', refs[i])
  end
  return #refs
end

local function drop_old(key, until_ms, limit, drop)
  local old = CALL('ZRANGEBYSCORE', P .. key, '-inf', '(' .. string.format('%.0f', until_ms), 'LIMIT', 0, limit)
  for _, one in ipairs(old) do
    add(ZDROP, P .. key, one)
    drop(one)
  end
end

local function drop_results(limit)
  local refs = CALL('ZRANGEBYSCORE', P .. 'results', '-inf', NOW, 'LIMIT', 0, limit)
  for i, r in ipairs(rows_of(refs)) do
    add(ZDROP, P .. 'results', refs[i])
    add(DROP, P .. 'result', refs[i])
    if r and has(r.flags, HAS_RESULT) then
      r.flags = without(r.flags, HAS_RESULT)
      CHANGED[refs[i]] = r
    end
  end
end

-- What sessions hold, counted from the rows.
local function recount()
  for _, session in ipairs(live_sessions()) do
    local key = P .. 's:' .. session
    local held, alone = {}, 0
    for _, set in ipairs({':a', ':r'}) do
      for _, r in ipairs(rows_of(CALL('SMEMBERS', key .. set))) do
        if r and r.session == session and is_held(r.state) then
          held[r.queue] = (held[r.queue] or 0) + 1
          if isolated(r.losses) then alone = alone + 1 end
        end
      end
    end
    local before = CALL('HGETALL', key .. ':q')
    for i = 1, #before, 2 do
      local name, n = before[i], held[before[i]] or 0
      if tonumber(before[i + 1]) ~= n then CALL('HSET', key .. ':q', name, n) end
    end
    if tonumber(CALL('HGET', key, 'alone') or '') ~= alone then CALL('HSET', key, 'alone', alone) end
  end
end

-- Names of the nodes that sessions had, for rows that tell where they ran last: the newest 10,000 sessions'.
local function drop_names()
  local names = CALL('HLEN', P .. 'nodes')
  if names <= 10000 then return end
  local last, old = tonumber(CALL('HGET', KEYS[1], 'session') or '') or 0, {}
  for _, session in ipairs(CALL('HKEYS', P .. 'nodes')) do
    local number = tonumber(session) or 0
    if number <= last - 10000 and CALL('EXISTS', P .. 's:' .. session) == 0 then old[#old + 1] = session end
  end
  bulk('HDEL', P .. 'nodes', old)
end

drop_results(A[3])
local went = prune_finished(A[4], A[5], A[3])
went = went + prune_failed(A[6], A[7], A[3] - went)
drop_old('gone', NOW - A[8], A[3], function(id) add(DROP, P .. 'ids', id) end)
drop_old('periods', NOW, A[3], function(key)
  local until_ms = string.match(CALL('HGET', P .. 'unique', key) or '', '^(%d+) ')
  if until_ms and until_ms ~= '0' and tonumber(until_ms) <= NOW then add(DROP, P .. 'unique', key) end
end)
if went > 0 or next(ZDROP) then flush() end
recount()
drop_names()
return answer(went)

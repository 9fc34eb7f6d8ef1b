-- Writing what `change` has gathered, and waking who waits for it.

-- The unique keys that are still the rows' own.
local function keys_to_free()
  local names, mine = {}, {}
  for i, one in ipairs(FREE) do names[i] = one[1] end
  for i, value in ipairs(fields(P .. 'unique', names)) do
    if value and string.match(value, '^%d+ (%d+) ') == FREE[i][2] then mine[#mine + 1] = names[i] end
  end
  return mine
end

local function each(command, lists)
  for key, list in pairs(lists) do bulk(command, key, list) end
end

local TYPE_OF = {HSET = 'hash', ZADD = 'zset', SADD = 'set', SREM = 'set', LTRIM = 'list'}

local function check(key, type)
  local is = CALL('TYPE', key).ok
  if is ~= type and is ~= 'none' then error('the key ' .. key .. ' is a ' .. is .. ' and no ' .. type) end
end

local function check_all(lists, type)
  for key in pairs(lists) do check(key, type) end
end

-- Nothing of what is written below may fail: the writes before it would stay.
local function check_keys()
  check(P .. 'rows', 'hash')
  check(P .. 'unique', 'hash')
  check(P .. 'finished', 'list')
  check_all(DROP, 'hash')
  check_all(PUT, 'hash')
  check_all(COUNT, 'hash')
  check_all(ZDROP, 'zset')
  check_all(ZPUT, 'zset')
  check_all(SDROP, 'set')
  check_all(SPUT, 'set')
  for _, one in ipairs(LATER) do check(one[2], TYPE_OF[one[1]]) end
end

local function flush()
  local free = keys_to_free()
  check_keys()
  local rows = {}
  for ref, r in pairs(CHANGED) do
    rows[#rows + 1] = ref
    rows[#rows + 1] = packed(r)
  end
  for ref, data in pairs(NEW_DATA) do
    rows[#rows + 1] = ref
    rows[#rows + 1] = data
  end
  wrote()
  bulk('HSET', P .. 'rows', rows)
  bulk('HDEL', P .. 'unique', free)
  for _, one in ipairs(LATER) do bulk(one[1], one[2], one[3]) end
  bulk('RPUSH', P .. 'finished', ENDED)
  each('HDEL', DROP)
  each('HSET', PUT)
  each('ZREM', ZDROP)
  each('ZADD', ZPUT)
  each('SREM', SDROP)
  each('SADD', SPUT)
  for key, counts in pairs(COUNT) do
    for field, n in pairs(counts) do
      if n ~= 0 then CALL('HINCRBY', key, field, n) end
    end
  end
end

local function any_waits()
  for _, name in ipairs(CALL('SMEMBERS', P .. 'queues')) do
    local open = CALL('HGET', P .. 'q:' .. name, 'paused') ~= '1'
    if open and CALL('ZCARD', P .. 'ready:' .. name) + CALL('ZCARD', P .. 'alone:' .. name) > 0 then return true end
  end
  return false
end

-- Rings the leader, if it waits, for a ready job in a queue that it saw empty; `room`: for any ready job. Rings the
-- others.
local function wake(room)
  for topic in pairs(RINGS) do ring(topic) end
  if STORE[5] ~= '1' then return false end
  local fresh = false
  for name in pairs(MADE_READY) do
    local q = queue_of(name)
    if q.idle and not q.paused then
      fresh = true
      CALL('HSET', P .. 'q:' .. name, 'idle', '0')
    end
  end
  if not fresh and not (room and any_waits()) then return false end
  CALL('HSET', KEYS[1], 'waiting', '0')
  ring('leader')
  return true
end

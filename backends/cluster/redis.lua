-- The cluster on Redis: leases, locks, members and broadcasts of one installation, each act one script.
-- KEYS[1]: "{tag}:cluster". ARGV[1]: the act. ARGV[2]: the cluster's id, "" to learn it. ARGV[3]: {arguments}.
-- Times are the server's. What grants is checked and written in one act; the numbers that fence are never deleted.
if redis.replicate_commands then redis.replicate_commands() end
local CALL = redis.call
local KEY = KEYS[1]
local P = string.sub(KEY, 1, -8)
local A = cmsgpack.unpack(ARGV[3])
local NODES_MAX, LOCKS_MAX, MESSAGES_MAX, BYTES_MAX = 1000, 10000, 10000, 67108864
local clock = CALL('TIME')
local NOW = clock[1] * 1000 + math.floor(clock[2] / 1000)
local ROW = CALL('HMGET', KEY, 'id', 'number', 'lock_number', 'members_version', 'message', 'bytes')
local SEPARATOR = '\n'  -- in no name: names are printable

local function number(text)
  return tonumber(text or '') or 0
end

local function answer(...)
  return cmsgpack.pack({0, 0, ...})
end

local function ring()
  CALL('PUBLISH', P .. 'bell:cluster', '')
end

-- The term in force: number, owner, handle, ttl in ms, end; or nil.
local function in_force()
  local term = CALL('HMGET', P .. 'term', 'number', 'owner', 'handle', 'ttl', 'ends')
  if term[1] and number(term[5]) > NOW then
    return number(term[1]), term[2] or '', term[3] or '', number(term[4]), number(term[5])
  end
end

local function holds(asked_number, owner, handle)
  local held, its_owner, its_handle = in_force()
  return held == asked_number and its_owner == owner and its_handle == handle
end

-- Number and holder of a lock that is held now.
local function live_lock(key)
  local ends = CALL('ZSCORE', P .. 'locks', key)
  if not ends or tonumber(ends) <= NOW then return nil end
  local value = CALL('HGET', P .. 'lock_holders', key) or ''
  local at = string.find(value, SEPARATOR, 1, true)
  if at then return tonumber(string.sub(value, 1, at - 1)), string.sub(value, at + 1) end
end

local function drop_expired(index, values)
  local old = CALL('ZRANGEBYSCORE', P .. index, '-inf', NOW, 'LIMIT', 0, 1000)
  if #old > 0 then
    CALL('ZREM', P .. index, unpack(old))
    CALL('HDEL', P .. values, unpack(old))
  end
  return #old
end

local acts = {}

function acts.open()
  local id = ROW[1]
  if not id then
    id = A[1]
    CALL('HSET', KEY, 'id', id)
  end
  return answer(id)
end

function acts.register()
  local gone = drop_expired('members', 'member_infos')
  local known = CALL('HGET', P .. 'member_infos', A[1])
  if not known and CALL('ZCARD', P .. 'members') >= NODES_MAX then return answer(false) end
  CALL('ZADD', P .. 'members', NOW + A[3], A[1])
  CALL('HSET', P .. 'member_infos', A[1], A[2])
  if gone > 0 or known ~= A[2] then
    CALL('HINCRBY', KEY, 'members_version', 1)
    ring()
  end
  return answer(true)
end

function acts.unregister()
  CALL('HDEL', P .. 'member_infos', A[1])
  if CALL('ZREM', P .. 'members', A[1]) > 0 then
    CALL('HINCRBY', KEY, 'members_version', 1)
    ring()
  end
  return answer()
end

function acts.nodes()
  local live = CALL('ZRANGEBYSCORE', P .. 'members', '(' .. string.format('%.0f', NOW), '+inf', 'LIMIT', 0, NODES_MAX)
  return answer(#live > 0 and CALL('HMGET', P .. 'member_infos', unpack(live)) or {})
end

function acts.acquire()
  local lock, holder = live_lock(A[1])
  if lock and holder ~= A[2] then return answer(0) end
  if not lock then
    if CALL('ZCARD', P .. 'locks') >= LOCKS_MAX then drop_expired('locks', 'lock_holders') end
    if CALL('ZCARD', P .. 'locks') >= LOCKS_MAX then return answer(-1) end
    lock = CALL('HINCRBY', KEY, 'lock_number', 1)
  end
  CALL('HSET', P .. 'lock_holders', A[1], string.format('%.0f', lock) .. SEPARATOR .. A[2])
  CALL('ZADD', P .. 'locks', NOW + A[3], A[1])
  return answer(lock)
end

function acts.release()
  local lock, holder = live_lock(A[1])
  if lock ~= A[3] or holder ~= A[2] then return answer(false) end
  CALL('ZREM', P .. 'locks', A[1])
  CALL('HDEL', P .. 'lock_holders', A[1])
  return answer(true)
end

function acts.campaign()
  if in_force() then return answer(0) end
  local won = CALL('HINCRBY', KEY, 'number', 1)
  CALL('HSET', P .. 'term', 'number', won, 'owner', A[1], 'handle', A[2], 'ttl', A[3], 'ends',
    string.format('%.0f', NOW + A[3]))
  CALL('PEXPIRE', P .. 'term', A[3] + 60000)
  ring()
  return answer(won)
end

function acts.renew()
  if not holds(A[1], A[2], A[3]) then return answer(false) end
  CALL('HSET', P .. 'term', 'ttl', A[4], 'ends', string.format('%.0f', NOW + A[4]))
  CALL('PEXPIRE', P .. 'term', A[4] + 60000)
  return answer(true)
end

function acts.resign()
  if holds(A[1], A[2], A[3]) then
    CALL('DEL', P .. 'term')
    ring()
  end
  return answer()
end

function acts.leader()
  local held, owner, handle, ttl = in_force()
  return answer(held or 0, owner or '', handle or '', ttl or 0)
end

function acts.look()
  local held, _, _, _, ends = in_force()
  local after = '(' .. string.format('%.0f', NOW)
  local first = CALL('ZRANGEBYSCORE', P .. 'members', after, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  if first[2] then ends = math.min(ends or math.huge, tonumber(first[2])) end
  return answer(held or 0, number(ROW[4]), CALL('ZCOUNT', P .. 'members', after, '+inf'), ends and ends - NOW or -1)
end

function acts.broadcast()
  local stream = P .. 'messages'
  local sent = number(ROW[5]) + 1
  local bytes = number(ROW[6]) + #A[1]
  local length = CALL('XLEN', stream)
  CALL('XADD', stream, string.format('%.0f-1', sent), 'm', A[1])
  length = length + 1
  while length > 1 and (length > MESSAGES_MAX or bytes > BYTES_MAX) do
    local oldest = CALL('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
    CALL('XDEL', stream, oldest[1])
    length, bytes = length - 1, math.max(0, bytes - #(oldest[2][2] or ''))
  end
  CALL('HSET', KEY, 'message', string.format('%.0f', sent), 'bytes', string.format('%.0f', bytes))
  ring()
  return answer()
end

function acts.newest()
  return answer(number(ROW[5]))
end

function acts.messages()
  local out = {}
  local found = CALL('XRANGE', P .. 'messages', string.format('%.0f-2', A[1]), '+', 'COUNT', A[2])
  for i, one in ipairs(found) do
    out[i] = {tonumber(string.match(one[1], '^(%d+)-')), one[2][2] or ''}
  end
  return answer(out)
end

local READS = {nodes = true, leader = true, look = true, newest = true, messages = true}
local act = acts[ARGV[1]]
if ARGV[1] ~= 'open' and ROW[1] ~= ARGV[2] then return cmsgpack.pack({'reset', 0}) end
-- A server whose memory is full refuses a script's first write if it may take memory; leases must go on all the same.
if not READS[ARGV[1]] then CALL('DEL', P .. 'none') end
return act()

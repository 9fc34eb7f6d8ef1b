-- What every script begins with: whose store it is, what time it is, how an answer looks.
-- KEYS[1]: "{tag}:store". ARGV[1]: {store id, now in ms or 0 for the server's clock, writes seen, aging in ms}.
-- ARGV[2]: {the act's own arguments}.
-- Nothing is written before an act has checked all it needs: a script that fails in its middle keeps its first writes.
if redis.replicate_commands then redis.replicate_commands() end  -- Redis 6: replicate effects, as 7 always does
local CALL, byte, cut = redis.call, string.byte, string.sub
local P = string.sub(KEYS[1], 1, -6)
local ASKED = cmsgpack.unpack(ARGV[1])
local A = cmsgpack.unpack(ARGV[2])
local DELAYED, READY, ASSIGNED, RUNNING, COMPLETED, FAILED, CANCELLED, FORGOTTEN = 0, 1, 2, 3, 4, 5, 6, 7

local STORE = CALL('HMGET', KEYS[1], 'id', 'writes', 'epoch', 'owner', 'waiting', 'seq', 'ref', 'schema')
local WRITES = tonumber(STORE[2]) or 0
local SET = {}  -- fields of the store's row to be written

local function answer(...)
  return cmsgpack.pack({0, WRITES, ...})
end

local function refuse(why, ...)
  return cmsgpack.pack({why, WRITES, ...})
end

if STORE[1] ~= ASKED[1] then return refuse('reset', STORE[1] or '') end
if WRITES < ASKED[3] then return refuse('rewound', ASKED[3], WRITES) end

local NOW = ASKED[2]
if NOW == 0 then
  local t = CALL('TIME')
  NOW = t[1] * 1000 + math.floor(t[2] / 1000)
end

-- Whether these are the epoch and owner that count.
local function leads(epoch, owner)
  return epoch > 0 and tonumber(STORE[3]) == epoch and STORE[4] == owner
end

local function stale()
  return refuse('stale epoch', tonumber(STORE[3]) or 0, STORE[4] or '')
end

-- Lua passes some thousands of arguments at most.
local PART = 4000

local function bulk(command, key, list)
  local n = #list
  if n == 0 then return end
  if n <= PART then return CALL(command, key, unpack(list)) end
  for i = 1, n, PART do CALL(command, key, unpack(list, i, math.min(i + PART - 1, n))) end
end

-- HMGET of any number of fields.
local function fields(key, list)
  local n = #list
  if n == 0 then return {} end
  if n <= PART then return CALL('HMGET', key, unpack(list)) end
  local all = {}
  for i = 1, n, PART do
    for _, value in ipairs({CALL('HMGET', key, unpack(list, i, math.min(i + PART - 1, n)))}) do
      for j = 1, #value do all[i + j - 1] = value[j] end
    end
  end
  return all
end

-- A server whose memory is full refuses the first write of a script if it may take memory, and no other one. New jobs
-- are refused so. What is there must be worked off, or memory is never free again: that begins with a write that takes
-- none.
local NEW_WORK = false
local function even_when_full()
  if not NEW_WORK then CALL('DEL', P .. 'none') end
end

-- The act has written: count it, so that a server that lost writes is noticed.
local function wrote()
  even_when_full()
  WRITES = WRITES + 1
  local list = {'writes', WRITES}
  for field, value in pairs(SET) do
    list[#list + 1] = field
    list[#list + 1] = value
  end
  SET = {}
  CALL('HSET', KEYS[1], unpack(list))
end

local function ring(topic)
  CALL('PUBLISH', P .. 'bell:' .. topic, '')
end

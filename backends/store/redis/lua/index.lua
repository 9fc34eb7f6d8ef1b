-- needs: rows
-- A: {state, queue or '', id to go on from or '', place to look from, how many to look at, a ref that the caller needs
-- none below of, or ''}. Refs of this state from one slice of its indexes, the newest of which are looked at first; how
-- many were looked at, and whether there are more. First the ref of the id, 0 where none was named, -1 where unknown.
local STATE, QUEUE, FLOOR = A[1], A[2], A[6]
local before, bound = 0, false
if A[3] ~= '' then
  bound = CALL('HGET', P .. 'ids', A[3])
  before = tonumber(bound or '') or -1
end

local keys, kind = {}, 'zset'
local function each_queue(prefix)
  local names = QUEUE ~= '' and {QUEUE} or CALL('SMEMBERS', P .. 'queues')
  table.sort(names)
  for _, name in ipairs(names) do keys[#keys + 1] = P .. prefix .. name end
end
local function each_session(set)
  kind = 'set'
  local list = CALL('HVALS', P .. 'sessions')
  table.sort(list)
  for _, session in ipairs(list) do keys[#keys + 1] = P .. 's:' .. session .. set end
end
if STATE == DELAYED then
  each_queue('delayed:')
elseif STATE == READY then
  each_queue('alone:')
  each_queue('ready:')
elseif STATE == ASSIGNED or STATE == RUNNING then
  each_session(STATE == ASSIGNED and ':a' or ':r')
elseif STATE == FAILED then
  keys[1] = P .. 'failed'
elseif STATE ~= FORGOTTEN then
  kind = 'list'
  keys[1] = P .. 'finished'
end

local SIZE = {zset = 'ZCARD', set = 'SCARD', list = 'LLEN'}
local function slice(key, from, n)
  if kind == 'set' then return CALL('SMEMBERS', key) end
  if kind == 'list' then return CALL('LRANGE', key, -(from + n), -(from + 1)) end
  return CALL('ZREVRANGE', key, from, from + n - 1)
end

local from, left, looked, refs = A[4], A[5], 0, {}
for _, key in ipairs(keys) do
  local size = CALL(SIZE[kind], key)
  if from >= size then
    from = from - size
  elseif left > 0 then
    local some = slice(key, from, math.min(left, size - from))
    for _, ref in ipairs(some) do
      if ref > FLOOR and (not bound or ref < bound) then refs[#refs + 1] = ref end
    end
    looked, left, from = looked + #some, left - #some, 0
  end
end

-- Where the index says all, rows need not be read.
if STATE == DELAYED or STATE == READY or (STATE == FAILED and QUEUE == '') then
  return answer(before, refs, looked, left <= 0)
end
local found = {}
for i, r in ipairs(rows_of(refs)) do
  if not r or (r.state == STATE and (QUEUE == '' or r.queue == QUEUE)) then found[#found + 1] = refs[i] end
end
return answer(before, found, looked, left <= 0)

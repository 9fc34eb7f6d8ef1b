-- needs: rows
-- A: {state, queue or '', id to go on from or '', place to look from, how many to look at}. Refs of this state from one
-- slice of its indexes, and whether there is more. First the ref of the id, 0 where none was named, -1 where it is unknown.
local before = 0
if A[3] ~= '' then before = tonumber(CALL('HGET', P .. 'ids', A[3]) or '') or -1 end
local keys = {}
local function each_queue(kind)
  local names = A[2] ~= '' and {A[2]} or CALL('SMEMBERS', P .. 'queues')
  table.sort(names)
  for _, name in ipairs(names) do keys[#keys + 1] = P .. kind .. name end
end
local function each_session(set)
  local list = CALL('HVALS', P .. 'sessions')
  table.sort(list)
  for _, session in ipairs(list) do keys[#keys + 1] = P .. 's:' .. session .. set end
end
local state, size_of = A[1], 'ZCARD'
if state == DELAYED then each_queue('delayed:') end
if state == READY then
  each_queue('ready:')
  each_queue('alone:')
end
if state == ASSIGNED or state == RUNNING then
  size_of = 'SCARD'
  each_session(state == ASSIGNED and ':a' or ':r')
end
if state == COMPLETED or state == CANCELLED then
  size_of = 'LLEN'
  keys[1] = P .. 'finished'
end
if state == FAILED then keys[1] = P .. 'failed' end

local from, left, looked = A[4], A[5], {}
for _, key in ipairs(keys) do
  local size = CALL(size_of, key)
  if from >= size then
    from = from - size
  elseif left > 0 then
    local some = size_of == 'SCARD' and CALL('SMEMBERS', key)
      or CALL(size_of == 'LLEN' and 'LRANGE' or 'ZRANGE', key, from, from + left - 1)
    for _, ref in ipairs(some) do looked[#looked + 1] = ref end
    left, from = left - #some, 0
  end
end
local refs = {}
for i, r in ipairs(rows_of(looked)) do
  if not r or (r.state == state and (A[2] == '' or r.queue == A[2])) then refs[#refs + 1] = looked[i] end
end
return answer(before, refs, #looked, left <= 0)

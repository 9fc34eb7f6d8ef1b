-- needs: rows, lifecycle, change, flush, handing
-- A: {session, queues, {ref, token's bytes} of what the node runs or false}.
local key = P .. 's:' .. A[1]
if CALL('HEXISTS', key, 'node') == 0 then return refuse('session', A[1]) end
local wanted, known = {}, {}
for _, name in ipairs(A[2]) do wanted[name] = true end
local refs, rows = {}, {}  -- what the node gets

local function by_token(one, two)
  return one[1] < two[1]
end

-- {seq, ref, row} of the rows in a set that are of the queues asked for, in this state, oldest token first.
local function rows_in(set, state)
  local list, all = {}, CALL('SMEMBERS', key .. set)
  for i, data in ipairs(fields(P .. 'rows', all)) do
    if data and #data > NAMES_AT and string.byte(data, 1) == ROW_VERSION and string.byte(data, 2) == state
      and wanted[name_at(data, NAMES_AT)] then
      local session, _, seq = struct.unpack('<I4I4I8', data, 22)
      if session == A[1] then list[#list + 1] = {seq, all[i], data} end
    end
  end
  table.sort(list, by_token)
  return list
end

if A[3] then
  for _, one in ipairs(A[3]) do known[one[1] .. one[2]] = true end
  for _, one in ipairs(rows_in(':r', RUNNING)) do
    if not known[one[2] .. cut(one[3], 26, 37)] then
      refs[#refs + 1], rows[#rows + 1] = one[2], one[3]
    end
  end
end

local START, TAKEN = string.char(ROW_VERSION, RUNNING), struct.pack('<I8', NOW)
local moved = {}

local function take(ref, data)
  if is_plain(data, true) then
    local queue = name_at(data, NAMES_AT)
    data = START .. cut(data, 3, 45) .. TAKEN .. cut(data, 54)
    local list, n = list_of(A[1], ':r', queue), #OUT
    OUT[n + 1], OUT[n + 2] = ref, data
    list[#list + 1] = ref
    moved[#moved + 1] = ref
    return data
  end
  local r = parse(ref, data)
  if not r then return nil end
  leave(r)
  start(r)
  enter(r, RUNNING)
  data = packed(r)
  NEW_DATA[ref] = data
  return data
end

for _, one in ipairs(rows_in(':a', ASSIGNED)) do
  local data = take(one[2], one[3])
  if data then refs[#refs + 1], rows[#rows + 1] = one[2], data end
end
local out = {}
show(out, refs, rows)
if #moved > 0 or next(NEW_DATA) then
  gather_given()
  for queue, list in pairs(GIVEN[key .. ':r'] or {}) do
    count(P .. 'q:' .. queue, 'assigned', -#list)
    count(P .. 'q:' .. queue, 'running', #list)
  end
  later('SREM', key .. ':a', moved)
  flush()
end
return answer(out)

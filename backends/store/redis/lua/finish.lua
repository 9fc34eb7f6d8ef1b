-- needs: rows, lifecycle, change, flush
-- A: {refs, ids with their length, epoch and seq as in a row, kinds, more: place to
-- {delay in ms, error or '', result or ''}}.
local REFS, IDS, TOKENS, KINDS, MORE = A[1], A[2], A[3], A[4], A[5]
local found = fields(P .. 'rows', REFS)
local by_ref, stale_ones, quarantined = {}, {}, {}
local HANDED_BACK, NOTHING, PLAIN = 4, {0, '', ''}, next(MORE) == nil
local DONE_ROWS, DONE_OF = {}, {}  -- ref and row by turns; session's bytes to queue with its length to refs
local HEADS, KEPT = {}, {}  -- by the attempts' bytes; by the bytes that say how long a result is kept

local function head_of(attempts)
  local low, high = byte(attempts, 1, 2)
  local head = struct.pack('<BBBHI8', ROW_VERSION, COMPLETED, 1, math.min(low + 256 * high + 1, 65535), NOW)
  HEADS[attempts] = head
  return head
end

local function kept_of(keep)
  local ms = struct.unpack('<I8', keep)
  local kept = struct.pack('<I8', ms > 0 and NOW + ms or 0)
  KEPT[keep] = kept
  return kept
end

-- The hot path: a run of handle() completed, and nothing more is to be said of it: no error, key, loss, question.
local function complete(ref, data, names)
  local flags, more, losses = byte(data, 63, 65)
  if more ~= 0 or (flags > 1 and flags ~= ONCE and flags ~= ONCE + HOOK) or losses >= ISOLATE_AT then return false end
  local n, attempts, keep, session = #DONE_ROWS, cut(data, 4, 5), cut(data, STAYS_AT, STAYS_AT + 7), cut(data, 22, 25)
  DONE_ROWS[n + 1] = ref
  ENDED[#ENDED + 1] = ref
  DONE_ROWS[n + 2] = (HEADS[attempts] or head_of(attempts)) .. (KEPT[keep] or kept_of(keep)) .. cut(data, 22)
  local queues = DONE_OF[session]
  if not queues then
    queues = {}
    DONE_OF[session] = queues
  end
  local queue = cut(data, NAMES_AT, names - 1)
  local refs = queues[queue]
  if not refs then
    refs = {}
    queues[queue] = refs
  end
  refs[#refs + 1] = ref
  return true
end

local function gather_completed()
  later('HSET', P .. 'rows', DONE_ROWS)
  for session, queues in pairs(DONE_OF) do
    local s = P .. 's:' .. struct.unpack('<I4', session)
    for named, refs in pairs(queues) do
      local queue = cut(named, 3)
      later('SREM', s .. ':r', refs)
      count(s .. ':q', queue, -#refs)
      count(P .. 'q:' .. queue, 'running', -#refs)
      count(P .. 'q:' .. queue, 'completed', #refs)
    end
  end
end

local function keep_result(r, result)
  if r.keep == 0 or r.state ~= COMPLETED then return end
  r.kept = NOW + r.keep
  if result == '' then return end
  r.flags = with(r.flags, HAS_RESULT)
  add(PUT, P .. 'result', r.ref, result)
  add(ZPUT, P .. 'results', r.kept, r.ref)
end

local function apply(r, kind, more)
  local event = event_of(r, kind)
  local err = more[2] ~= '' and more[2] or error_at_end(event, kind)
  if not move(r, event, more[1], err) then return false end
  if event == E_QUARANTINE then quarantined[#quarantined + 1] = r.id end
  keep_result(r, more[3])
  r.done = kind + 1
  return true
end

-- Whether the outcome took effect, now or when it was sent before.
local function settle(i, ref, data)
  if not data or #data < NAMES_AT + 6 or byte(data, 1) ~= ROW_VERSION or cut(data, 26, 37) ~= TOKENS[i] then
    return false
  end
  local low, high = byte(data, NAMES_AT, NAMES_AT + 1)
  local at = NAMES_AT + 2 + low + 256 * high  -- where the id is, with its length
  if cut(data, at, at - 1 + #IDS[i]) ~= IDS[i] then return false end
  local kind, r = KINDS[i], by_ref[ref]
  if r == 'completed' then return kind == 0 end
  local more = PLAIN and NOTHING or MORE[tostring(i)] or NOTHING
  if not r and kind == 0 and byte(data, 2) == RUNNING and byte(data, 62) == 0 and more == NOTHING
    and complete(ref, data, at) then
    by_ref[ref] = 'completed'
    return true
  end
  if not r then
    r = parse(ref, data)
    if not r then return false end
    by_ref[ref] = r
  end
  if r.state == RUNNING or (r.state == ASSIGNED and kind == HANDED_BACK) then return apply(r, kind, more) end
  return r.done == kind + 1
end

for i, ref in ipairs(REFS) do
  if not settle(i, ref, found[i]) then stale_ones[#stale_ones + 1] = i end
end
if next(CHANGED) or #DONE_ROWS > 0 then
  gather_completed()
  flush()
  wake(true)
end
return answer(stale_ones, quarantined)

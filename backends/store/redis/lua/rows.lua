-- A job's row: what changes stands first, in fixed places; then what stays; then queue, id and unique key.
local HOOK, CANCEL, ONCE, HAS_ERROR, HAS_RESULT, HAS_PROGRESS, HAS_HISTORY, AWAITED, FREED =
  1, 2, 4, 8, 16, 32, 64, 128, 256
local ROW_VERSION = 1
local CHANGES = '<BBBHBHBBI4I8I4I8I8I8I8I8I8'
local STAYS = '<bBI8I8I8Hc0Hc0Hc0'
local WHOLE = '<BBBHBHBBI4I8I4I8I8I8I8I8I8bBI8I8I8Hc0Hc0Hc0'
local STAYS_AT = 75  -- where what stays begins

local function has(flags, flag)
  return math.floor(flags / flag) % 2 == 1
end

local function with(flags, flag)
  return has(flags, flag) and flags or flags + flag
end

local function without(flags, flag)
  return has(flags, flag) and flags - flag or flags
end

local function read_all(data)
  local r = {}
  r.version, r.state, r.step, r.flags, r.done, r.attempts, r.losses, r.doubts, r.epoch, r.seq, r.session, r.due,
    r.assigned, r.taken, r.started, r.finished, r.kept, r.priority, r.holds, r.pushed, r.expires, r.keep,
    r.queue, r.id, r.unique = struct.unpack(WHOLE, data)
  return r
end

-- The row, or nil where the bytes are none of ours.
local function parse(ref, data)
  if not data or string.byte(data, 1) ~= ROW_VERSION then return nil end
  local fine, r = pcall(read_all, data)
  if not fine or r.state > FAILED + 1 or r.step > 1 then return nil end
  r.ref, r.data = ref, data
  return r
end

local function changes(r)
  return struct.pack(CHANGES, ROW_VERSION, r.state, r.step, r.flags, r.done, math.min(r.attempts, 65535),
    math.min(r.losses, 255), math.min(r.doubts, 255), r.epoch, r.seq, r.session, r.due, r.assigned, r.taken, r.started,
    r.finished, r.kept)
end

local function stays(r)
  return struct.pack(STAYS, r.priority, r.holds, r.pushed, r.expires, r.keep, #r.queue, r.queue, #r.id, r.id,
    #r.unique, r.unique)
end

local function packed(r)
  return changes(r) .. (r.anew and stays(r) or string.sub(r.data, STAYS_AT))
end

local function is_live(state)
  return state <= RUNNING
end

local function is_held(state)
  return state == ASSIGNED or state == RUNNING
end

-- Rows of these refs, false where there is none or it can't be read.
local function rows_of(refs)
  local found = fields(P .. 'rows', refs)
  local rows = {}
  for i, ref in ipairs(refs) do rows[i] = parse(ref, found[i]) or false end
  return rows
end

local function row_of_id(id)
  local ref = CALL('HGET', P .. 'ids', id)
  return ref and parse(ref, CALL('HGET', P .. 'rows', ref)), ref
end

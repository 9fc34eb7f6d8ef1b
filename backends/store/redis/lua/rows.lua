-- A job's row: fixed places first, in the order in which acts write them together; then queue, id and unique key.
--   1 version, state, done (an outcome's kind + 1), attempts, finished, kept (result, until)
--  22 session, epoch, seq, assigned, taken, started: the last run
--  62 step, flags, losses, doubts, due, expires, pushed, rank (of when it was last due)
--  99 keep (result, for so long), priority, holds (its unique key, until), queue, id, unique key: never change
local HOOK, CANCEL, ONCE, HAS_ERROR, HAS_RESULT, HAS_PROGRESS, HAS_HISTORY, AWAITED, FREED, HAS_KEY =
  1, 2, 4, 8, 16, 32, 64, 128, 256, 512
local ROW_VERSION = 1
local CHANGES = '<BBBHI8I8I4I4I8I8I8I8BHBBI8I8I8i8'
local WHOLE = CHANGES .. 'I8bBHc0Hc0Hc0'
local STAYS_AT = 99
local NAMES_AT = 109

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
  r.version, r.state, r.done, r.attempts, r.finished, r.kept, r.session, r.epoch, r.seq, r.assigned, r.taken, r.started,
    r.step, r.flags, r.losses, r.doubts, r.due, r.expires, r.pushed, r.rank, r.keep, r.priority, r.holds, r.queue, r.id,
    r.unique = struct.unpack(WHOLE, data)
  return r
end

-- The row, or nil where the bytes are none of ours.
local function parse(ref, data)
  if not data or string.byte(data, 1) ~= ROW_VERSION then return nil end
  local fine, r = pcall(read_all, data)
  if not fine or r.state > CANCELLED or r.step > 1 then return nil end
  r.ref, r.data = ref, data
  return r
end

-- What changes of the row.
local function changes(r)
  return struct.pack(CHANGES, ROW_VERSION, r.state, r.done, math.min(r.attempts, 65535), r.finished, r.kept, r.session,
    r.epoch, r.seq, r.assigned, r.taken, r.started, r.step, r.flags, math.min(r.losses, 255), math.min(r.doubts, 255),
    r.due, r.expires, r.pushed, r.rank)
end

local function packed(r)
  return changes(r) .. string.sub(r.data, STAYS_AT)
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

-- The name that begins with its length at this place, and where the next one does.
local function name_at(data, place)
  local low, high = string.byte(data, place, place + 1)
  if not high then return '', place end
  local last = place + 1 + low + 256 * high
  return string.sub(data, place + 2, last), last + 1
end

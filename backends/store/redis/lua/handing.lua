-- Rows that a session gets: as bytes, for all of a batch change alike. A row that needs more than that is refused here.
local GIVEN, OUT = {}, {}  -- set of a session to queue to refs; ref and row by turns

-- Nothing but the run changes: the row has no progress or result, no key to be freed, no losses that isolate it.
local function is_plain(data, taking)
  local step, flags, more, losses = byte(data, 62, 65)
  return losses < ISOLATE_AT and step < 2 and flags % 64 < HAS_RESULT and (more == 0 or (not taking and more == 2))
end

-- The list of refs that go from a queue into a session's set.
local function list_of(session, set, queue)
  local key = P .. 's:' .. session .. set
  local queues = GIVEN[key]
  if not queues then
    queues = {}
    GIVEN[key] = queues
  end
  if not queues[queue] then queues[queue] = {} end
  return queues[queue]
end

-- Writes the rows, and puts them into the sessions' sets.
local function gather_given()
  later('HSET', P .. 'rows', OUT)
  for key, queues in pairs(GIVEN) do
    for _, refs in pairs(queues) do later('SADD', key, refs) end
  end
end

-- Adds to an answer {ref, row, job, error} by turns for these refs.
local function show(out, refs, rows)
  local jobs = fields(P .. 'jobs', refs)
  for i, ref in ipairs(refs) do
    local data, n = rows[i], #out
    local failed = byte(data, 63) % 16 >= HAS_ERROR
    out[n + 1], out[n + 2], out[n + 3] = ref, data, jobs[i] or ''
    out[n + 4] = failed and CALL('HGET', P .. 'error', ref) or ''
  end
end

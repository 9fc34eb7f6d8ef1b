-- Carrying out what the lifecycle says that an event makes of a row. Acts call `move`, which reads at most; then
-- `flush`, which writes everything in few commands; then `wake`.
local PUT, DROP, ZPUT, ZDROP, SPUT, SDROP = {}, {}, {}, {}, {}, {}  -- key to a list of arguments
local COUNT = {}  -- hash to field to a number to be added
local CHANGED, NEW_DATA = {}, {}  -- ref to row; ref to bytes
local LATER = {}  -- further commands: {command, key, arguments}
local ENDED = {}  -- refs of rows that completed or were cancelled
local FREE = {}  -- unique keys to be freed, and whose they are
local RINGS, MADE_READY, QUEUES, NODES = {}, {}, {}, {}

local function add(where, key, one, two)
  local list = where[key]
  if not list then
    list = {}
    where[key] = list
  end
  list[#list + 1] = one
  if two ~= nil then list[#list + 1] = two end
end

local function later(command, key, list)
  if #list > 0 then LATER[#LATER + 1] = {command, key, list} end
end

local function count(key, field, n)
  local counts = COUNT[key]
  if not counts then
    counts = {}
    COUNT[key] = counts
  end
  counts[field] = (counts[field] or 0) + n
end

-- What is set for a queue.
local function queue_of(name)
  local q = QUEUES[name]
  if not q then
    local v = CALL('HMGET', P .. 'q:' .. name, 'paused', 'idle', 'aging', 'depth', 'assigned', 'running')
    q = {paused = v[1] == '1', idle = v[2] ~= '0', aging = tonumber(v[3] or '') or ASKED[4],
      depth = tonumber(v[4] or ''), held = (tonumber(v[5]) or 0) + (tonumber(v[6]) or 0)}
    QUEUES[name] = q
  end
  return q
end

local function node_of(session)
  if NODES[session] == nil then NODES[session] = CALL('HGET', P .. 'nodes', session) or '' end
  return NODES[session]
end

local function isolated(losses)
  return losses >= ISOLATE_AT
end

-- A line in the job's history: how its run ended, or that an operator let it begin anew.
local function remember_run(r, line)
  local runs = {}
  if has(r.flags, HAS_HISTORY) then
    local fine, old = pcall(cmsgpack.unpack, CALL('HGET', P .. 'history', r.ref) or '')
    if fine and type(old) == 'table' then runs = old end
  end
  if #line[9] > RUN_MAX then line[9] = '' end
  runs[#runs + 1] = line
  while #runs > HISTORY_MAX do table.remove(runs, 1) end
  local data = cmsgpack.pack(runs)
  while #data > HISTORY_BYTES do
    table.remove(runs, 1)
    data = cmsgpack.pack(runs)
  end
  r.flags = with(r.flags, HAS_HISTORY)
  add(PUT, P .. 'history', r.ref, data)
end

local function leave_session(r, set)
  local s = P .. 's:' .. r.session
  add(SDROP, s .. set, r.ref)
  count(s .. ':q', r.queue, -1)
  if isolated(r.losses) then count(s, 'alone', -1) end
  if has(r.flags, CANCEL) then add(SDROP, s .. ':c', r.ref) end
end

-- The row goes out of every index of its state; `popped`: it is out of the queue's already.
local function leave(r, popped)
  local state, q = r.state, P .. 'q:' .. r.queue
  if state == READY or state == DELAYED then
    if not popped then
      local kind = state == DELAYED and 'delayed:' or isolated(r.losses) and 'alone:' or 'ready:'
      add(ZDROP, P .. kind .. r.queue, r.ref)
    end
    if r.expires > 0 then add(ZDROP, P .. 'expiring', r.ref) end
  elseif state == ASSIGNED then
    leave_session(r, ':a')
    count(q, 'assigned', -1)
  elseif state == RUNNING then
    leave_session(r, ':r')
    count(q, 'running', -1)
  elseif state == FAILED then
    add(ZDROP, P .. 'failed', r.ref)
    count(q, 'failed', -1)
  end  -- what has completed or was cancelled stays until a sweep takes it off the list's head
end

local function enter_waiting(r, to)
  if to == DELAYED then
    add(ZPUT, P .. 'delayed:' .. r.queue, r.due, r.ref)
  else
    add(ZPUT, P .. (isolated(r.losses) and 'alone:' or 'ready:') .. r.queue, r.rank, r.ref)
    MADE_READY[r.queue] = true
  end
  if r.expires > 0 and r.step == 0 then add(ZPUT, P .. 'expiring', r.expires, r.ref) end
end

local function enter_session(r, set)
  local s = P .. 's:' .. r.session
  add(SPUT, s .. set, r.ref)
  count(s .. ':q', r.queue, 1)
  if isolated(r.losses) then count(s, 'alone', 1) end
end

local function enter(r, to)
  local q = P .. 'q:' .. r.queue
  r.state = to
  if to == ASSIGNED or to == RUNNING then
    enter_session(r, to == ASSIGNED and ':a' or ':r')
    count(q, to == ASSIGNED and 'assigned' or 'running', 1)
    return
  end
  r.flags = without(r.flags, CANCEL)
  if is_live(to) then
    r.finished = 0
    enter_waiting(r, to)
    return
  end
  r.finished = NOW
  if to == FAILED then
    add(ZPUT, P .. 'failed', NOW, r.ref)
    count(q, 'failed', 1)
  else
    ENDED[#ENDED + 1] = r.ref
    count(q, to == COMPLETED and 'completed' or 'cancelled', 1)
  end
end

local function drop_extra(r, flag, key)
  if has(r.flags, flag) then
    r.flags = without(r.flags, flag)
    add(DROP, P .. key, r.ref)
  end
end

local function free_unique(r)
  if r.unique ~= '' and r.holds ~= PERIOD and not has(r.flags, FREED) then
    FREE[#FREE + 1] = {r.unique, r.ref}
  end
end

-- The row is being taken by its node: a key that is held until then is free.
local function start(r)
  r.taken = NOW
  if r.holds == STARTED and r.unique ~= '' then
    free_unique(r)
    r.flags = with(r.flags, FREED)
  end
end

-- Nothing stays of the job but its id.
local function forget(r, since)
  if has(r.flags, HAS_RESULT) then add(ZDROP, P .. 'results', r.ref) end
  drop_extra(r, HAS_ERROR, 'error')
  drop_extra(r, HAS_RESULT, 'result')
  drop_extra(r, HAS_PROGRESS, 'progress')
  drop_extra(r, HAS_HISTORY, 'history')
  add(DROP, P .. 'rows', r.ref)
  add(DROP, P .. 'jobs', r.ref)
  add(ZPUT, P .. 'gone', since, r.id)
  CHANGED[r.ref] = nil
  r.state = FORGOTTEN
end

local function set_error(r, err)
  if err and err ~= '' then
    r.flags = with(r.flags, HAS_ERROR)
    add(PUT, P .. 'error', r.ref, err)
  else
    drop_extra(r, HAS_ERROR, 'error')
  end
end

local function charge(r, what)
  if what == 1 then
    r.attempts = r.attempts + 1
  elseif what == 2 then
    r.losses = r.losses + 1
  elseif what == 3 then
    r.attempts, r.losses, r.doubts = 0, 0, 0
  elseif what == 4 then
    r.doubts = r.doubts + 1
  end
end

local function ended(r)
  if has(r.flags, AWAITED) then
    r.flags = without(r.flags, AWAITED)
    RINGS['job-' .. r.id] = true
  end
end

-- What `event` makes of the row; its new state, or nil where it can't happen to it: nothing is changed then.
local function move(r, event, delay, err, popped)
  local to, step, cost, due, fate = what_then(r.state, r.step, event)
  if not to then return nil end
  if to == DELAYED and delay <= 0 then to = READY end
  local before = r.state
  if before == RUNNING and to ~= COMPLETED then
    remember_run(r, {r.epoch, r.seq, node_of(r.session), r.assigned, r.taken, r.started, NOW, event_name(event),
      err or ''})
  elseif event == E_OPERATOR_RETRY then
    remember_run(r, {r.epoch, r.seq, '', 0, 0, 0, NOW, event_name(event), ''})
    r.expires = 0  -- his word goes above it
  end
  leave(r, popped)
  if step then r.step = step end
  charge(r, cost)
  if due > 0 then
    r.due = NOW + (due == 2 and delay or 0)
    r.rank = r.due - r.priority * queue_of(r.queue).aging
  end
  if fate > 0 then set_error(r, fate == 1 and err) end
  CHANGED[r.ref] = r
  if is_live(before) and not is_live(to) then
    free_unique(r)
    ended(r)
  elseif is_live(to) and not is_live(before) and r.unique ~= '' and r.holds == DONE then
    add(PUT, P .. 'unique', r.unique, '0 ' .. r.ref .. ' ' .. r.id)
  end
  if to == FORGOTTEN then
    forget(r, r.finished > 0 and r.finished or NOW)
  else
    enter(r, to)
  end
  return to
end

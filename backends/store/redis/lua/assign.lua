-- needs: rows, lifecycle, change, flush
-- A: {epoch, owner, isolated: {session, pool, ref, id, queue}, assignments: {session, pool, queue, count}, the session that
-- takes its jobs at once or 0, error of what expired, error of what can't be read}.
if not leads(A[1], A[2]) then return stale() end
local TAKE_FOR, SEQ = A[5], tonumber(STORE[6]) or 0
local rooms, popped, given, bodies, damaged, expired = {}, {}, {}, {}, {}, 0

-- What a session may still take; false for one that has ended, is draining, or has a job that must run alone.
local function room_of(session)
  local room = rooms[session]
  if room ~= nil then return room end
  local key = P .. 's:' .. session
  local s = CALL('HMGET', key, 'node', 'pools', 'alone')
  room = false
  if s[1] and (tonumber(s[3] or '') or 0) <= 0 and CALL('SISMEMBER', P .. 'draining', s[1]) == 0 then
    room = {pools = {}, held = {}, all = 0}
    for _, pool in ipairs(cmsgpack.unpack(s[2])) do
      local queues = {}
      for _, share in ipairs(pool[2]) do queues[share[1]] = true end
      room.pools[pool[1]] = {queues = queues, capacity = pool[4]}
    end
    local held = CALL('HGETALL', key .. ':q')
    for i = 1, #held, 2 do
      room.held[held[i]] = tonumber(held[i + 1])
      room.all = room.all + room.held[held[i]]
    end
  end
  rooms[session] = room
  return room
end

local function free(session, pool, queue)
  local room = room_of(session)
  local of = room and room.pools[pool]
  if not of or not of.queues[queue] or queue_of(queue).paused then return 0 end
  local n = of.capacity
  for name in pairs(of.queues) do n = n - (room.held[name] or 0) end
  return n
end

local function give(r, session, was_popped)
  SEQ = SEQ + 1
  r.epoch, r.seq, r.session, r.done = A[1], SEQ, session, 0
  r.started, r.taken, r.assigned = 0, 0, NOW
  drop_extra(r, HAS_PROGRESS, 'progress')
  leave(r, was_popped)
  CHANGED[r.ref] = r
  if session == TAKE_FOR then
    start(r)
    enter(r, RUNNING)
    bodies[#bodies + 1] = r
  else
    enter(r, ASSIGNED)
    RINGS['session-' .. session] = true
  end
  given[session] = (given[session] or 0) + 1
  local room = rooms[session]
  room.held[r.queue] = (room.held[r.queue] or 0) + 1
  room.all = room.all + 1
end

-- What can't be read leaves its queue; where there are bytes they are replaced, and it is on the failed list.
local function put_aside(ref, queue)
  damaged[#damaged + 1] = ref
  if CALL('HEXISTS', P .. 'rows', ref) == 0 then return end
  local id = 'damaged-' .. ref
  local r = {ref = ref, id = id, queue = queue, priority = 0, flags = HAS_ERROR, unique = '', holds = 1, state = FAILED,
    step = 0, done = 0, attempts = 0, losses = 0, doubts = 0, epoch = 0, seq = 0, session = 0, due = NOW, assigned = 0,
    taken = 0, started = 0, finished = NOW, kept = 0, pushed = NOW, expires = 0, keep = 0}
  NEW_DATA[ref] = changes(r) .. stays(r)
  add(PUT, P .. 'ids', id, ref)
  add(PUT, P .. 'error', ref, A[7])
  add(ZPUT, P .. 'failed', NOW, ref)
  count(P .. 'q:' .. queue, 'failed', 1)
end

local function give_ready(session, pool, queue, n)
  n = math.min(n, free(session, pool, queue))
  while n > 0 do
    local from = popped[queue] or 0
    local refs = CALL('ZRANGE', P .. 'ready:' .. queue, from, from + n - 1)
    if #refs == 0 then return end
    popped[queue] = from + #refs
    for i, r in ipairs(rows_of(refs)) do
      if not r then
        put_aside(refs[i], queue)
      elseif r.state ~= READY or r.queue ~= queue then
        -- no job of this queue that is ready: it only leaves the queue
      elseif r.expires > 0 and r.expires <= NOW and r.step == 0 then
        move(r, E_EXPIRE, 0, A[6], true)
        expired = expired + 1
      else
        give(r, session, true)
        n = n - 1
      end
    end
  end
end

local function give_alone(session, pool, ref, id, queue)
  local room = room_of(session)
  if not room or room.all > 0 or free(session, pool, queue) < 1 then return end
  local r = parse(ref, CALL('HGET', P .. 'rows', ref))
  if not r or r.id ~= id or r.state ~= READY or not isolated(r.losses) or r.queue ~= queue then return end
  if CHANGED[ref] then return end
  if r.expires > 0 and r.expires <= NOW and r.step == 0 then
    move(r, E_EXPIRE, 0, A[6])
    expired = expired + 1
    return
  end
  give(r, session)
  rooms[session] = false
end

-- The leader found nothing to do: note which queues it saw empty. One that was noted so before, and has jobs, rings now.
local function wait()
  local missed, idle = false, true
  for _, name in ipairs(CALL('SMEMBERS', P .. 'queues')) do
    local q = queue_of(name)
    local some = not q.paused and CALL('ZCARD', P .. 'ready:' .. name) > 0
    missed = missed or (q.idle and some)
    if q.idle == some then CALL('HSET', P .. 'q:' .. name, 'idle', some and '0' or '1') end
    idle = idle and not some
  end
  local waits = missed and '0' or '1'
  if STORE[5] ~= waits then CALL('HSET', KEYS[1], 'waiting', waits) end
  if missed then ring('leader') end
  return idle
end

for _, one in ipairs(A[3]) do give_alone(one[1], one[2], one[3], one[4], one[5]) end
for _, one in ipairs(A[4]) do give_ready(one[1], one[2], one[3], one[4]) end

local refs, out, assigned, idle = {}, {}, {}, false
for i, r in ipairs(bodies) do refs[i] = r.ref end
local jobs = fields(P .. 'jobs', refs)
for i, r in ipairs(bodies) do
  local err = has(r.flags, HAS_ERROR) and CALL('HGET', P .. 'error', r.ref) or ''
  local data = packed(r)
  CHANGED[r.ref], NEW_DATA[r.ref] = nil, data
  out[#out + 1] = {r.ref, data, jobs[i] or '', err or ''}
end
for session, n in pairs(given) do assigned[#assigned + 1] = {session, n} end
if #assigned > 0 or next(popped) or next(CHANGED) then
  if #assigned > 0 then
    SET.seq = string.format('%.0f', SEQ)
    SET.waiting = '0'
  end
  flush()
  for queue, n in pairs(popped) do CALL('ZREMRANGEBYRANK', P .. 'ready:' .. queue, 0, n - 1) end
  for topic in pairs(RINGS) do ring(topic) end
end
if #assigned == 0 then idle = wait() end
return answer(assigned, out, idle, damaged, expired)

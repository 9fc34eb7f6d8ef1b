-- needs: rows, lifecycle, change, flush, handing
-- A: {epoch, owner, isolated: {session, pool, ref, id, queue}, assignments: {session, pool, queue, count}, the session
-- that takes its jobs at once or 0, error of what expired, error of what can't be read}.
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

local function got(session, queue, n)
  given[session] = (given[session] or 0) + n
  local room = rooms[session]
  room.held[queue] = (room.held[queue] or 0) + n
  room.all = room.all + n
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
  end
  got(session, r.queue, 1)
end

-- What can't be read leaves its queue; where there are bytes they are replaced, and it is on the failed list.
local function put_aside(ref, queue)
  damaged[#damaged + 1] = ref
  if CALL('HEXISTS', P .. 'rows', ref) == 0 then return end
  local id = 'damaged-' .. ref
  NEW_DATA[ref] = struct.pack(WHOLE, ROW_VERSION, FAILED, 0, 0, NOW, 0, 0, 0, 0, 0, 0, 0, 0, HAS_ERROR, 0, 0, NOW, 0,
    NOW, 0, 0, 0, DONE, #queue, queue, #id, id, 0, '')
  add(PUT, P .. 'ids', id, ref)
  add(PUT, P .. 'error', ref, A[7])
  add(ZPUT, P .. 'failed', NOW, ref)
  count(P .. 'q:' .. queue, 'failed', 1)
end

-- A row that was ready, and is not plain: whether it was given.
local function hand_out(ref, data, session, queue)
  local r = parse(ref, data)
  if not r then put_aside(ref, queue) end
  if not r or r.state ~= READY or r.queue ~= queue then return false end  -- it only leaves the queue
  if r.expires > 0 and r.expires <= NOW and r.step == 0 then
    move(r, E_EXPIRE, 0, A[6], true)
    expired = expired + 1
    return false
  end
  give(r, session, true)
  return true
end

local NEVER = string.rep('\0', 8)

-- The hot path: plain rows get another run in their bytes. How many were given.
local function hand_out_all(refs, found, session, queue)
  local mine = session == TAKE_FOR
  local list = list_of(session, mine and ':r' or ':a', queue)
  local started = string.char(ROW_VERSION, mine and RUNNING or ASSIGNED, 0)
  local run, times = struct.pack('<I4I4', session, A[1]), struct.pack('<I8I8I8', NOW, mine and NOW or 0, 0)
  local ready, named = string.char(ROW_VERSION, READY), struct.pack('<H', #queue) .. queue
  local named_to = NAMES_AT - 1 + #named
  local n, others, plain = #OUT, 0, #list
  for i, ref in ipairs(refs) do
    local data = found[i]
    if data and cut(data, 1, 2) == ready and cut(data, NAMES_AT, named_to) == named and cut(data, 75, 82) == NEVER
      and is_plain(data, mine) then
      SEQ = SEQ + 1
      OUT[n + 1] = ref
      OUT[n + 2] = started .. cut(data, 4, 21) .. run .. struct.pack('<I8', SEQ) .. times .. cut(data, 62)
      n = n + 2
      list[#list + 1] = ref
    elseif hand_out(ref, data, session, queue) then
      others = others + 1
    end
  end
  plain = #list - plain
  if plain > 0 then got(session, queue, plain) end
  return plain + others
end

local function give_ready(session, pool, queue, n)
  n = math.min(n, free(session, pool, queue))
  while n > 0 do
    local from = popped[queue] or 0
    local refs = CALL('ZRANGE', P .. 'ready:' .. queue, from, from + n - 1)
    if #refs == 0 then return end
    popped[queue] = from + #refs
    n = n - hand_out_all(refs, fields(P .. 'rows', refs), session, queue)
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

-- The leader found nothing to do: note which queues it saw empty. One that was noted so before, and has jobs, rings.
local function wait()
  even_when_full()
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

-- What take_for's session gets, in the order of the tokens' issue within each kind.
local function shown()
  local out, refs, rows = {}, {}, {}
  for i, r in ipairs(bodies) do
    local data = packed(r)
    CHANGED[r.ref], NEW_DATA[r.ref] = nil, data
    refs[i], rows[i] = r.ref, data
  end
  show(out, refs, rows)
  refs, rows = {}, {}
  for i = 1, #OUT, 2 do
    if string.byte(OUT[i + 1], 2) == RUNNING then refs[#refs + 1], rows[#rows + 1] = OUT[i], OUT[i + 1] end
  end
  show(out, refs, rows)
  return out
end

local function count_given()
  for key, queues in pairs(GIVEN) do
    local s, set = string.sub(key, 1, -3), string.sub(key, -1)
    for queue, refs in pairs(queues) do
      count(s .. ':q', queue, #refs)
      count(P .. 'q:' .. queue, set == 'a' and 'assigned' or 'running', #refs)
    end
  end
end

local out, assigned, idle = shown(), {}, false
for session, n in pairs(given) do
  assigned[#assigned + 1] = {session, n}
  if session ~= TAKE_FOR then RINGS['session-' .. session] = true end
end
if #assigned > 0 then
  SET.seq = string.format('%.0f', SEQ)
  SET.waiting = '0'
end
if next(popped) or next(CHANGED) or next(NEW_DATA) then
  gather_given()
  count_given()
  flush()
  for queue, n in pairs(popped) do CALL('ZREMRANGEBYRANK', P .. 'ready:' .. queue, 0, n - 1) end
  for topic in pairs(RINGS) do ring(topic) end
end
if #assigned == 0 then idle = wait() end
return answer(assigned, out, idle, damaged, expired)

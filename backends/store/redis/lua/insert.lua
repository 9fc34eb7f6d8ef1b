-- New jobs: {id, job's bytes, queue, priority, delay in ms, flags, unique key or '', how long it is held, its period in ms,
-- expires in ms or 0, result kept in ms}. All or none.

-- Who holds these unique keys now: key to {ref, id}.
local function holders_of(keys)
  local held = {}
  for i, value in ipairs(fields(P .. 'unique', keys)) do
    if value then
      local until_ms, ref, id = string.match(value, '^(%d+) (%d+) (.*)$')
      if until_ms and (until_ms == '0' or tonumber(until_ms) > NOW) then held[keys[i]] = id end
    end
  end
  return held
end

-- Which of the jobs are new, and the id that each has in the store.
local function choose(jobs)
  local ids, keys = {}, {}
  for i, job in ipairs(jobs) do
    ids[i] = job[1]
    if job[7] ~= '' then keys[#keys + 1] = job[7] end
  end
  local known, held = fields(P .. 'ids', ids), holders_of(keys)
  local fresh, seen = {}, {}
  for i, job in ipairs(jobs) do
    local key = job[7]
    if known[i] or seen[job[1]] then
      -- as it is
    elseif key ~= '' and held[key] then
      ids[i] = held[key]
    else
      fresh[#fresh + 1] = job
      seen[job[1]] = true
      if key ~= '' then held[key] = job[1] end
    end
  end
  return ids, fresh
end

-- The first queue that has no room for them, with how much it holds and its bound.
local function full(fresh, most)
  local more = {}
  for _, job in ipairs(fresh) do more[job[3]] = (more[job[3]] or 0) + 1 end
  for name, n in pairs(more) do
    local q = queue_of(name)
    local waiting = CALL('ZCARD', P .. 'ready:' .. name) + CALL('ZCARD', P .. 'delayed:' .. name)
      + CALL('ZCARD', P .. 'alone:' .. name)
    if waiting + q.held + n > most then return name, waiting + q.held, most end
    if q.depth and waiting + n > q.depth then return name, waiting, q.depth end
    add(SPUT, P .. 'queues', name)
  end
end

local function insert(fresh)
  local ref = tonumber(STORE[7]) or 0
  local jobs, ids, keys = {}, {}, {}
  for _, job in ipairs(fresh) do
    ref = ref + 1
    local r = {ref = string.format('%014d', ref), id = job[1], queue = job[3], priority = job[4], flags = job[6],
      unique = job[7], holds = job[8], state = DELAYED, step = 0, done = 0, attempts = 0, losses = 0, doubts = 0,
      epoch = 0, seq = 0, session = 0, due = NOW + job[5], assigned = 0, taken = 0, started = 0, finished = 0, kept = 0,
      pushed = NOW, expires = job[10] > 0 and NOW + job[10] or 0, keep = job[11]}
    r.state = job[5] > 0 and DELAYED or READY
    enter_waiting(r, r.state)
    NEW_DATA[r.ref] = changes(r) .. stays(r)
    jobs[#jobs + 1] = r.ref
    jobs[#jobs + 1] = job[2]
    ids[#ids + 1] = job[1]
    ids[#ids + 1] = r.ref
    if r.unique ~= '' then
      local until_ms = r.holds == PERIOD and NOW + job[9] or 0
      keys[#keys + 1] = r.unique
      keys[#keys + 1] = string.format('%d %s %s', until_ms, r.ref, r.id)
      if r.holds == PERIOD then add(ZPUT, P .. 'periods', until_ms, r.unique) end
    end
  end
  SET.ref = ref
  PUT[P .. 'jobs'], PUT[P .. 'ids'], PUT[P .. 'unique'] = jobs, ids, keys
end

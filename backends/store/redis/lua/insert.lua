-- New jobs, in groups of those that follow each other and have the same options: {queue, priority, delay in ms, flags,
-- expires in ms or 0, how long a unique key is held, its period in ms, ids, jobs' bytes, ends of rows, unique keys or
-- false}. All or none are written.

-- Who holds the unique keys of a group now: key to id.
local function holders_of(keys, held)
  for i, value in ipairs(fields(P .. 'unique', keys)) do
    if value and not held[keys[i]] then
      local until_ms, _, id = string.match(value, '^(%d+) (%d+) (.*)$')
      if until_ms and (until_ms == '0' or tonumber(until_ms) > NOW) then held[keys[i]] = id end
    end
  end
end

-- The id that each job has in the store, how many are new, and for each group which.
local function choose(groups)
  local all, seen, held, total = {}, {}, {}, 0
  for _, group in ipairs(groups) do
    local ids, keys, fresh = group[8], group[11], {}
    local known = fields(P .. 'ids', ids)
    if keys then holders_of(keys, held) end
    for i, id in ipairs(ids) do
      local key = keys and keys[i]
      if known[i] or seen[id] then
        all[#all + 1] = id
      elseif key and held[key] then
        all[#all + 1] = held[key]
      else
        all[#all + 1] = id
        fresh[#fresh + 1] = i
        seen[id] = true
        if key then held[key] = id end
      end
    end
    group.fresh = fresh
    total = total + #fresh
  end
  return all, total
end

-- The first queue that has no room for them, with how much it holds and its bound.
local function full(groups, most)
  local more = {}
  for _, group in ipairs(groups) do
    if #group.fresh > 0 then more[group[1]] = (more[group[1]] or 0) + #group.fresh end
  end
  for name, n in pairs(more) do
    local q = queue_of(name)
    local waiting = CALL('ZCARD', P .. 'ready:' .. name) + CALL('ZCARD', P .. 'delayed:' .. name)
      + CALL('ZCARD', P .. 'alone:' .. name)
    if waiting + q.held + n > most then return name, waiting + q.held, most, n end
    if q.depth and waiting + n > q.depth then return name, waiting, q.depth, n end
    add(SPUT, P .. 'queues', name)
  end
end

-- One group's jobs, from this ref on.
local function insert_group(group, ref, jobs, ids, rows)
  local queue, due, names, keys = group[1], NOW + group[3], group[8], group[11]
  local state = group[3] > 0 and DELAYED or READY
  local expires = group[5] > 0 and NOW + group[5] or 0
  local rank = due - group[2] * queue_of(queue).aging
  local start = struct.pack(CHANGES, ROW_VERSION, state, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, group[4], 0, 0, due, expires,
    NOW, rank)
  local score = state == DELAYED and due or rank
  local index, n = {}, #ids
  score = string.format('%.0f', score)
  for k, i in ipairs(group.fresh) do
    local id, name = names[i], string.format('%014d', ref + k)
    jobs[n + 1], jobs[n + 2] = name, group[9][i]
    ids[n + 1], ids[n + 2] = id, name
    rows[n + 1], rows[n + 2] = name, start .. group[10][i]
    index[2 * k - 1], index[2 * k] = score, name
    n = n + 2
    if keys then
      local until_ms = group[6] == PERIOD and NOW + group[7] or 0
      add(PUT, P .. 'unique', keys[i], string.format('%.0f %s %s', until_ms, name, id))
      if until_ms > 0 then add(ZPUT, P .. 'periods', until_ms, keys[i]) end
    end
    if expires > 0 then add(ZPUT, P .. 'expiring', expires, name) end
  end
  later('ZADD', P .. (state == DELAYED and 'delayed:' or 'ready:') .. queue, index)
  if state == READY then MADE_READY[queue] = true end
  return ref + #group.fresh
end

local function insert(groups)
  local ref = tonumber(STORE[7] or '') or 0
  local jobs, ids, rows = {}, {}, {}
  for _, group in ipairs(groups) do
    if #group.fresh > 0 then ref = insert_group(group, ref, jobs, ids, rows) end
  end
  SET.ref = ref
  later('HSET', P .. 'rows', rows)
  later('HSET', P .. 'jobs', jobs)
  later('HSET', P .. 'ids', ids)
end

-- A session's pools: {name, {{queue, weight}}, slots, capacity}, kept as they came.
local function pools_of(data)
  local fine, pools = pcall(cmsgpack.unpack, data or '')
  return fine and type(pools) == 'table' and pools or {}
end

-- Whether any pool may hold more than before.
local function raised(key, data)
  local before = {}
  for _, pool in ipairs(pools_of(CALL('HGET', key, 'pools'))) do before[pool[1]] = pool[4] end
  for _, pool in ipairs(pools_of(data)) do
    if pool[4] > (before[pool[1]] or 0) then return true end
  end
  return false
end

local function replace_pools(key, data)
  if CALL('HGET', key, 'pools') == data then return end
  CALL('HSET', key, 'pools', data)
  for _, pool in ipairs(pools_of(data)) do
    for _, share in ipairs(pool[2]) do CALL('SADD', P .. 'queues', share[1]) end
  end
end

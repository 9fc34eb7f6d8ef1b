-- A: {new store id, schema}. Stands alone: the store may not be there yet.
local A = cmsgpack.unpack(ARGV[1])
if redis.replicate_commands then redis.replicate_commands() end
local id = redis.call('HGET', KEYS[1], 'id')
if not id then
  id = A[1]
  redis.call('HSET', KEYS[1], 'id', id, 'schema', A[2], 'writes', 1)
end
local row = redis.call('HMGET', KEYS[1], 'schema', 'writes')
return cmsgpack.pack({0, tonumber(row[2]) or 0, id, tonumber(row[1]) or 0})

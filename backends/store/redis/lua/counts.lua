-- A: queues, or false: all.
local names, out = A[1], {}
if not names then
  names = CALL('SMEMBERS', P .. 'queues')
  table.sort(names)
end
for i, name in ipairs(names) do
  local v = CALL('HMGET', P .. 'q:' .. name, 'assigned', 'running', 'failed', 'completed', 'cancelled', 'paused',
    'depth', 'aging')
  out[i] = {name, CALL('ZCARD', P .. 'delayed:' .. name), CALL('ZCARD', P .. 'ready:' .. name)
    + CALL('ZCARD', P .. 'alone:' .. name), tonumber(v[1] or '') or 0, tonumber(v[2] or '') or 0,
    tonumber(v[3] or '') or 0, tonumber(v[4] or '') or 0, tonumber(v[5] or '') or 0, v[6] == '1',
    tonumber(v[7] or '') or -1, tonumber(v[8] or '') or -1}
end
return answer(out)

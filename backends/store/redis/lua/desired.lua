-- A: {queue, node or *, slots}.
wrote()
if A[2] == '*' then
  local old = {}
  for _, field in ipairs(CALL('HKEYS', P .. 'desired')) do
    if string.sub(field, 1, #A[1] + 1) == A[1] .. '\0' then old[#old + 1] = field end
  end
  bulk('HDEL', P .. 'desired', old)
end
CALL('HSET', P .. 'desired', A[1] .. '\0' .. A[2], A[3])
ring('nodes')
return answer()

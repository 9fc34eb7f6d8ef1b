-- needs: rows, records
-- A: {id, whether its end is awaited}.
local ref = CALL('HGET', P .. 'ids', A[1])
local data = ref and CALL('HGET', P .. 'rows', ref)
if not data then return answer(false, NOW) end
local r = parse(ref, data)
if A[2] and r and is_live(r.state) and not has(r.flags, AWAITED) then
  r.flags = with(r.flags, AWAITED)
  wrote()
  CALL('HSET', P .. 'rows', ref, packed(r))
end
return answer(record_of(ref, data), NOW)

-- needs: rows, lifecycle, change, flush
-- A: {id, epoch or -1, seq}.
local r = row_of_id(A[1])
if not r or r.state ~= FAILED then return refuse('not found') end
if A[2] >= 0 and (r.epoch ~= A[2] or r.seq ~= A[3]) then return refuse('conflict', r.epoch, r.seq, '', '') end
if r.unique ~= '' and r.holds == DONE then
  local value = CALL('HGET', P .. 'unique', r.unique) or ''
  local until_ms, ref, id = string.match(value, '^(%d+) (%d+) (.*)$')
  if id and (until_ms == '0' or tonumber(until_ms) > NOW) then
    return refuse('conflict', r.epoch, r.seq, id, r.unique)
  end
end
move(r, E_OPERATOR_RETRY, 0)
flush()
wake(false)
return answer()

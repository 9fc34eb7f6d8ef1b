-- needs: rows, lifecycle, change, flush
-- A: {id}. 0: it never starts, 1: its node has been asked, 2: it has ended.
local r = row_of_id(A[1])
if not r then return refuse('not found') end
if not is_live(r.state) then return answer(2) end
if r.state == RUNNING then
  r.flags = with(r.flags, CANCEL)
  CHANGED[r.ref] = r
  add(SPUT, P .. 's:' .. r.session .. ':c', r.ref)
  flush()
  ring('session-' .. r.session)
  return answer(1)
end
move(r, E_CANCEL, 0)
flush()
wake(true)
return answer(0)

-- needs: rows, lifecycle, change, flush, pools
-- A: {session, pools, whether it is a beat}.
local key = P .. 's:' .. A[1]
local node = CALL('HGET', key, 'node')
if not node then return refuse('session', A[1]) end

local desired, cancels = {}, {}
for _, pool in ipairs(pools_of(A[2])) do
  for _, share in ipairs(pool[2]) do
    for _, name in ipairs({node, '*'}) do
      local slots = A[3] and CALL('HGET', P .. 'desired', share[1] .. '\0' .. name)
      if slots then desired[#desired + 1] = {share[1], name, tonumber(slots)} end
    end
  end
end
for _, r in ipairs(rows_of(A[3] and CALL('SMEMBERS', key .. ':c') or {})) do
  if r and r.state == RUNNING and r.session == A[1] and has(r.flags, CANCEL) then
    cancels[#cancels + 1] = {r.id, r.epoch, r.seq}
  end
end
local draining = CALL('SISMEMBER', P .. 'draining', node) == 1
local waiting = CALL('SCARD', key .. ':a')
local more = raised(key, A[2])
check(P .. 'queues', 'set')

wrote()
replace_pools(key, A[2])
if A[3] then CALL('HINCRBY', key, 'counter', 1) end
if more then wake(true) end
if not A[3] then return answer() end
return answer(desired, draining, cancels, waiting)

-- needs: rows, lifecycle, change, flush
-- A: {session, queues, {ref, epoch, seq} of what the node runs or false}.
local key = P .. 's:' .. A[1]
if CALL('HEXISTS', key, 'node') == 0 then return refuse('session', A[1]) end
local wanted, known = {}, {}
for _, name in ipairs(A[2]) do wanted[name] = true end

local found = {}
local function by_token(one, two)
  return one.seq < two.seq
end

if A[3] then
  for _, one in ipairs(A[3]) do known[one[1] .. ' ' .. one[2] .. ' ' .. one[3]] = true end
  for _, r in ipairs(rows_of(CALL('SMEMBERS', key .. ':r'))) do
    if r and wanted[r.queue] and not known[r.ref .. ' ' .. r.epoch .. ' ' .. r.seq] then found[#found + 1] = r end
  end
  table.sort(found, by_token)
end

local fresh = {}
for _, r in ipairs(rows_of(CALL('SMEMBERS', key .. ':a'))) do
  if r and r.state == ASSIGNED and r.session == A[1] and wanted[r.queue] then fresh[#fresh + 1] = r end
end
table.sort(fresh, by_token)
for _, r in ipairs(fresh) do
  leave(r)
  start(r)
  enter(r, RUNNING)
  CHANGED[r.ref] = r
  found[#found + 1] = r
end

local refs, out = {}, {}
for i, r in ipairs(found) do refs[i] = r.ref end
local jobs = fields(P .. 'jobs', refs)
for i, r in ipairs(found) do
  local err = has(r.flags, HAS_ERROR) and CALL('HGET', P .. 'error', r.ref) or ''
  local data = packed(r)
  if CHANGED[r.ref] then CHANGED[r.ref], NEW_DATA[r.ref] = nil, data end
  out[i] = {r.ref, data, jobs[i] or '', err or ''}
end
if #fresh > 0 then flush() end
return answer(out)

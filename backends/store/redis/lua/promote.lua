-- needs: rows, lifecycle, change, flush
-- A: {epoch, owner, limit, error of what expired}. How many became ready, how many expired, ms until the next or -1.
if not leads(A[1], A[2]) then return stale() end
local expired, moved = 0, 0

for i, ref in ipairs(CALL('ZRANGEBYSCORE', P .. 'expiring', '-inf', NOW, 'LIMIT', 0, A[3])) do
  local r = parse(ref, CALL('HGET', P .. 'rows', ref))
  if r and r.expires > 0 and r.step == 0 and r.state <= READY and move(r, E_EXPIRE, 0, A[4]) then
    expired = expired + 1
  else
    add(ZDROP, P .. 'expiring', ref)
  end
end

local due, next_due, names = {}, nil, CALL('SMEMBERS', P .. 'queues')
for _, name in ipairs(names) do
  local some = CALL('ZRANGE', P .. 'delayed:' .. name, 0, A[3], 'WITHSCORES')
  for i = 1, #some, 2 do
    if not CHANGED[some[i]] then due[#due + 1] = {tonumber(some[i + 1]), some[i], name} end
  end
end
table.sort(due, function(one, two)
  if one[1] ~= two[1] then return one[1] < two[1] end
  return one[2] < two[2]
end)
local refs, place = {}, 1
while place <= #due and #refs < A[3] and due[place][1] <= NOW do
  refs[#refs + 1] = due[place][2]
  place = place + 1
end
if due[place] then next_due = math.max(0, due[place][1] - NOW) end
for i, r in ipairs(rows_of(refs)) do
  if r and r.state == DELAYED then
    move(r, E_PROMOTE, 0)
    moved = moved + 1
  else
    add(ZDROP, P .. 'delayed:' .. due[i][3], refs[i])
  end
end
if moved > 0 or next(ZDROP) then
  flush()
  for topic in pairs(RINGS) do ring(topic) end
end
return answer(moved, expired, next_due or -1)

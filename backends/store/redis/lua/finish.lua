-- needs: rows, lifecycle, change, flush
-- A: {outcomes: {ref, id, epoch, seq, kind, delay in ms, error or '', result or ''}}.
local refs = {}
for i, one in ipairs(A[1]) do refs[i] = one[1] end
local rows = rows_of(refs)
local by_ref, stale_ones, quarantined = {}, {}, {}
local HANDED_BACK = 4

-- The hot path: a run of handle() completed, and nothing more is to be said of it.
local function complete(r)
  leave(r)
  r.attempts, r.finished, r.state = r.attempts + 1, NOW, COMPLETED
  r.flags = without(r.flags, CANCEL)
  add(ZPUT, P .. 'finished', NOW, r.ref)
  count(P .. 'q:' .. r.queue, 'completed', 1)
  free_unique(r)
  CHANGED[r.ref] = r
end

local function keep_result(r, result)
  if r.keep == 0 or r.state ~= COMPLETED then return end
  r.kept = NOW + r.keep
  if result == '' then return end
  r.flags = with(r.flags, HAS_RESULT)
  add(PUT, P .. 'result', r.ref, result)
  add(ZPUT, P .. 'results', r.kept, r.ref)
end

local function apply(r, one)
  local event = event_of(r, one[5])
  local err = one[7] ~= '' and one[7] or error_at_end(event, one[5])
  if not move(r, event, one[6], err) then return false end
  if event == E_QUARANTINE then quarantined[#quarantined + 1] = r.id end
  return true
end

-- Whether the outcome took effect, now or when it was sent before.
local function settle(r, one)
  if not r or r.id ~= one[2] or r.seq ~= one[4] or r.epoch ~= one[3] then return false end
  local kind = one[5]
  if r.state == RUNNING or (r.state == ASSIGNED and kind == HANDED_BACK) then
    if kind == 0 and r.step == 0 and not has(r.flags, HAS_ERROR) and not has(r.flags, AWAITED) then
      complete(r)
    elseif not apply(r, one) then
      return false
    end
    keep_result(r, one[8])
    r.done = kind + 1
    return true
  end
  return r.done == kind + 1
end

for i, one in ipairs(A[1]) do
  local r = by_ref[one[1]]
  if r == nil then
    r = rows[i]
    by_ref[one[1]] = r
  end
  if not settle(r, one) then stale_ones[#stale_ones + 1] = i end
end
if next(CHANGED) then
  flush()
  wake(true)
end
return answer(stale_ones, quarantined)

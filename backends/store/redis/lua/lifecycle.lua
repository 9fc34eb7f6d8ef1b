-- The lifecycle's decisions; the strings above are made of core/lifecycle.py when the scripts are loaded: two bytes for
-- each state, step and event; one event for each case of an outcome, and of a released row.

-- Next state, next step or nil, charge, due, error; nil where the event can't happen.
local function what_then(state, step, event)
  local i = 2 * ((state * 2 + step) * EVENTS + event)
  local one, two = string.byte(THEN, i + 1, i + 2)
  if not one or one == 255 then return nil end
  local next_step = math.floor(one / 8)
  return one % 8, next_step > 0 and next_step - 1 or nil, two % 8, math.floor(two / 8) % 4, math.floor(two / 32)
end

local function bit(number, condition)
  return number * 2 + (condition and 1 or 0)
end

-- The event that an outcome of this kind is for the row.
local function event_of(r, kind)
  local i = bit(kind * 2 + r.step, r.losses + 1 >= LOSSES_MAX)
  i = bit(bit(bit(i, has(r.flags, HOOK)), has(r.flags, CANCEL)), has(r.flags, ONCE))
  return string.byte(OUTCOMES, i + 1)
end

-- The event that the end of its session is for the row.
local function release_event(r)
  local once = has(r.flags, ONCE)
  local i = bit(bit(bit(0, r.state == RUNNING), r.step == 1), r.losses + 1 >= LOSSES_MAX)
  i = bit(bit(i, r.started > 0), r.doubts > 0 or once)
  i = bit(bit(bit(i, once), has(r.flags, HOOK)), has(r.flags, CANCEL))
  return string.byte(RELEASES, i + 1)
end

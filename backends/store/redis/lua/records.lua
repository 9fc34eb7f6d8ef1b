-- What an operator sees of a row: {ref, row, job, error, result, progress, history, node}.
local function record_of(ref, data)
  local job = CALL('HGET', P .. 'jobs', ref) or ''
  local r = parse(ref, data)
  if not r then return {ref, data or '', job, '', '', '', '', ''} end
  local function extra(flag, key)
    return has(r.flags, flag) and CALL('HGET', P .. key, ref) or ''
  end
  return {ref, data, job, extra(HAS_ERROR, 'error'), extra(HAS_RESULT, 'result'), extra(HAS_PROGRESS, 'progress'),
    extra(HAS_HISTORY, 'history'), r.session > 0 and CALL('HGET', P .. 'nodes', r.session) or ''}
end

local held = CALL('HMGET', KEYS[1], 'epoch', 'owner', 'cluster', 'backend', 'term')
return answer(tonumber(held[1] or '') or 0, held[2] or '', held[3] or '', held[4] or '',
  math.max(0, tonumber(held[5] or '') or 0))

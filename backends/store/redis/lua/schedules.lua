-- All entries: {name, entry, last tick}.
local out, all = {}, CALL('HGETALL', P .. 'schedules')
for i = 1, #all, 2 do
  out[#out + 1] = {all[i], all[i + 1], tonumber(CALL('HGET', P .. 'ticks', all[i]) or '') or 0}
end
return answer(out)

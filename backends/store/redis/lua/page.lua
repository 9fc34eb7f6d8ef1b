-- needs: rows, records
-- A: refs, by their records; those that are gone are left out.
local out = {}
for i, data in ipairs(fields(P .. 'rows', A)) do
  if data then out[#out + 1] = record_of(A[i], data) end
end
return answer(out, NOW)

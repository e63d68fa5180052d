-- Read all that is shown of tasks.
-- KEYS, ARGV 1 to 3: see _prelude.lua. Then: max_bytes of payloads after which no more are given, the ids.
-- Returns for each id the values of detail_of in _details.lua, or nil for one that is unknown.
local details, max_bytes = {}, tonumber(ARGV[4])
for i = 5, #ARGV do
  local task = find(ARGV[i])
  details[#details + 1] = task and detail_of(task, detail_bytes < max_bytes) or false
end
return details

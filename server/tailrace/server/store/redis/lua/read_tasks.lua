-- Read what became of tasks.
-- KEYS, ARGV 1 to 3: see _prelude.lua. Then: max_bytes of payloads after which no more are given, the ids.
-- Returns three values for each id: see append_outcome in _outcomes.lua.
local outcomes, max_bytes = {}, tonumber(ARGV[4])
for i = 5, #ARGV do
  append_outcome(outcomes, find(ARGV[i]), max_bytes)
end
return outcomes

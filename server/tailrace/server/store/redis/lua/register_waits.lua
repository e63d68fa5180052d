-- Read what became of tasks and, in the same step, have the calling replica told of every later change.
-- KEYS, ARGV 1 to 3: see _prelude.lua. Then: max_bytes of payloads after which no more are given, with_progress ("1" or
--   "0": whether it is told of progress too), the ids.
-- Returns three values for each id: see append_outcome in _outcomes.lua.
local outcomes, max_bytes, with_progress = {}, tonumber(ARGV[4]), ARGV[5] == '1'
for i = 6, #ARGV do
  local task = find(ARGV[i])
  append_outcome(outcomes, task, max_bytes)
  if task then watch(task, with_progress) end
end
commit()
return outcomes

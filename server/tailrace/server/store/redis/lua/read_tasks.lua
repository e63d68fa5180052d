-- Read what became of tasks.
-- KEYS, ARGV 1 to 3: see _prelude.lua. Then the ids.
-- Returns for each id, one after the other, outcome_line and outcome_payload; two nils for an unknown one.
local outcomes = {}
for i = 4, #ARGV do
  local task = find(ARGV[i])
  outcomes[#outcomes + 1] = task and outcome_line(task) or false
  outcomes[#outcomes + 1] = task and outcome_payload(task) or false
end
return outcomes

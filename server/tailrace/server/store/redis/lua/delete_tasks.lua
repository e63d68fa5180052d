-- Remove the records of tasks that are done, with all their keys.
-- KEYS, ARGV 1 to 3: see _prelude.lua. Then: the ids.
-- Returns for each 1, 0 for one that is not done, or nil for one that is unknown.
local outcomes = {}
for i = 4, #ARGV do
  local task = find(ARGV[i])
  local outcome = task and task.place ~= 'gone' and 0
  if task and task.place == 'done' then
    transition(task, {place = 'gone'})
    outcome = 1
  end
  outcomes[#outcomes + 1] = outcome or false
end
commit()
return outcomes

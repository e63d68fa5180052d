-- Keep tasks from running: what has not started ends at once, what runs is asked to stop, or ends too by force.
-- KEYS, ARGV 1 to 3: see _prelude.lua. Then for each: id, failure that the task ends with (bytes), is_forced ("1" or "0").
-- Returns {outcomes, changes, began, ended (see _counting.lua)}; an outcome is outcome_line, nil for an unknown id. What
--   is done stays as it is.
local function revoke(task, failure, is_forced)
  if task.state ~= 'STARTED' or is_forced then
    if task.place == 'lease' then tell_holder(task) end
    finish(task, 'REVOKED', failure)
  elseif not task.has_revocation then
    put(task, 'v', failure)
    transition(task, {has_revocation = 1})
    tell_holder(task, failure)
  end
end

local outcomes = {}
for i = 4, #ARGV, 3 do
  local task = find(ARGV[i])
  if task and not IS_DONE[task.state] then revoke(task, ARGV[i + 1], ARGV[i + 2] == '1') end
  outcomes[#outcomes + 1] = task and outcome_line(task) or false
end
commit()
return {outcomes, change_lines(), began_parts, ended_parts}

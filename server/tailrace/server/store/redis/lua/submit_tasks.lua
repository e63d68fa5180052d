-- Accept tasks: create those whose id is free, answer for the others with the task that has the id.
-- KEYS, ARGV 1 to 3: see _prelude.lua. Then for each task:
--   id, fingerprint (16 bytes), request (bytes),
--   types that the policy does not retry (each preceded by its length in 4 bytes, big-endian; may be empty),
--   "name value name value ...": those fields of the record that are not to have their defaults, and perhaps
--   start_delay_ms and return_existing
-- Returns {now, outcomes, queues that got tasks}; an outcome is "created", or "exists" or "conflict" and outcome_line.
-- Errors: OOM before anything is written.
local function describe(line)
  local change = {}
  for name, value in string.gmatch(line, '(%S+) (%S+)') do change[name] = IS_TEXT[name] and value or tonumber(value) end
  return change
end

local function create(task_id, change, fingerprint, request, types)
  local over = fetch(task_id)
  local task = new_record(task_id)
  tasks[task_id], task.is_new, task.index = task, true, over and over.index
  put(task, 's', request)
  if types ~= '' then
    put(task, 'n', types)
    change.has_types = 1
  end
  change.state, change.create_ms, change.fingerprint = 'PENDING', NOW, fingerprint
  wait_until_due(task, change.start_delay_ms or 0, false, change)
end

local outcomes = {}
for i = 4, #ARGV, 5 do
  local task_id, fingerprint = ARGV[i], ARGV[i + 1]
  local task, change = find(task_id), describe(ARGV[i + 4])
  local outcome = 'created'
  if not task then
    create(task_id, change, fingerprint, ARGV[i + 2], ARGV[i + 3])
  elseif task.fingerprint == fingerprint or change.return_existing then
    outcome = 'exists ' .. outcome_line(task)
  else
    outcome = 'conflict ' .. outcome_line(task)
  end
  outcomes[#outcomes + 1] = outcome
end
local ready = commit()
return {NOW, outcomes, ready}

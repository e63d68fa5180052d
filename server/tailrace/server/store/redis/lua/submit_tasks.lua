-- Accept tasks: create those whose id is free, answer for the others with the task that has the id.
-- KEYS, ARGV 1 to 3: see _prelude.lua. Then how many tasks may be ready or on the schedule of a queue ("-": any number),
--   and for each task: id, fingerprint (16 bytes), request (bytes),
--   types that the policy does not retry (each preceded by its length in 4 bytes, big-endian; may be empty),
--   "name value name value ...": those fields of the record that are not to have their defaults, and perhaps
--   start_delay_ms, schedule_ms, start_within_ms, total_timeout_ms, return_existing and is_watched
-- Returns {now, outcomes, queues that got tasks}; an outcome is "created", or "full" where the queue takes no more, either
--   followed by " paused" where the queue is, or "exists" or "conflict" and outcome_line.
-- Errors: OOM before anything is written.
local max_depth = tonumber(ARGV[4])

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
  if change.is_watched then change.waiters = REPLICA end
  local start_ms = math.max(NOW + (change.start_delay_ms or 0), change.schedule_ms or 0)
  if change.start_within_ms then change.start_deadline_ms = start_ms + change.start_within_ms end
  if change.total_timeout_ms then change.total_deadline_ms = NOW + change.total_timeout_ms end
  change.state, change.create_ms, change.fingerprint = 'PENDING', NOW, fingerprint
  wait_until_due(task, start_ms - NOW, false, change)
end

local function describe_existing(task, change, fingerprint)
  if task.fingerprint ~= fingerprint and not change.return_existing then return 'conflict ' .. outcome_line(task) end
  if change.is_watched then watch(task, false) end
  return 'exists ' .. outcome_line(task)
end

local outcomes = {}
for i = 5, #ARGV, 5 do
  local task_id, fingerprint = ARGV[i], ARGV[i + 1]
  local task, change = find(task_id), describe(ARGV[i + 4])
  if task then
    outcomes[#outcomes + 1] = describe_existing(task, change, fingerprint)
  else
    local is_full = max_depth and depth_of(change.queue) >= max_depth
    if not is_full then create(task_id, change, fingerprint, ARGV[i + 2], ARGV[i + 3]) end
    outcomes[#outcomes + 1] = (is_full and 'full' or 'created') .. (is_paused(change.queue) and ' paused' or '')
  end
end
local ready = commit()
return {NOW, outcomes, ready}

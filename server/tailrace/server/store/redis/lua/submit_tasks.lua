-- Accept tasks: create those whose id is free, answer for the others with the task that has the id.
-- KEYS, ARGV 1 to 3: see _prelude.lua. Then for each task:
--   id, fingerprint (16 bytes), request (bytes),
--   types that the policy does not retry (each preceded by its length in 4 bytes, big-endian; may be empty),
--   "queue priority head_bytes start_delay_ms lease_ms result_ttl_ms max_lost_leases return_existing", and where there is
--   a retry policy " max_attempts initial_backoff_ms max_backoff_ms backoff_multiplier"
-- Returns {outcomes, queues that got tasks}; an outcome is "created", "exists" or "conflict", then outcome_line.
-- Errors: OOM before anything is written.
local function describe(line)
  local words = split(line)
  local function number(i) return tonumber(words[i]) end
  local is_usual = number(12) == DEFAULTS.backoff_multiplier
  return {
    queue = words[1], priority = number(2), head_bytes = number(3), lease_ms = number(5), result_ttl_ms = number(6),
    max_lost_leases = number(7), max_attempts = number(9), initial_backoff_ms = number(10),
    max_backoff_ms = number(11), backoff_multiplier = not is_usual and words[12] or nil, -- int() would round it
  }, number(4), words[8] == '1'
end

local function create(task_id, change, delay_ms, fingerprint, request, types)
  local over = fetch(task_id)
  local task = new_record(task_id)
  tasks[task_id], task.is_new, task.index = task, true, over and over.index
  put(task, 's', request)
  if types ~= '' then
    put(task, 'n', types)
    change.has_types = 1
  end
  change.state, change.create_ms, change.fingerprint = 'PENDING', NOW, fingerprint
  wait_until_due(task, delay_ms, false, change)
  return task
end

local outcomes = {}
for i = 4, #ARGV, 5 do
  local task_id, fingerprint = ARGV[i], ARGV[i + 1]
  local change, delay_ms, return_existing = describe(ARGV[i + 4])
  local task, outcome = find(task_id), 'exists'
  if not task then
    task, outcome = create(task_id, change, delay_ms, fingerprint, ARGV[i + 2], ARGV[i + 3]), 'created'
  elseif task.fingerprint ~= fingerprint and not return_existing then
    outcome = 'conflict'
  end
  outcomes[#outcomes + 1] = outcome .. ' ' .. outcome_line(task)
end
local ready = commit()
return {outcomes, ready}

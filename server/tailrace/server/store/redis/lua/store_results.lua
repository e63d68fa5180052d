-- End attempts. One that was never started counts as started and ended; a failure is retried as the policy says.
-- KEYS, ARGV 1 to 3: see _prelude.lua. Then for each: id, lease token (12 bytes), payload (the result of a SUCCESS,
--   else the failure), failure type, and "state has_payload", in case of a FAILURE followed by
--   " is_non_retryable next_retry_delay_ms jitter", where "-" leaves the delay to the policy, and the policy that holds
--   where the submitter gave none: " max_attempts initial_backoff_ms max_backoff_ms backoff_multiplier"
-- Returns {outcomes, queues that got tasks, began, ended (see _counting.lua)}; an outcome is "stored", whether the result
--   was kept (1 or 0) and outcome_line, or "changed" and the state where there is more to the task than was sent, or
--   "duplicate" and the state that the first one led to, or nil where the token is not the current one.
local function fail(task, failure, failure_type, how)
  local is_final, delay_ms, jitter, attempts, initial, longest, multiplier =
    string.match(how, '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+)$')
  count_failure(
    task, failure, failure_type,
    {is_final = is_final == '1', delay_ms = tonumber(delay_ms), jitter = tonumber(jitter)},
    {
      max_attempts = tonumber(attempts), initial_backoff_ms = tonumber(initial), max_backoff_ms = tonumber(longest),
      backoff_multiplier = tonumber(multiplier),
    }
  )
end

local function store(task, token, payload, failure_type, line)
  if not task then return false end
  if task.ended_state and task.ended_token == token then return 'duplicate ' .. task.ended_state end
  if not holds(task, token) then return false end
  local state, has_payload, how = string.match(line, '^(%u+) ([01]) ?(.*)$')
  payload = has_payload == '1' and payload
  tell_holder_elsewhere(task)
  if task.state ~= 'STARTED' then start(task) end
  local is_overruled = task.has_revocation and state ~= 'SUCCESS'
  if is_overruled then
    end_revoked(task)
  elseif state == 'FAILURE' then
    fail(task, payload, failure_type, how)
  else
    finish(task, state, payload)
  end
  transition(task, {ended_token = token, ended_state = task.state})
  if is_overruled or task.has_progress then return 'changed ' .. task.state end
  return (task.result_ttl_ms > 0 and 'stored 1 ' or 'stored 0 ') .. outcome_line(task)
end

local outcomes = {}
for i = 4, #ARGV, 5 do
  outcomes[#outcomes + 1] = store(find(ARGV[i]), ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4])
end
local ready = commit()
return {outcomes, ready, began_parts, ended_parts}

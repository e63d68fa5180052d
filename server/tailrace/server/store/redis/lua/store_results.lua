-- End attempts. One that was never started counts as started and ended; a failure is retried as the policy says.
-- KEYS, ARGV 1 to 3: see _prelude.lua. Then for each: id, lease token (12 bytes), payload (the result of a SUCCESS,
--   else the failure), failure type, and "state has_payload", in case of a FAILURE followed by
--   " is_non_retryable next_retry_delay_ms jitter", where "-" leaves the delay to the policy, and the policy that holds
--   where the submitter gave none: " max_attempts initial_backoff_ms max_backoff_ms backoff_multiplier"
-- Returns {outcomes, queues that got tasks}; an outcome is "stored", outcome_line and whether the result was kept (1 or
--   0), or "overruled" where the task was asked to stop and ends REVOKED for that, or "duplicate" and the state that the
--   first one led to, or nil where the token is not the current one.
local JITTER_STEPS = 65535

local function is_retryable_type(task, failure_type)
  local types = task.has_types and call('GET', key('n', task.id)) or ''
  local at = 1
  while at <= #types do
    local one
    one, at = struct.unpack('>I4c0', types, at)
    if one == failure_type then return false end
  end
  return true
end

local function backoff_ms(policy, failed_attempts, jitter)
  if policy.initial_backoff_ms == 0 then return 0 end -- nothing times infinity would be no number
  local backoff = policy.initial_backoff_ms * policy.backoff_multiplier ^ (failed_attempts - 1)
  return math.floor(math.min(backoff, policy.max_backoff_ms) * (0.5 + 0.5 * jitter / JITTER_STEPS))
end

local function fail(task, failure, failure_type, how)
  local is_final, delay_ms, jitter, attempts, initial, longest, multiplier =
    string.match(how, '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+)$')
  transition(task, {failed_attempts = task.failed_attempts + 1, lost_leases = 0, releases = 0})
  local policy = task
  if not task.max_attempts then
    policy = {
      max_attempts = tonumber(attempts), initial_backoff_ms = tonumber(initial), max_backoff_ms = tonumber(longest),
      backoff_multiplier = tonumber(multiplier),
    }
  end
  local is_last = is_final == '1' or task.failed_attempts >= policy.max_attempts
  if is_last or not is_retryable_type(task, failure_type) then return finish(task, 'FAILURE', failure) end
  delay_ms = tonumber(delay_ms) or backoff_ms(policy, task.failed_attempts, tonumber(jitter))
  retry(task, failure, delay_ms, false)
end

local function store(task, token, payload, failure_type, line)
  if not task then return false end
  if task.ended_state and task.ended_token == token then return 'duplicate ' .. task.ended_state end
  if not holds(task, token) then return false end
  local state, has_payload, how = string.match(line, '^(%u+) ([01]) ?(.*)$')
  payload = has_payload == '1' and payload
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
  if is_overruled then return 'overruled' end
  return 'stored ' .. outcome_line(task) .. (task.result_ttl_ms > 0 and ' 1' or ' 0')
end

local outcomes = {}
for i = 4, #ARGV, 5 do
  outcomes[#outcomes + 1] = store(find(ARGV[i]), ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4])
end
local ready = commit()
return {outcomes, ready}

-- Whether and when a failed attempt is tried again, as in domain/retry.py.
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

-- Count an attempt that failed; `policy` holds where the submitter gave none.
local function count_failure(task, failure, failure_type, how, policy)
  transition(task, {failed_attempts = task.failed_attempts + 1, lost_leases = 0, releases = 0})
  if task.max_attempts then policy = task end
  local is_last = how.is_final or task.failed_attempts >= policy.max_attempts
  if is_last or not is_retryable_type(task, failure_type) then return finish(task, 'FAILURE', failure) end
  retry(task, failure, how.delay_ms or backoff_ms(policy, task.failed_attempts, how.jitter), false)
end

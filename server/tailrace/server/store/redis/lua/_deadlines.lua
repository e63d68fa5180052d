-- What becomes of a task whose deadline has passed, as in domain/deadline.py.
local NO_RETRY = {max_attempts = 1, initial_backoff_ms = 1000, max_backoff_ms = 300000, backoff_multiplier = 2}

local function is_overdue(task)
  local deadline_ms = deadline_of(task)
  return deadline_ms and deadline_ms <= NOW
end

-- Tell whether all that an overdue task has missed is the end of its attempt.
local function has_but_overrun(task)
  return task.state == 'STARTED' and not (task.total_deadline_ms and task.total_deadline_ms <= NOW)
end

-- `failures`: what it ends with: start, execution, total.
local function miss_deadline(task, failures, jitter)
  if task.place == 'lease' then tell_holder(task) end
  local is_over = task.total_deadline_ms and task.total_deadline_ms <= NOW
  if task.has_revocation then return end_revoked(task) end
  if is_over then return finish(task, 'FAILURE', failures.total) end
  if task.state ~= 'STARTED' then return finish(task, 'REVOKED', failures.start) end
  count_failure(task, failures.execution, 'ExecutionTimeout', {jitter = jitter}, NO_RETRY)
end

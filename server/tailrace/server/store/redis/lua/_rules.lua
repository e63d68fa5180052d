-- The rules of tasks and leases, as in domain/lease.py and domain/task.py, for scripts that share them.
local DELIVERY_LEASE_MS = 10000
local RELEASES_PER_LOST_LEASE = 100
local MAX_REWRITTEN_BYTES = 16384 -- of requests that are written again, since what is appended to takes twice its size

-- A lease past its expiry still counts until it is reaped. A token whose lease has ended is left where it is.
local function holds(task, token)
  return task ~= nil and task.place == 'lease' and task.lease_token == token
end

local function start(task)
  transition(task, {}) -- notes what it was before
  task.wait_ms, task.run_ms = NOW - (task.due_ms or task.update_ms), 0
  transition(task, {
    state = 'STARTED', place = 'lease', until_ms = NOW + task.lease_ms, attempt = task.attempt + 1, start_ms = NOW,
    due_ms = false,
  })
end

-- Note who has a task; empty when that was not said. No worker's id is longer than 128 characters.
local function name_worker(task, worker_id)
  if worker_id == '' then return end
  worker_id = string.sub(worker_id, 1, 128)
  transition(task, {worker_id = string.sub(worker_id, 1, 64), worker_id_rest = string.sub(worker_id, 65)})
end

local function say_progress(task, progress)
  put(task, 'g', progress)
  transition(task, {has_progress = 1})
  progressed[#progressed + 1] = task
end

-- Put the outcome behind the request; SUCCESS drops the input, the others keep it, so that the task can be run again.
local function put_outcome(task, state, outcome)
  local name, bytes = key('s', task.id), task.head_bytes
  if state ~= 'SUCCESS' then bytes = call('STRLEN', name) end
  if state == 'SUCCESS' or bytes <= MAX_REWRITTEN_BYTES then
    put(task, 's', (bytes > 0 and call('GETRANGE', name, 0, bytes - 1) or '') .. (outcome or ''))
  else
    put(task, 'tail', outcome or '')
  end
  transition(task, {request_bytes = bytes, outcome_bytes = outcome and #outcome})
end

-- End a task for good: `outcome` is the result of a SUCCESS, else the failure; false when there is none.
local function finish(task, state, outcome)
  if state == 'SUCCESS' then outcome = task.result_ttl_ms > 0 and outcome end
  if state ~= 'SUCCESS' then task.failure_kind = failure_kind_of(outcome) end
  put_outcome(task, state, outcome)
  if task.failed_attempts + task.lost_leases > 0 then put(task, 'f', false) end
  if task.has_types then put(task, 'n', false) end
  if task.has_revocation then put(task, 'v', false) end
  if task.has_progress then put(task, 'g', false) end
  if task.place == 'ready' and not task.is_drawn then leave_behind(task) end
  local expire_ms = NOW + ttl_of(task)
  transition(task, {
    state = state, place = 'done', until_ms = expire_ms, expire_ms = expire_ms, has_types = false,
    has_revocation = false, has_progress = false,
  })
end

-- Send a task that nobody holds to the schedule, or straight to its queue when there is no delay.
local function wait_until_due(task, delay_ms, to_head, change)
  if delay_ms > 0 then
    change.place, change.until_ms, change.due_ms = 'schedule', NOW + delay_ms, NOW + delay_ms
  else
    change.place, change.to_head = 'ready', to_head
  end
  transition(task, change)
end

-- Have another attempt follow; one that would come too late is not waited for.
local function retry(task, failure, delay_ms, to_head)
  if task.total_deadline_ms and NOW + delay_ms >= task.total_deadline_ms then return finish(task, 'FAILURE', failure) end
  task.failure_kind = failure_kind_of(failure)
  put(task, 'f', failure)
  wait_until_due(task, delay_ms, to_head, {state = 'RETRY'})
end

-- A holder vanished, or released too often: no failed attempt, but the last loss in a row that is allowed is final.
local function count_lost_lease(task, failure, delay_ms)
  transition(task, {lost_leases = task.lost_leases + 1, releases = 0})
  if task.lost_leases >= task.max_lost_leases then
    finish(task, 'FAILURE', failure)
  else
    retry(task, failure, delay_ms, true)
  end
end

-- The rules of tasks and leases, as in domain/lease.py and domain/task.py, for scripts that share them.
local DELIVERY_LEASE_MS = 10000
local RELEASES_PER_LOST_LEASE = 100
local UNKEPT_RESULT_TTL_MS = 60000

-- A lease past its expiry still counts until it is reaped. A token whose lease has ended is left where it is.
local function holds(task, token)
  return task ~= nil and task.place == 'lease' and task.lease_token == token
end

local function start(task)
  transition(task, {state = 'STARTED', place = 'lease', until_ms = NOW + task.lease_ms, attempt = task.attempt + 1})
end

-- End a task for good: `outcome` is the result of a SUCCESS, else the failure; false when there is none.
-- SUCCESS drops the input; the others keep it, so that the task can be run again.
local function finish(task, state, outcome)
  local keeps_result = task.result_ttl_ms > 0
  local expire_ms = NOW + (keeps_result and task.result_ttl_ms or UNKEPT_RESULT_TTL_MS)
  if state == 'SUCCESS' then
    put(task, 's', task.head_bytes > 0 and call('GETRANGE', key('s', task.id), 0, task.head_bytes - 1) or '')
    outcome = keeps_result and outcome
  end
  if outcome then put(task, 'r', outcome) end
  if task.failed_attempts + task.lost_leases > 0 then put(task, 'f', false) end
  if task.has_types then put(task, 'n', false) end
  if task.has_revocation then put(task, 'v', false) end
  if task.place == 'ready' then leave_behind(task) end
  transition(task, {
    state = state, place = 'done', until_ms = expire_ms, expire_ms = expire_ms, has_types = false,
    has_revocation = false,
  })
end

-- Send a task that nobody holds to the schedule, or straight to its queue when there is no delay.
local function wait_until_due(task, delay_ms, to_head, change)
  if delay_ms > 0 then
    change.place, change.until_ms = 'schedule', NOW + delay_ms
  else
    change.place, change.to_head = 'ready', to_head
  end
  transition(task, change)
end

local function retry(task, failure, delay_ms, to_head)
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

-- What is told of a task: "state place revision attempt update_ms expire_ms", "-" where there is none.
local function outcome_line(task)
  return task.state .. ' ' .. task.place .. ' ' .. task.revision .. ' ' .. task.attempt
    .. ' ' .. task.update_ms .. ' ' .. (task.expire_ms or '-')
end

local function payload_key(task)
  if task.place == 'done' then return key('r', task.id) end
  return task.failed_attempts + task.lost_leases > 0 and key('f', task.id)
end

-- The payload that goes with it: the result, the failure, or the latest failure; false when there is none.
local function outcome_payload(task)
  local name = payload_key(task)
  return name and call('GET', name)
end

-- For answers about many tasks: append outcome_line and outcome_payload, two nils for a task that is unknown. Once the
-- payloads have reached max_bytes, 1 stands for each that follows.
local appended_bytes = 0
local function append_outcome(outcomes, task, max_bytes)
  local name = task and payload_key(task)
  local payload = false
  if name and appended_bytes < max_bytes then
    payload = call('GET', name)
    appended_bytes = appended_bytes + (payload and #payload or 0)
  elseif name then
    payload = call('STRLEN', name) > 0
  end
  outcomes[#outcomes + 1] = task and outcome_line(task) or false
  outcomes[#outcomes + 1] = payload
end

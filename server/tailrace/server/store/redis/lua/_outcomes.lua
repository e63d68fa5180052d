-- What is told of tasks.

-- "state place revision attempt update_ms expire_ms", "-" where there is none, and " paused" where it is ready in a queue
-- that is paused.
local function outcome_line(task)
  return task.state .. ' ' .. task.place .. ' ' .. task.revision .. ' ' .. task.attempt
    .. ' ' .. task.update_ms .. ' ' .. (task.expire_ms or '-')
    .. (task.place == 'ready' and is_paused(task.queue) and ' paused' or '')
end

local function has_failure(task) return not IS_DONE[task.state] and task.failed_attempts + task.lost_leases > 0 end

-- The payload that goes with it: the result, the failure, or the latest failure; false when there is none.
local function outcome_payload(task)
  if has_failure(task) then return call('GET', key('f', task.id)) end
  if not task.outcome_bytes or task.outcome_bytes == 0 then return task.outcome_bytes and '' end
  return call('GETRANGE', key('s', task.id), task.request_bytes, task.request_bytes + task.outcome_bytes - 1)
end

-- The latest progress, false when there is none.
local function progress_of(task) return task.has_progress and call('GET', key('g', task.id)) end

-- For answers about many tasks: append outcome_line, outcome_payload and progress_of, three nils for a task that is
-- unknown. Once the payloads have reached max_bytes, 1 stands for each that follows.
local appended_bytes = 0
local function append_outcome(outcomes, task, max_bytes)
  local payload, progress = false, false
  if task and appended_bytes < max_bytes then
    payload, progress = outcome_payload(task), progress_of(task)
    appended_bytes = appended_bytes + (payload and #payload or 0) + (progress and #progress or 0)
  elseif task then
    payload = task.outcome_bytes and true or has_failure(task) and call('EXISTS', key('f', task.id)) == 1
    progress = task.has_progress and true
  end
  outcomes[#outcomes + 1] = task and outcome_line(task) or false
  outcomes[#outcomes + 1] = payload
  outcomes[#outcomes + 1] = progress
end

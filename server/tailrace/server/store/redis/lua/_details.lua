-- All that is shown of a task: "id is_revoke_requested delivery_count create_ms start_ms lease_expire_ms is_whole" and
-- outcome_line, worker_id, request, payload that goes with the state, progress; nil for what there is not.
local detail_bytes = 0

local function read_whole(task)
  local request, payload = call('GET', key('s', task.id)) or '', outcome_payload(task)
  if task.request_bytes then request = string.sub(request, 1, task.request_bytes) end
  return request, payload, task.has_progress and call('GET', key('g', task.id))
end

-- Without input and outcome.
local function read_head(task)
  return task.head_bytes > 0 and call('GETRANGE', key('s', task.id), 0, task.head_bytes - 1) or ''
end

local function has_more(task)
  return task.outcome_bytes or task.has_progress
    or (task.request_bytes or call('STRLEN', key('s', task.id))) > task.head_bytes
    or has_failure(task) and call('EXISTS', key('f', task.id)) == 1
end

local function detail_of(task, with_payloads)
  local request, payload, progress
  if with_payloads then request, payload, progress = read_whole(task) else request = read_head(task) end
  detail_bytes = detail_bytes + #request + #(payload or '') + #(progress or '')
  local line = table.concat({
    task.id, task.has_revocation and 1 or 0, task.delivery_count, task.create_ms, task.start_ms or '-',
    task.place == 'lease' and call('ZSCORE', KEYS[1], task.id) or '-', (with_payloads or not has_more(task)) and 1 or 0,
    outcome_line(task),
  }, ' ')
  return {line, task.worker_id .. task.worker_id_rest, request, payload or false, progress or false}
end

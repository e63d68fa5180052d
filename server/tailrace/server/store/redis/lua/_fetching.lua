-- Read records.

-- Put into bytes what is still of use of a record that is done; see LASTING.
local function lasting(task)
  local parts = {}
  for i, name in ipairs(LASTING) do
    local value = task[name] ~= DEFAULTS[name] and tostring(task[name]) or ''
    parts[i] = string.char(#value) .. value
  end
  local text = table.concat(parts)
  return text .. struct.pack('>H', #text)
end

-- The record of a task that is done, at the end of its string; nil when there is none, or when the string is a request
-- whose record somebody removed: that must not stop the others of a call.
local function fetch_ended(task_id)
  local text = call('GETRANGE', key('s', task_id), -MAX_LASTING_BYTES, -1)
  local last = #text - 2
  local at = last > 0 and last + 1 - struct.unpack('>H', text, last + 1) or 0
  if at < 1 then return nil end
  local task = new_record(task_id)
  for _, name in ipairs(LASTING) do
    if at > last then break end
    local length = string.byte(text, at)
    local value = string.sub(text, at + 1, at + length)
    at = at + 1 + length
    if value ~= '' then task[name] = IS_TEXT[name] and value or tonumber(value) or DEFAULTS[name] end
  end
  if not (IS_DONE[task.state] and task.queue and task.request_bytes) or at > last + 1 then return nil end
  task.place, task.index, task.expire_ms = 'done', 'done', task.update_ms + ttl_of(task)
  return task
end

-- The record as it stands, be it expired; false when there is none.
local function fetch(task_id)
  local task = tasks[task_id]
  if task ~= nil then return task end
  local values = call('HGETALL', key('t', task_id))
  task = #values > 0 and new_record(task_id) or false
  for i = 1, #values, 2 do
    local name, value = NAMES[values[i]], values[i + 1]
    if name then task[name] = IS_TEXT[name] and value or tonumber(value) end
  end
  if task then
    task.index, task.deadline_ms = task.place, deadline_of(task)
  else
    task = fetch_ended(task_id) or false
  end
  tasks[task_id] = task
  return task
end

-- The record, or nil for an id that nobody submitted or whose record is over.
local function find(task_id)
  local task = fetch(task_id)
  if task and not (task.expire_ms and task.expire_ms <= NOW) then return task end
end

-- What a call did to tasks, for those who count; see domain/transition.py.
local NAMING_BYTES = 136 -- of a request: what names its task_type

-- The kind of a serialized Failure, 0 where it has none: its first field is the kind, in one byte.
local function failure_kind_of(failure)
  if not failure or #failure < 2 or string.byte(failure, 1) ~= 8 then return 0 end
  return string.byte(failure, 2)
end

local function naming_of(task)
  local length = math.min(NAMING_BYTES, task.head_bytes)
  if task.blobs and task.blobs.s then return string.sub(task.blobs.s, 1, length) end
  return length > 0 and call('GETRANGE', key('s', task.id), 0, length - 1) or ''
end

local function has_ended(task)
  return IS_DONE[task.state] and not IS_DONE[task.old_state] or task.old_place == 'lease' and task.place ~= 'lease'
end

-- Gather this before anything is written. For each attempt that began two values, its queue and wait_ms; for each lease
-- or task that ended five: queue, what names its task_type, state, run_ms or nil, failure_kind or nil.
local began_parts, ended_parts = {}, {}
local function gather_transitions()
  for _, task in ipairs(touched) do
    if task.wait_ms then
      local at = #began_parts
      began_parts[at + 1], began_parts[at + 2] = task.queue, task.wait_ms
    end
    if task.place ~= 'gone' and has_ended(task) then
      local at = #ended_parts
      ended_parts[at + 1], ended_parts[at + 2], ended_parts[at + 3] = task.queue, naming_of(task), task.state
      ended_parts[at + 4], ended_parts[at + 5] = task.run_ms, task.failure_kind
    end
  end
end

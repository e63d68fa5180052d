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

-- Gather this before anything is written. Two lists: for each attempt that began "wait_ms queue"; for each lease or task
-- that ended "state run_ms failure_kind queue" ("-" where there is none) and what names its task_type.
local began_lines, ended_lines = {}, {}
local function gather_transitions()
  for _, task in ipairs(touched) do
    if task.wait_ms then began_lines[#began_lines + 1] = task.wait_ms .. ' ' .. task.queue end
    if task.place ~= 'gone' and has_ended(task) then
      ended_lines[#ended_lines + 1] = task.state .. ' ' .. (task.run_ms or '-') .. ' ' .. (task.failure_kind or '-')
        .. ' ' .. task.queue
      ended_lines[#ended_lines + 1] = naming_of(task)
    end
  end
end

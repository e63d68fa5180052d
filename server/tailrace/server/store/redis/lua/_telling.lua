-- Tell who waits for tasks and who holds them.

-- How a new revision is spoken of: "id revision done".
local function change_line(task)
  return task.id .. ' ' .. task.revision .. (IS_DONE[task.state] and ' 1' or ' 0')
end

-- Likewise, where nothing but progress is new.
local function progress_line(task) return task.id .. ' ' .. task.revision .. ' p' end

-- What this replica has to know: of every task with a new revision or progress, and of the leases that it holds.
local function change_lines()
  local lines = {}
  for i, task in ipairs(revised) do lines[i] = change_line(task) end
  for _, task in ipairs(progressed) do lines[#lines + 1] = progress_line(task) end
  for _, item in ipairs(news) do
    if item[1] == REPLICA then lines[#lines + 1] = item[2] end
  end
  return lines
end

-- One message for each replica: who says so, then a line for each task that it waits for, and for each lease that it
-- holds (see tell_holder).
local function tell()
  local messages = {}
  for _, task in ipairs(revised) do
    for replica in string.gmatch(task.waiters or '', '[^,]+') do
      append(messages, replica, change_line(task))
    end
  end
  for _, task in ipairs(progressed) do
    for replica in string.gmatch(task.progress_waiters or '', '[^,]+') do
      append(messages, replica, progress_line(task))
    end
  end
  for _, item in ipairs(news) do append(messages, item[1], item[2]) end
  messages[REPLICA] = nil
  for replica, lines in pairs(messages) do
    call('PUBLISH', CHANNELS .. 'n:' .. replica, REPLICA .. '\n' .. table.concat(lines, '\n'))
  end
end

local function hex(bytes)
  return (string.gsub(bytes, '.', function(byte) return string.format('%02x', string.byte(byte)) end))
end

-- Tell the holder of a lease unasked, before it ends: "! id token lost", or that the task was asked to stop, where
-- "revoked:" and the failure take the place of "lost"; token and failure in hexadecimal.
local function tell_holder(task, revocation)
  local fate = revocation and 'revoked:' .. hex(revocation) or 'lost'
  if task.holder then news[#news + 1] = {task.holder, '! ' .. task.id .. ' ' .. hex(task.lease_token) .. ' ' .. fate} end
end

-- Tell of a lease that its worker ends here, before it ends, to the replica that it spoke to last: it counts it still.
local function tell_holder_elsewhere(task)
  if task.holder ~= REPLICA then tell_holder(task) end
end

-- Write what was gathered: the only place that writes records, indexes, counters, and tells who waits.
-- Redis refuses a script's first write when its memory is full and the command might take more; every later one passes.
-- So the first write stores something where tasks are created, and removes something everywhere else.
local TTL_AFTER_EXPIRY_MS = 3600000 -- a backstop: expire_done removes the keys long before

local function unlink(task, ...)
  local keys = {}
  for i, kind in ipairs({...}) do keys[i] = key(kind, task.id) end
  call('UNLINK', unpack(keys))
end

local function write_blobs(task, ttl)
  for kind, bytes in pairs(task.blobs) do
    if not bytes then
      call('UNLINK', key(kind, task.id))
    elseif ttl then
      call('SET', key(kind, task.id), bytes, 'PX', ttl)
    else
      call('SET', key(kind, task.id), bytes)
    end
  end
end

local function write_record(task)
  local ttl = task.expire_ms and (task.expire_ms - NOW + TTL_AFTER_EXPIRY_MS)
  local name = key('t', task.id)
  if #task.writes > 0 then call('HSET', name, unpack(task.writes)) end
  for field in pairs(task.removals or {}) do call('HDEL', name, field) end
  if task.blobs then write_blobs(task, ttl) end
  if ttl then
    call('PEXPIRE', name, ttl)
    if not (task.blobs and task.blobs.s) then call('PEXPIRE', key('s', task.id), ttl) end
  end
end

-- How a new revision is spoken of: "id revision done".
local function change_line(task)
  return task.id .. ' ' .. task.revision .. (IS_DONE[task.state] and ' 1' or ' 0')
end

-- What this replica has to know: of every task that has a new revision, and of the leases that it holds.
local function change_lines()
  local lines = {}
  for i, task in ipairs(revised) do lines[i] = change_line(task) end
  for _, item in ipairs(news) do
    if item[1] == REPLICA then lines[#lines + 1] = item[2] end
  end
  return lines
end

-- One message for each replica: who says so, then a line for each task that it waits for, and for each lease that it
-- holds (see tell_holder in _revoking.lua).
local function tell()
  local messages = {}
  for _, task in ipairs(revised) do
    for replica in string.gmatch(task.waiters or '', '[^,]+') do
      append(messages, replica, change_line(task))
    end
  end
  for _, item in ipairs(news) do append(messages, item[1], item[2]) end
  messages[REPLICA] = nil
  for replica, lines in pairs(messages) do
    call('PUBLISH', CHANNELS .. 'n:' .. replica, REPLICA .. '\n' .. table.concat(lines, '\n'))
  end
end

-- Returns the queues that got tasks.
local function commit()
  if #touched + #pops + #stale.lease + #stale.schedule + #stale.done == 0 then return {} end
  local ready, is_ready = {}, {}
  for _, task in ipairs(pushes) do
    if not is_ready[task.queue] then
      is_ready[task.queue] = true
      ready[#ready + 1] = task.queue
      mask_of(task.queue) -- read before anything is written
    end
  end
  local is_creation = false
  for _, task in ipairs(touched) do
    if task.is_new then
      call('SET', key('s', task.id), task.blobs.s)
      task.blobs.s, is_creation = nil, true
      if task.index then unlink(task, 't', 'r', 'f', 'n', 'v') end -- it takes the id of a record that is over
    end
  end
  if not is_creation then table.insert(stale.lease, '') end -- no task has this id: a removal that is always there
  leave_indexes()
  for _, task in ipairs(touched) do
    if task.place == 'gone' then unlink(task, 't', 's', 'r', 'f', 'n', 'v') else write_record(task) end
  end
  enter_indexes()
  write_queues()
  tell()
  return ready
end

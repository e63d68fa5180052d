-- Write what was gathered: the only place that writes records, indexes, counters, and tells who waits.
-- Redis refuses a script's first write when its memory is full and the command might take more; every later one passes.
-- So the first write stores something where tasks are created, and removes something everywhere else.
local TTL_AFTER_EXPIRY_MS = 3600000 -- a backstop: expire_done removes the keys long before

local function unlink(task, ...)
  local keys = {}
  for i, kind in ipairs({...}) do keys[i] = key(kind, task.id) end
  redis.call('UNLINK', unpack(keys))
end

local function write_blobs(task)
  local ttl = task.expire_ms and int(task.expire_ms - NOW + TTL_AFTER_EXPIRY_MS)
  for kind, bytes in pairs(task.blobs) do
    if not bytes then redis.call('UNLINK', key(kind, task.id))
    elseif ttl then redis.call('SET', key(kind, task.id), bytes, 'PX', ttl)
    else redis.call('SET', key(kind, task.id), bytes) end
  end
  if ttl then
    redis.call('PEXPIRE', key('t', task.id), ttl)
    if not task.blobs.s then redis.call('PEXPIRE', key('s', task.id), ttl) end
  end
end

local function write_record(task)
  local values, removed = {}, {}
  for name in pairs(task.dirty) do
    local value = task[name]
    if FIELDS[name] and value and value ~= DEFAULTS[name] then
      values[#values + 1] = FIELDS[name]
      values[#values + 1] = type(value) == 'number' and int(value) or value
    elseif task.stored[name] then
      removed[#removed + 1] = FIELDS[name]
    end
  end
  if #values > 0 then send('HSET', key('t', task.id), values) end
  if #removed > 0 then send('HDEL', key('t', task.id), removed) end
  write_blobs(task)
end

-- One message for each replica: who says so, then a line for each task.
local function tell()
  local messages, lines = {}, {}
  for _, task in ipairs(revised) do
    local line = task.id .. ' ' .. int(task.revision) .. ' ' .. (IS_DONE[task.state] and 1 or 0)
    lines[#lines + 1] = line
    for replica in string.gmatch(task.waiters or '', '[^,]+') do append(messages, replica, line) end
  end
  messages[REPLICA] = nil
  for replica, told in pairs(messages) do
    redis.call('PUBLISH', CHANNELS .. 'n:' .. replica, REPLICA .. '\n' .. table.concat(told, '\n'))
  end
  return lines
end

-- Returns the queues that got tasks, and a line "id revision done" for each task that has a new revision.
local function commit()
  if #touched + #pops + #stale.lease + #stale.schedule + #stale.done == 0 then return {}, {} end
  local ready, is_ready = {}, {}
  for _, task in ipairs(pushes) do
    mask_of(task.queue) -- read before anything is written
    if not is_ready[task.queue] then ready[#ready + 1] = task.queue end
    is_ready[task.queue] = true
  end
  local is_creation = false
  for _, task in ipairs(touched) do
    if task.is_new then
      redis.call('SET', key('s', task.id), task.blobs.s)
      task.blobs.s, is_creation = nil, true
      if task.index then unlink(task, 't', 'r', 'f', 'n') end -- it takes the id of a record that is over
    end
  end
  if not is_creation then table.insert(stale.lease, '') end -- no task has this id: a removal that is always there
  leave_indexes()
  for _, task in ipairs(touched) do
    if task.place == 'gone' then unlink(task, 't', 's', 'r', 'f', 'n') else write_record(task) end
  end
  enter_indexes()
  write_queues()
  return ready, tell()
end

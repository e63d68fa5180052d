-- Write what was gathered: the only place that writes records, indexes, counters, and tells who waits.
-- Redis refuses a script's first write when its memory is full and the command might take more; every later one passes.
-- So the first write stores something where tasks are created, and removes something everywhere else.
local function write_blobs(task)
  for kind, bytes in pairs(task.blobs) do
    if not bytes then
      call('UNLINK', key(kind, task.id))
    elseif kind == 'tail' then
      call('APPEND', key('s', task.id), bytes .. lasting(task))
    elseif kind == 's' then -- the request of a new task is written before
      call('SET', key('s', task.id), bytes .. lasting(task))
    else
      call('SET', key(kind, task.id), bytes)
    end
  end
end

local function write_record(task)
  local name = key('t', task.id)
  if task.place == 'done' then
    call('UNLINK', name)
  else
    if #task.writes > 0 then call('HSET', name, unpack(task.writes)) end
    for field in pairs(task.removals or {}) do call('HDEL', name, field) end
  end
  if task.blobs then write_blobs(task) end
end

local function unlink(task)
  local keys = {}
  for i, kind in ipairs({'t', 's', 'f', 'n', 'v', 'g'}) do keys[i] = key(kind, task.id) end
  call('UNLINK', unpack(keys))
end

local function has_nothing_to_write()
  local number = #touched + #pops
  for _, ids in pairs(stale) do number = number + #ids end
  return number == 0
end

-- Returns the queues that got tasks which may be delivered, and gathers what _counting.lua tells to be returned.
local function commit()
  if has_nothing_to_write() then return {} end
  gather_transitions()
  local ready, is_ready = {}, {}
  for queue in pairs(counts) do mask_of(queue) end -- read before anything is written
  drop_left()
  for _, task in ipairs(pushes) do
    if not is_ready[task.queue] and not is_paused(task.queue) then
      is_ready[task.queue] = true
      ready[#ready + 1] = task.queue
    end
  end
  local is_creation = false
  for _, task in ipairs(touched) do
    if task.is_new then
      call('SET', key('s', task.id), task.blobs.s)
      task.blobs.s, is_creation = nil, true
    end
  end
  if not is_creation then table.insert(stale.lease, '') end -- no task has this id: a removal that is always there
  leave_indexes()
  for _, task in ipairs(touched) do
    if task.place == 'gone' then unlink(task) else write_record(task) end
  end
  enter_indexes()
  write_queues()
  write_leftovers()
  tell()
  return ready
end

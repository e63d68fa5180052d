-- Write the indexes: ready lists with the masks of their levels, lease, schedule and done, and the counters of queues.
-- A list that is not empty may hold nothing but what was left behind: how many tasks are ready is counted beside it.
local masks, masks_before = {}, {} -- queue -> a bit for each level that is not empty
local ready_before = {} -- queue -> number of tasks
local function mask_of(queue)
  if not masks[queue] then
    local values = call('HMGET', queue_key(queue), 'mask', 'ready')
    masks[queue] = tonumber(values[1]) or 0
    masks_before[queue] = masks[queue]
    ready_before[queue] = masks[queue] == 0 and 0 or tonumber(values[2]) or 0
  end
  return masks[queue]
end

-- How many tasks of a queue are ready once everything is written.
local function ready_of(queue)
  if masks[queue] == 0 then return 0 end
  return ready_before[queue] + (counts[queue] and counts[queue].ready or 0)
end

-- In chunks: Lua's stack takes some 8000 values.
local function send(command, name, values)
  for first = 1, #values, 4000 do
    call(command, name, unpack(values, first, math.min(first + 3999, #values)))
  end
end

local function append(lists, name, value)
  local list = lists[name]
  if not list then
    list = {}
    lists[name] = list
  end
  list[#list + 1] = value
end

local function leave_indexes()
  for _, task in ipairs(touched) do
    local left = task.index ~= task.place and stale[task.index]
    if left then left[#left + 1] = task.id end
  end
  for place, ids in pairs(stale) do send('ZREM', ZSETS[place], ids) end
  for _, pop in ipairs(pops) do
    local list = list_key(pop.queue, pop.level)
    if pop.count > 0 then call('LPOP', list, pop.count) end
    if call('LLEN', list) == 0 then
      masks[pop.queue] = bit.band(masks[pop.queue], bit.bnot(bit.lshift(1, pop.level)))
    end
  end
end

local function enter_indexes()
  local scores, heads, tails = {lease = {}, schedule = {}, done = {}}, {}, {}
  for _, task in ipairs(touched) do
    local into = task.until_ms and scores[task.place]
    if into then
      into[#into + 1] = task.until_ms
      into[#into + 1] = task.id
    end
  end
  for place, values in pairs(scores) do send('ZADD', ZSETS[place], values) end
  for i, task in ipairs(pushes) do
    masks[task.queue] = bit.bor(masks[task.queue], bit.lshift(1, task.priority))
    if not task.to_head then append(tails, list_key(task.queue, task.priority), task.id) end
    local last = pushes[#pushes + 1 - i] -- heads go in backwards, so that the first of them ends foremost
    if last.to_head then append(heads, list_key(last.queue, last.priority), last.id) end
  end
  for list, ids in pairs(heads) do send('LPUSH', list, ids) end
  for list, ids in pairs(tails) do send('RPUSH', list, ids) end
end

local function write_queues()
  for queue, by_place in pairs(counts) do
    for _, place in ipairs({'ready', 'schedule', 'lease'}) do
      local by = by_place[place] or 0
      if by ~= 0 then call('HINCRBY', queue_key(queue), place, by) end
    end
  end
  for queue, mask in pairs(masks) do
    if mask ~= masks_before[queue] then call('HSET', queue_key(queue), 'mask', mask) end
    if ready_before[queue] <= 0 and ready_of(queue) > 0 then
      call('PUBLISH', CHANNELS .. 'w', queue .. ' ' .. REPLICA)
    end
  end
  write_leftovers()
end

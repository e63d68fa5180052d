-- Write the indexes: ready lists with the masks of their levels, lease, schedule and done, and the counters of queues.
local masks, masks_before = {}, {} -- queue -> a bit for each level that is not empty
local function mask_of(queue)
  if not masks[queue] then
    masks[queue] = tonumber(redis.call('HGET', queue_key(queue), 'mask')) or 0
    masks_before[queue] = masks[queue]
  end
  return masks[queue]
end

-- In chunks: Lua's stack takes some 8000 values.
local function send(command, name, values)
  for first = 1, #values, 4000 do
    redis.call(command, name, unpack(values, first, math.min(first + 3999, #values)))
  end
end

local function append(lists, name, value)
  lists[name] = lists[name] or {}
  table.insert(lists[name], value)
end

local function leave_indexes()
  for _, task in ipairs(touched) do
    if ZSETS[task.index] and task.index ~= task.place then table.insert(stale[task.index], task.id) end
  end
  for place, ids in pairs(stale) do send('ZREM', ZSETS[place], ids) end
  for _, pop in ipairs(pops) do
    local list = list_key(pop.queue, pop.level)
    if pop.count > 0 then redis.call('LPOP', list, pop.count) end
    if redis.call('LLEN', list) == 0 then
      masks[pop.queue] = bit.band(masks[pop.queue], bit.bnot(bit.lshift(1, pop.level)))
    end
  end
end

local function enter_indexes()
  local scores, heads, tails = {}, {}, {}
  for _, task in ipairs(touched) do
    if task.until_ms and ZSETS[task.place] then
      append(scores, task.place, int(task.until_ms))
      append(scores, task.place, task.id)
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
      if by ~= 0 then redis.call('HINCRBY', queue_key(queue), place, by) end
    end
  end
  for queue, mask in pairs(masks) do
    if mask ~= masks_before[queue] then redis.call('HSET', queue_key(queue), 'mask', mask) end
    if mask ~= 0 and masks_before[queue] == 0 then
      redis.call('PUBLISH', CHANNELS .. 'w', queue .. ' ' .. REPLICA)
    end
  end
end

-- What is known of queues: HASH <prefix>qm:<queue>. A ready list that is not empty may hold nothing but what was left
-- behind: how many tasks are ready is counted beside it.
local masks, masks_before = {}, {} -- queue -> a bit for each level that is not empty
local ready_before, schedule_before, is_known, paused = {}, {}, {}, {} -- queue -> numbers of tasks, what is so or not
local function mask_of(queue)
  if not masks[queue] then
    local mask, ready, schedule, pause =
      unpack(call('HMGET', queue_key(queue), 'mask', 'ready', 'schedule', 'paused'))
    masks[queue] = tonumber(mask) or 0
    masks_before[queue] = masks[queue]
    ready_before[queue] = masks[queue] == 0 and 0 or tonumber(ready) or 0
    schedule_before[queue] = tonumber(schedule) or 0
    is_known[queue] = (mask or ready or schedule or pause) and true or false
    paused[queue] = pause == '1'
  end
  return masks[queue]
end

local function is_paused(queue)
  mask_of(queue)
  return paused[queue]
end

local function counted(queue, place) return counts[queue] and counts[queue][place] or 0 end

-- How many tasks of a queue are ready once everything is written.
local function ready_of(queue)
  if masks[queue] == 0 then return 0 end
  return ready_before[queue] + counted(queue, 'ready')
end

-- How many tasks of a queue are ready or on the schedule by now.
local function depth_of(queue)
  mask_of(queue)
  return ready_before[queue] + schedule_before[queue] + counted(queue, 'ready') + counted(queue, 'schedule')
end

-- How many entries left the head of a ready list, less those that came to it: an entry's position, its index and this,
-- stays what it is while others come and go.
local taken_by = {} -- queue -> field -> by how much more or fewer
local function taken_of(queue, level) return tonumber(call('HGET', queue_key(queue), 'h' .. level)) or 0 end

local function add_taken(queue, level, by)
  taken_by[queue] = taken_by[queue] or {}
  taken_by[queue]['h' .. level] = (taken_by[queue]['h' .. level] or 0) + by
end

local function write_queues()
  for queue, by_place in pairs(counts) do
    if not is_known[queue] then call('ZADD', KEYS[6], 0, queue) end
    for _, place in ipairs({'ready', 'schedule', 'lease'}) do
      local by = by_place[place] or 0
      if by ~= 0 then call('HINCRBY', queue_key(queue), place, by) end
    end
  end
  for queue, by_field in pairs(taken_by) do
    for field, by in pairs(by_field) do
      if by ~= 0 then call('HINCRBY', queue_key(queue), field, by) end
    end
  end
  for queue, mask in pairs(masks) do
    if mask ~= masks_before[queue] then call('HSET', queue_key(queue), 'mask', mask) end
    if ready_before[queue] <= 0 and ready_of(queue) > 0 and not paused[queue] then
      call('PUBLISH', CHANNELS .. 'w', queue .. ' ' .. REPLICA)
    end
  end
end

-- What is told of a queue: name, paused (1 or 0), numbers of tasks that are ready, on the schedule and leased, and how
-- many ms ago the oldest of the foremost ready tasks of each level was accepted, or nil.
local MAX_PASSED_OVER = 300 -- entries that were left behind, in one level of a queue

local function foremost(queue, level)
  local index, wanted = 0, 1
  repeat
    local ids = call('LRANGE', list_key(queue, level), index, index + wanted - 1)
    for _, task_id in ipairs(ids) do
      local task = not was_left(task_id, queue, level) and find(task_id)
      if task and task.place == 'ready' and task.queue == queue and task.priority == level then return task end
    end
    index, wanted = index + #ids, 50
  until #ids == 0 or index >= MAX_PASSED_OVER
end

local function stats_of(queue)
  local mask, oldest_ms = mask_of(queue), nil
  for level = 9, 0, -1 do
    local task = ready_of(queue) > 0 and bit.band(mask, bit.lshift(1, level)) ~= 0 and foremost(queue, level)
    if task then oldest_ms = math.min(oldest_ms or NOW, task.create_ms) end
  end
  local leased = tonumber(call('HGET', queue_key(queue), 'lease')) or 0
  return {
    queue, is_paused(queue) and 1 or 0, ready_of(queue), schedule_before[queue], leased,
    oldest_ms and NOW - oldest_ms or false,
  }
end

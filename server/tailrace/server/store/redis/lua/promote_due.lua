-- Move tasks whose time has come from the schedule to the tail of their queue.
-- KEYS, ARGV 1 to 3: see _prelude.lua. Then: limit.
-- Returns {number of tasks, ms until the next one is due or nil, queues that got tasks}.
local ids = call('ZRANGEBYSCORE', KEYS[2], '-inf', NOW, 'LIMIT', 0, ARGV[4])
local earliest = call('ZRANGE', KEYS[2], #ids, #ids, 'WITHSCORES')[2]
local promoted = 0
for _, task_id in ipairs(ids) do
  local task = find(task_id)
  if task and task.place == 'schedule' then
    promoted = promoted + 1
    transition(task, {place = 'ready'})
  else
    table.insert(stale.schedule, task_id)
  end
end
local ready = commit()
return {promoted, earliest and math.max(0, earliest - NOW) or false, ready}

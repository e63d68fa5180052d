-- Remove the records of tasks that are done and whose time is over, with all their keys.
-- KEYS, ARGV 1 to 3: see _prelude.lua. Then: limit.
-- Returns {number of records, ms until the next one is over or nil}.
local ids = call('ZRANGEBYSCORE', KEYS[3], '-inf', NOW, 'LIMIT', 0, ARGV[4])
local earliest = call('ZRANGE', KEYS[3], #ids, #ids, 'WITHSCORES')[2]
for _, task_id in ipairs(ids) do
  local task = fetch(task_id)
  if task and task.place == 'done' then
    transition(task, {place = 'gone'})
  else
    table.insert(stale.done, task_id)
  end
end
commit()
return {#ids, earliest and math.max(0, earliest - NOW) or false}

-- Take tasks from holders whose lease ran out; the earliest expiry goes foremost to the head of its queue.
-- After a gap between two calls nothing is taken for a while; see _grace.lua.
-- KEYS, ARGV 1 to 3: see _prelude.lua. Then: limit, gap_ms, grace_ms, the failure of a lost lease (bytes).
-- Returns {number of tasks, ms until the next one is due or nil, queues that got tasks, changes, began,
--   ended (see _counting.lua)}.
local limit, gap_ms, grace_ms, failure = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]

local grace_until = grace_end(gap_ms, grace_ms)
local is_grace = NOW < grace_until

local ids = is_grace and {} or call('ZRANGEBYSCORE', KEYS[1], '-inf', NOW, 'LIMIT', 0, limit)
local earliest = call('ZRANGE', KEYS[1], #ids, #ids, 'WITHSCORES')[2]
local reaped = 0
for _, task_id in ipairs(ids) do
  local task = find(task_id)
  if task and task.place == 'lease' then
    reaped = reaped + 1
    tell_holder(task)
    if task.has_revocation then
      end_revoked(task)
    elseif task.state == 'STARTED' then
      count_lost_lease(task, failure, 0)
    else
      wait_until_due(task, 0, true, {})
    end
  else
    table.insert(stale.lease, task_id)
  end
end
local ready = commit()
if #ids == 0 then call('ZREM', KEYS[1], '') end -- as in commit: what only stores may be refused
call('HSET', KEYS[4], 'last_reap', NOW, 'grace_until', grace_until)
local next_due_ms = earliest and math.max(0, is_grace and grace_until - NOW or earliest - NOW) or false
return {reaped, next_due_ms, ready, change_lines(), began_parts, ended_parts}

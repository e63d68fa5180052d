-- Act on tasks whose deadline has passed, the earliest first: they end, or their attempt does.
-- After a gap in which nobody looked after leases, attempts are left to their workers for a while; see _grace.lua.
-- KEYS, ARGV 1 to 3: see _prelude.lua. Then the failures (bytes) that a missed start deadline, an execution timeout and a
--   total timeout leave behind, gap_ms, grace_ms, and a jitter (0 to 65,535) for each task to be acted on at most.
-- Returns {number of tasks, ms until the next deadline or nil, queues that got tasks, changes, began,
--   ended (see _counting.lua)}.
local failures = {start = ARGV[4], execution = ARGV[5], total = ARGV[6]}
local grace_until = grace_end(tonumber(ARGV[7]), tonumber(ARGV[8]))

local ids = call('ZRANGEBYSCORE', KEYS[5], '-inf', NOW, 'LIMIT', 0, #ARGV - 8)
local earliest = tonumber(call('ZRANGE', KEYS[5], #ids, #ids, 'WITHSCORES')[2])
local ended = 0
for _, task_id in ipairs(ids) do
  local task = find(task_id)
  if task and is_overdue(task) and NOW < grace_until and has_but_overrun(task) then
    earliest = math.min(earliest or grace_until, grace_until)
  elseif task and is_overdue(task) then
    ended = ended + 1
    miss_deadline(task, failures, tonumber(ARGV[8 + ended]))
  elseif task and task.deadline_ms then
    transition(task, {}) -- the entry is not where the record has it
    task.deadline_ms = false
  else
    table.insert(stale.deadlines, task_id)
  end
end
for _, task in ipairs(touched) do -- what is tried again may have another deadline
  local deadline_ms = deadline_of(task)
  if deadline_ms then earliest = math.min(earliest or deadline_ms, deadline_ms) end
end
local ready = commit()
return {ended, earliest and math.max(0, earliest - NOW) or false, ready, change_lines(), began_parts, ended_parts}

-- Revoke tasks of a queue that are ready, then those on the schedule.
-- KEYS, ARGV 1 to 3: see _prelude.lua. Then: the queue, limit of entries looked at, the failure that they end with
--   (bytes), and where to go on: "ready", or what an earlier call answered: "schedule <ms> <id>" of the entry that was
--   looked at last.
-- Returns {number of tasks, how many are still ready or on the schedule, where to go on or "", changes, began,
--   ended (see _counting.lua)}.
local queue, limit, failure = ARGV[4], tonumber(ARGV[5]), ARGV[6]
local MAX_PURGED = 150 -- in one call: ending a task costs far more than to look at one of another queue
local purged, looked_at = 0, 0

local function is_enough() return looked_at >= limit or purged >= MAX_PURGED end

local function purge(task)
  purged = purged + 1
  finish(task, 'REVOKED', failure)
end

local function purge_level(level)
  local list, count = list_key(queue, level), 0
  repeat
    local ids = call('LRANGE', list, count, count + math.min(limit - looked_at, MAX_PURGED - purged) - 1)
    for _, task_id in ipairs(ids) do
      local task = not was_left(task_id, queue, level) and find(task_id)
      if task and task.place == 'ready' and task.queue == queue and task.priority == level then
        task.is_drawn = true
        purge(task)
      end
    end
    count, looked_at = count + #ids, looked_at + #ids
  until #ids == 0 or is_enough()
  pops[#pops + 1] = {queue = queue, level = level, count = count}
end

local function purge_schedule(score, last_id)
  local first, cursor = score and rank_behind(KEYS[2], false, tonumber(score), last_id) or 0, nil
  local room = limit - looked_at
  local entries = call('ZRANGE', KEYS[2], first, first + room - 1, 'WITHSCORES')
  for i = 1, #entries, 2 do
    if is_enough() then break end
    looked_at, cursor = looked_at + 1, 'schedule ' .. entries[i + 1] .. ' ' .. entries[i]
    local task = find(entries[i])
    if not task or task.place ~= 'schedule' then
      table.insert(stale.schedule, entries[i])
    elseif task.queue == queue then
      purge(task)
    end
  end
  local is_end = not is_enough() or counted(queue, 'schedule') + schedule_before[queue] <= 0
  return is_end and '' or cursor
end

local mask, cursor = mask_of(queue), ARGV[7]
if cursor == 'ready' then
  for level = 9, 0, -1 do
    if not is_enough() and bit.band(mask, bit.lshift(1, level)) ~= 0 then purge_level(level) end
  end
end
if not is_enough() then cursor = purge_schedule(string.match(cursor, '^schedule (%d+) (.+)$')) end
commit()
return {purged, depth_of(queue), cursor, change_lines(), began_parts, ended_parts}

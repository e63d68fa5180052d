-- Look through the tasks of a partition: leased, ready, on the schedule, done.
-- KEYS, ARGV 1 to 3: see _prelude.lua. Then: limit of entries looked at, max_bytes after which no more are given,
--   with_payloads ("1" or "0"), and where to go on: "lease", or what an earlier call answered: the name of an index,
--   and the entry of it that was looked at last: "<index> <ms> <id>", or the one that is next, as a position that it
--   keeps until it is taken: "ready <queue> <level> <position>"; after a whole queue the level is -1.
-- Returns {details, where to go on or ""}; see detail_of in _details.lua.
local limit, max_bytes, with_payloads = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6] == '1'
local MAX_QUEUES = 500 -- looked at in one call, most of them without tasks
local details, is_listed, looked_at = {}, {}, 0

local function is_full() return looked_at >= limit or detail_bytes >= max_bytes end

local function list(task)
  details[#details + 1] = detail_of(task, with_payloads)
  is_listed[task.id] = true
end

local function walk_zset(place, rest)
  local zset, is_backwards, cursor = ZSETS[place], place == 'done', place .. rest
  local score, last_id = string.match(rest, '^ (%d+) (.+)$')
  local first = score and rank_behind(zset, is_backwards, tonumber(score), last_id) or 0
  local entries =
    call(is_backwards and 'ZREVRANGE' or 'ZRANGE', zset, first, first + limit - looked_at - 1, 'WITHSCORES')
  for i = 1, #entries, 2 do
    if is_full() then break end
    looked_at, cursor = looked_at + 1, place .. ' ' .. entries[i + 1] .. ' ' .. entries[i]
    local task = find(entries[i])
    if task and task.place == place and not is_listed[task.id] then list(task) end
  end
  return cursor
end

local function walk_list(queue, level, position)
  local name, taken = list_key(queue, level), taken_of(queue, level)
  local index = math.max((position or taken) - taken, 0)
  local ids = call('LRANGE', name, index, index + limit - looked_at - 1)
  for _, task_id in ipairs(ids) do
    if is_full() then break end
    local task = find(task_id)
    local is_here = task and task.place == 'ready' and task.queue == queue and task.priority == level
    if is_here and not is_listed[task_id] and not is_left(name, task, index) then list(task) end
    index, looked_at = index + 1, looked_at + 1
  end
  return 'ready ' .. queue .. ' ' .. level .. ' ' .. index + taken
end

local function walk_queue(queue, level, position)
  local mask = mask_of(queue)
  for at = level or 9, 0, -1 do
    if bit.band(mask, bit.lshift(1, at)) ~= 0 then
      local cursor = walk_list(queue, at, at == level and position)
      if is_full() then return cursor end
    end
  end
  return 'ready ' .. queue .. ' -1 0'
end

-- Returns where to go on, and whether that is among the ready ones.
local function walk_ready(rest)
  local first, level, position = string.match(rest, '^ (%S+) (%S+) (%S+)$')
  local queues, cursor = call('ZRANGEBYLEX', KEYS[6], first and '[' .. first or '-', '+', 'LIMIT', 0, MAX_QUEUES), nil
  for _, queue in ipairs(queues) do
    local is_first = queue == first
    cursor = walk_queue(queue, is_first and tonumber(level), is_first and tonumber(position))
    if is_full() then return cursor, true end
  end
  return cursor, #queues == MAX_QUEUES
end

local place, rest = string.match(ARGV[7], '^(%l+)(.*)$')
local cursor = ARGV[7]
if place == 'lease' then
  cursor = walk_zset(place, rest)
  if not is_full() then place, rest = 'ready', '' end
end
if place == 'ready' then
  local is_unfinished
  cursor, is_unfinished = walk_ready(rest)
  if not is_unfinished then place, rest = 'schedule', '' end
end
if place == 'schedule' then
  cursor = walk_zset(place, rest)
  if not is_full() then place, rest = 'done', '' end
end
if place == 'done' then
  cursor = walk_zset(place, rest)
  if not is_full() then cursor = '' end
end
return {details, cursor}

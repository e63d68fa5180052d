-- A task that ends where it is ready leaves its id in the ready list, where taking it out would cost a search. How many
-- such entries of an id come before one that counts is kept in HASH <prefix>left, "<queue>:<level> <id>" -> number.
local LEFT = PREFIX .. 'left'
local leftovers, leftovers_before = {}, {} -- field -> number
local left_in = {} -- list -> {queue, level, entries taken from its head so far} where what was left may be foremost
local has_left
local function left_of(task_id, queue, level)
  local field = queue .. ':' .. level .. ' ' .. task_id
  if not leftovers[field] then
    leftovers[field] = tonumber(call('HGET', LEFT, field)) or 0
    leftovers_before[field] = leftovers[field]
  end
  return leftovers[field], field
end

local function leave_behind(task)
  local number, field = left_of(task.id, task.queue, task.priority)
  leftovers[field] = number + 1
  left_in[list_key(task.queue, task.priority)], has_left = {task.queue, task.priority, 0}, true
end

-- Tell whether the foremost entry of an id was left behind, and count it as gone if so.
local function was_left(task_id, queue, level)
  if has_left == nil then has_left = call('EXISTS', LEFT) == 1 end
  if not has_left then return false end
  local number, field = left_of(task_id, queue, level)
  if number > 0 then leftovers[field] = number - 1 end
  return number > 0
end

-- Take what was left behind out of the heads of the lists that now have more of it, or that tasks were taken from: where
-- nobody draws for long it would stay, and hide how old the foremost task is. It costs as much as it takes out, which
-- leaving it behind has saved.
local LOOKED_AT, MAX_DROPPED = 10, 1000 -- entries at a time, and in one list
local function drop_left()
  for list, where in pairs(left_in) do
    local queue, level, taken = unpack(where)
    local count, first = 0, 0
    repeat
      first = count
      for _, task_id in ipairs(call('LRANGE', list, taken + first, taken + first + LOOKED_AT - 1)) do
        if not was_left(task_id, queue, level) then break end
        count = count + 1
      end
    until count < first + LOOKED_AT or count >= MAX_DROPPED
    pops[#pops + 1] = {queue = queue, level = level, count = count}
  end
end

local function write_leftovers()
  for field, number in pairs(leftovers) do
    if number == 0 and leftovers_before[field] > 0 then
      call('HDEL', LEFT, field)
    elseif number ~= leftovers_before[field] then
      call('HSET', LEFT, field, number)
    end
  end
end

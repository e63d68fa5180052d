-- A task that ends where it is ready leaves its id in the ready list, where taking it out would cost a search. How many
-- such entries of an id come before one that counts is kept in HASH <prefix>left, "<queue>:<level> <id>" -> number.
local LEFT = PREFIX .. 'left'
local leftovers, leftovers_before = {}, {} -- field -> number
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
end

-- Tell whether the foremost entry of an id was left behind, and count it as gone if so.
local has_left
local function was_left(task_id, queue, level)
  if has_left == nil then has_left = call('EXISTS', LEFT) == 1 end
  if not has_left then return false end
  local number, field = left_of(task_id, queue, level)
  if number > 0 then leftovers[field] = number - 1 end
  return number > 0
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

-- What walks share: where one through a sorted set goes on, and which entries of a ready list do not count.

-- Tell whether one id goes before another, as Redis sorts them: Lua would go by the language of the machine.
local function is_before(id, other)
  for i = 1, math.min(#id, #other) do
    local byte, other_byte = string.byte(id, i), string.byte(other, i)
    if byte ~= other_byte then return byte < other_byte end
  end
  return #id < #other
end

-- How many entries go before "<score> <id>".
local function rank_of(zset, score, id)
  local low, high = 0, call('ZCARD', zset)
  while low < high do
    local middle = math.floor((low + high) / 2)
    local other, other_score = unpack(call('ZRANGE', zset, middle, middle, 'WITHSCORES'))
    other_score = tonumber(other_score)
    if other_score < score or other_score == score and is_before(other, id) then low = middle + 1 else high = middle end
  end
  return low
end

-- The rank, from the front or from the back, of the entry with which a walk goes on that came to "<score> <id>", be that
-- still there or not.
local function rank_behind(zset, is_backwards, score, id)
  local rank = rank_of(zset, score, id)
  if is_backwards then return call('ZCARD', zset) - rank end
  return call('ZRANGE', zset, rank, rank)[1] == id and rank + 1 or rank
end

-- What an id left behind stands before the entry that counts, if there is one. Whether an entry of such an id is the one
-- takes a search, which only ids that were used again cost. What would take too long to find out is listed where it is
-- found first.
local MAX_SEARCHED, searched = 100000, 0 -- entries, in one call
local function is_left(list_name, task, index)
  if has_left == nil then has_left = call('EXISTS', LEFT) == 1 end
  local number = has_left and left_of(task.id, task.queue, task.priority) or 0
  if number == 0 then return false end
  searched = searched + call('LLEN', list_name)
  if searched > MAX_SEARCHED then return false end
  local at = call('LPOS', list_name, task.id, 'RANK', number + 1)
  return not at or index < at
end

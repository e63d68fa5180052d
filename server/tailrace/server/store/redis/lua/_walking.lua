-- Where a walk through a sorted set goes on: behind the entry that it came to, be that still there or not.

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

-- The rank, from the front or from the back, of the entry with which a walk goes on that came to "<score> <id>".
local function rank_behind(zset, is_backwards, score, id)
  local rank = rank_of(zset, score, id)
  if is_backwards then return call('ZCARD', zset) - rank end
  return call('ZRANGE', zset, rank, rank)[1] == id and rank + 1 or rank
end

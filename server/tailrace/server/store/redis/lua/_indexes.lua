-- Write the indexes: ready lists with the masks of their levels, and the sorted sets.

-- In chunks: Lua's stack takes some 8000 values.
local function send(command, name, values)
  for first = 1, #values, 4000 do
    call(command, name, unpack(values, first, math.min(first + 3999, #values)))
  end
end

local function append(lists, name, value)
  local list = lists[name]
  if not list then
    list = {}
    lists[name] = list
  end
  list[#list + 1] = value
end

local function leave_indexes()
  for _, task in ipairs(touched) do
    local left = task.index ~= task.place and stale[task.index]
    if left then left[#left + 1] = task.id end
    if task.deadline_ms and not deadline_of(task) then append(stale, 'deadlines', task.id) end
  end
  for place, ids in pairs(stale) do send('ZREM', ZSETS[place], ids) end
  for _, pop in ipairs(pops) do
    local list = list_key(pop.queue, pop.level)
    if pop.count > 0 then call('LPOP', list, pop.count) end
    add_taken(pop.queue, pop.level, pop.count)
    if call('LLEN', list) == 0 then
      masks[pop.queue] = bit.band(masks[pop.queue], bit.bnot(bit.lshift(1, pop.level)))
    end
  end
end

local function enter_indexes()
  local scores, heads, tails = {lease = {}, schedule = {}, done = {}, deadlines = {}}, {}, {}
  for _, task in ipairs(touched) do
    local into = task.until_ms and scores[task.place]
    if into then
      into[#into + 1] = task.until_ms
      into[#into + 1] = task.id
    end
    local deadline_ms = deadline_of(task)
    if deadline_ms and deadline_ms ~= task.deadline_ms then
      append(scores, 'deadlines', deadline_ms)
      append(scores, 'deadlines', task.id)
    end
  end
  for place, values in pairs(scores) do send('ZADD', ZSETS[place], values) end
  for i, task in ipairs(pushes) do
    masks[task.queue] = bit.bor(masks[task.queue], bit.lshift(1, task.priority))
    if not task.to_head then append(tails, list_key(task.queue, task.priority), task.id) end
    local last = pushes[#pushes + 1 - i] -- heads go in backwards, so that the first of them ends foremost
    if last.to_head then
      append(heads, list_key(last.queue, last.priority), last.id)
      add_taken(last.queue, last.priority, -1)
    end
  end
  for list, ids in pairs(heads) do send('LPUSH', list, ids) end
  for list, ids in pairs(tails) do send('RPUSH', list, ids) end
end

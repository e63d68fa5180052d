-- Compare records, which are the truth, with the indexes that should hold them, and put right what differs.
-- KEYS, ARGV 1 to 3: see _prelude.lua. Then: the ids.
-- Returns {what was wrong, each name followed by how often, queues that have tasks which may be delivered again}.
local MAX_SEARCHED = 1000 -- entries of a ready list; in a longer one a task is believed to be there
local repairs, delivering, scores = {}, {}, {}

local function note(what) repairs[what] = (repairs[what] or 0) + 1 end

local function deliver_again(queue)
  if not is_paused(queue) then delivering[queue] = true end
end

-- Only the index knew when a lease ends or a task is due: the one gets its full length, the other is due.
local function lost_score(task)
  if task.place == 'done' then return task.expire_ms end
  if task.place == 'schedule' then return NOW end
  return NOW + (task.state == 'STARTED' and task.lease_ms or DELIVERY_LEASE_MS)
end

local function audit_place(task, place, score)
  local is_there = task.place == place
  if not is_there and score then
    note(place .. '_extra')
    append(stale, place, task.id)
  elseif is_there and not score then
    note(place .. '_missing')
    transition(task, {until_ms = lost_score(task)})
  elseif is_there and place == 'done' and score ~= task.expire_ms then
    note('done_wrong')
    transition(task, {until_ms = task.expire_ms})
  end
end

local function audit_deadline(task, score)
  local deadline_ms = deadline_of(task)
  if deadline_ms == score then return end
  note(not score and 'deadline_missing' or deadline_ms and 'deadline_wrong' or 'deadline_extra')
  transition(task, {deadline_ms = score}) -- what commit compares with
end

local function audit_ready(task)
  local queue, level = task.queue, task.priority
  local name, mask, bit_of_level = list_key(queue, level), mask_of(queue), bit.lshift(1, level)
  local is_lost = call('LLEN', name) <= MAX_SEARCHED
    and not call('LPOS', name, task.id, 'RANK', left_of(task.id, queue, level) + 1)
  if is_lost then
    note('ready_missing')
    pushes[#pushes + 1] = task
  elseif bit.band(mask, bit_of_level) == 0 then
    note('mask_wrong')
    masks[queue] = bit.bor(mask, bit_of_level)
  else
    return
  end
  transition(task, {})
  deliver_again(queue)
end

local is_listed = {}
local function audit_queue(task)
  local queue = task.queue
  if is_listed[queue] == nil then
    mask_of(queue)
    is_listed[queue] = call('ZSCORE', KEYS[6], queue) and true or false
    if is_listed[queue] then return end
    note('queue_missing')
    transition(task, {})
    is_known[queue] = false -- so that commit, which writes the queues that it counts in, adds it
    count(queue, task.place, 0)
  end
end

for place, zset in pairs(ZSETS) do
  scores[place] = #ARGV > 3 and call('ZMSCORE', zset, unpack(ARGV, 4)) or {}
end
for i = 4, #ARGV do
  local task = fetch(ARGV[i])
  if task and task.place then
    for _, place in ipairs({'lease', 'schedule', 'done'}) do
      audit_place(task, place, tonumber(scores[place][i - 3] or nil) or false)
    end
    audit_deadline(task, tonumber(scores.deadlines[i - 3] or nil) or false)
    audit_queue(task)
    if task.place == 'ready' then audit_ready(task) end
  end
end
commit()
local named, queues = {}, {}
for what, number in pairs(repairs) do
  named[#named + 1] = what
  named[#named + 1] = number
end
for queue in pairs(delivering) do
  queues[#queues + 1] = queue
  call('PUBLISH', CHANNELS .. 'w', queue .. ' ' .. REPLICA)
end
return {named, queues}

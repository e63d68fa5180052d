-- Deliver ready tasks: from the first queue that has some, the highest priority first, then first in, first out.
-- Tasks whose deadline has passed end instead. Paused queues count as empty.
-- KEYS, ARGV 1 to 3: see _prelude.lua. Then the failures (bytes) that a missed start deadline, an execution timeout and a
--   total timeout leave behind, start_immediately ("1" or "0"), max_bytes of payloads after which no more are delivered,
--   max_input_bytes in all ("-": any number), is_first_free ("1" or "0": the first may be larger than that), the worker_id
--   (empty: not known yet), number of queues, the queues, most wanted first, then a nonce (8 bytes) for each task wanted
-- Returns {deliveries, 1 if all the queues are now empty else 0, 1 if the next task is too large else 0, changes, the
--   queues that tasks were delivered of, each followed by how many, began, ended (see _counting.lua)}; a delivery is four
--   values: "id delivery_count attempt lease_ms lease_expire_ms create_ms input_bytes", where it is started " revision",
--   request, last failure or nil, progress or nil; changes are those beside the deliveries.
local failures = {start = ARGV[4], execution = ARGV[5], total = ARGV[6]}
local start_now, max_bytes, max_input_bytes = ARGV[7] == '1', tonumber(ARGV[8]), tonumber(ARGV[9]) or math.huge
local is_first_free, worker_id, queue_count = ARGV[10] == '1', ARGV[11], tonumber(ARGV[12])
local first_nonce = 13 + queue_count
local wanted = #ARGV - first_nonce + 1
local MAX_LOOKED_AT = wanted + 500 -- entries that turn out to be stale must not keep Redis busy without end
local MAX_OVERDUE = 256 -- nor may those that end
local deliveries, taken, overdue, looked_at, bytes, input_bytes, is_blocked = {}, {}, {}, 0, 0, 0, false

local function is_enough()
  return is_blocked or #taken >= wanted or bytes >= max_bytes or #overdue >= MAX_OVERDUE
    or looked_at >= MAX_LOOKED_AT
end

local function deliver(task, request)
  local delivery_count = task.delivery_count + 1
  local token = struct.pack('>I4', delivery_count) .. ARGV[first_nonce + #taken]
  transition(task, {
    place = 'lease', until_ms = NOW + DELIVERY_LEASE_MS, delivery_count = delivery_count, lease_token = token,
    holder = REPLICA,
  })
  name_worker(task, worker_id)
  if start_now then start(task) end
  taken[#taken + 1] = task
  local failure, progress = outcome_payload(task), progress_of(task)
  bytes = bytes + #request + #(failure or '') + #(progress or '')
  input_bytes = input_bytes + #request - task.head_bytes
  local line = task.id .. ' ' .. delivery_count .. ' ' .. (start_now and task.attempt or task.attempt + 1) .. ' '
    .. task.lease_ms .. ' ' .. task.until_ms .. ' ' .. task.create_ms .. ' ' .. #request - task.head_bytes
  local at = #deliveries
  deliveries[at + 1] = start_now and line .. ' ' .. task.revision or line
  deliveries[at + 2], deliveries[at + 3], deliveries[at + 4] = request, failure, progress
end

-- Deliver a task if it fits. What is overdue, or turns out not to be ready, has left its list and takes no place.
local function take(task)
  if is_overdue(task) then
    task.is_drawn = true
    overdue[#overdue + 1] = task
    return miss_deadline(task, failures, 0)
  end
  local request = call('GET', key('s', task.id)) or ''
  local is_free = is_first_free and #taken == 0
  is_blocked = not is_free and input_bytes + #request - task.head_bytes > max_input_bytes
  if not is_blocked then deliver(task, request) end
end

-- Deliver from one ready list; an entry that was left behind, or whose record says that it is not ready there, is passed
-- over, and removed.
local function draw(queue, level)
  local list, used = list_key(queue, level), 0
  repeat
    local ids = call('LRANGE', list, used, used + wanted - #taken - 1)
    for _, task_id in ipairs(ids) do
      if is_enough() then break end
      looked_at = looked_at + 1
      local task = not was_left(task_id, queue, level) and find(task_id)
      if task and task.place == 'ready' and task.queue == queue and task.priority == level then take(task) end
      if not is_blocked then used = used + 1 end
    end
  until #ids == 0 or is_enough()
  pops[#pops + 1] = {queue = queue, level = level, count = used}
  if has_left then left_in[list] = {queue, level, used} end
end

for i = 13, 12 + queue_count do
  local mask = is_paused(ARGV[i]) and 0 or mask_of(ARGV[i])
  for level = 9, 0, -1 do
    if not is_enough() and bit.band(mask, bit.lshift(1, level)) ~= 0 then draw(ARGV[i], level) end
  end
end
commit()
local is_drained, changes = 1, {}
for i = 13, 12 + queue_count do
  if ready_of(ARGV[i]) > 0 and not is_paused(ARGV[i]) then is_drained = 0 end
end
for i, task in ipairs(overdue) do changes[i] = change_line(task) end
local delivered = {}
for queue, by_place in pairs(counts) do
  if by_place.lease then
    delivered[#delivered + 1] = queue
    delivered[#delivered + 1] = by_place.lease
  end
end
return {deliveries, is_drained, is_blocked and 1 or 0, changes, delivered, began_parts, ended_parts}

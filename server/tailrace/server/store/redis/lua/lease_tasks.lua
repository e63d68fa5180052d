-- Deliver ready tasks: from the first queue that has some, the highest priority first, then first in, first out.
-- KEYS, ARGV 1 to 3: see _prelude.lua. Then:
--   start_immediately ("1" or "0"), max_bytes of payloads after which no more are delivered, number of queues,
--   the queues, most wanted first, then a nonce (8 bytes) for each task wanted
-- Returns {deliveries, 1 if all the queues are now empty else 0}; a delivery is three values:
--   "id delivery_count attempt lease_ms lease_expire_ms create_ms", where it is started " revision", request, last
--   failure or nil
local start_now, max_bytes, queue_count = ARGV[4] == '1', tonumber(ARGV[5]), tonumber(ARGV[6])
local first_nonce = 7 + queue_count
local wanted = #ARGV - first_nonce + 1
local MAX_LOOKED_AT = wanted + 500 -- entries that turn out to be stale must not keep Redis busy without end
local deliveries, taken, looked_at, bytes = {}, {}, 0, 0

local function is_enough()
  return #taken >= wanted or bytes >= max_bytes or looked_at >= MAX_LOOKED_AT
end

local function deliver(task)
  local delivery_count = task.delivery_count + 1
  local token = struct.pack('>I4', delivery_count) .. ARGV[first_nonce + #taken]
  transition(task, {
    place = 'lease', until_ms = NOW + DELIVERY_LEASE_MS, delivery_count = delivery_count, lease_token = token,
    holder = REPLICA,
  })
  if start_now then start(task) end
  taken[#taken + 1] = task
  local request = call('GET', key('s', task.id)) or ''
  bytes = bytes + #request
  local line = task.id .. ' ' .. delivery_count .. ' ' .. (start_now and task.attempt or task.attempt + 1)
    .. ' ' .. task.lease_ms .. ' ' .. task.until_ms .. ' ' .. task.create_ms
  deliveries[#deliveries + 1] = start_now and line .. ' ' .. task.revision or line
  deliveries[#deliveries + 1] = request
  deliveries[#deliveries + 1] = outcome_payload(task)
end

-- Deliver from one ready list; an entry that was left behind, or whose record says that it is not ready there, is passed
-- over, and removed.
local function draw(queue, level)
  local list, used = list_key(queue, level), 0
  repeat
    local ids = call('LRANGE', list, used, used + wanted - #taken - 1)
    for _, task_id in ipairs(ids) do
      if is_enough() then break end
      used, looked_at = used + 1, looked_at + 1
      local task = not was_left(task_id, queue, level) and find(task_id)
      if task and task.place == 'ready' and task.queue == queue and task.priority == level then deliver(task) end
    end
  until #ids == 0 or is_enough()
  pops[#pops + 1] = {queue = queue, level = level, count = used}
end

for i = 7, 6 + queue_count do
  local mask = mask_of(ARGV[i])
  for level = 9, 0, -1 do
    if not is_enough() and bit.band(mask, bit.lshift(1, level)) ~= 0 then draw(ARGV[i], level) end
  end
end
commit()
local is_drained = 1
for i = 7, 6 + queue_count do
  if ready_of(ARGV[i]) > 0 then is_drained = 0 end
end
return {deliveries, is_drained}

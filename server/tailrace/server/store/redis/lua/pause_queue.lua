-- Stop deliveries from a queue, or let them go on.
-- KEYS, ARGV 1 to 3: see _prelude.lua. Then: the queue, is_paused ("1" or "0").
-- Returns {what stats_of in _stats.lua tells, queues that have tasks which may be delivered again}.
local queue, is_to_pause = ARGV[4], ARGV[5] == '1'
local stats = stats_of(queue)
stats[2] = is_to_pause and 1 or 0
local is_ready = not is_to_pause and ready_of(queue) > 0
call('HDEL', queue_key(queue), 'paused') -- a removal first, as in commit: what only stores may be refused
if is_to_pause then
  call('HSET', queue_key(queue), 'paused', 1)
  call('ZADD', KEYS[6], 0, queue)
end
if is_ready then call('PUBLISH', CHANNELS .. 'w', queue .. ' ' .. REPLICA) end
return {stats, is_ready and {queue} or {}}

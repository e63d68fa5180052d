-- Tell of queues by name.
-- KEYS, ARGV 1 to 3: see _prelude.lua. Then: the name after which to begin or "", limit.
-- Returns for each queue the values of stats_of in _stats.lua.
local stats = {}
local after = ARGV[4] ~= '' and '(' .. ARGV[4] or '-'
for _, queue in ipairs(call('ZRANGEBYLEX', KEYS[6], after, '+', 'LIMIT', 0, ARGV[5])) do
  stats[#stats + 1] = stats_of(queue)
end
return stats

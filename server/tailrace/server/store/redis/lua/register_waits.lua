-- Read what became of tasks and, in the same step, have the calling replica told of every later change.
-- KEYS, ARGV 1 to 3: see _prelude.lua. Then: max_bytes of payloads after which no more are given, the ids.
-- Returns two values for each id: see append_outcome in _rules.lua.
local MAX_WAITERS = 3 -- a fourth, and all are told: the value would no longer fit a listpack

-- Nil when the replica is told already.
local function with_replica(waiters)
  local known = 0
  for replica in string.gmatch(waiters or '', '[^,]+') do
    if replica == REPLICA or replica == '*' then return nil end
    known = known + 1
  end
  if known == 0 then return REPLICA end
  return known < MAX_WAITERS and waiters .. ',' .. REPLICA or '*'
end

local outcomes, max_bytes = {}, tonumber(ARGV[4])
for i = 5, #ARGV do
  local task = find(ARGV[i])
  append_outcome(outcomes, task, max_bytes)
  local waiters = task and task.place ~= 'done' and with_replica(task.waiters)
  if waiters then transition(task, {waiters = waiters}) end
end
commit()
return outcomes

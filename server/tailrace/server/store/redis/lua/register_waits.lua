-- Read what became of tasks and, in the same step, have the calling replica told of every later change.
-- KEYS, ARGV 1 to 3: see _prelude.lua. Then the ids.
-- Returns for each id, one after the other, outcome_line and outcome_payload; two nils for an unknown one.
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

local outcomes = {}
for i = 4, #ARGV do
  local task = find(ARGV[i])
  outcomes[#outcomes + 1] = task and outcome_line(task) or false
  outcomes[#outcomes + 1] = task and outcome_payload(task) or false
  local waiters = task and task.place ~= 'done' and with_replica(task.waiters)
  if waiters then transition(task, {waiters = waiters}) end
end
commit()
return outcomes

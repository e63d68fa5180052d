-- Whom to tell of a task: replicas with commas in between.
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

-- Have the calling replica told of every later change, with progress of that too.
local function watch(task, with_progress)
  if IS_DONE[task.state] then return end
  local waiters = with_replica(task.waiters)
  local progress_waiters = with_progress and with_replica(task.progress_waiters)
  if waiters then transition(task, {waiters = waiters}) end
  if progress_waiters then transition(task, {progress_waiters = progress_waiters}) end
end

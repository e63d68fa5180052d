-- The failure of a revocation that was asked for, while the task goes on; nil when nobody asked for it to stop.
local function revocation_of(task)
  return task.has_revocation and (task.blobs and task.blobs.v or call('GET', key('v', task.id)) or '') or nil
end

-- End a task that was asked to stop, now that its attempt is over without success.
local function end_revoked(task) finish(task, 'REVOKED', revocation_of(task)) end

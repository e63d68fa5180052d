-- The failure of a revocation that was asked for, while the task goes on; nil when nobody asked for it to stop.
local function revocation_of(task)
  return task.has_revocation and (task.blobs and task.blobs.v or call('GET', key('v', task.id)) or '') or nil
end

-- End a task that was asked to stop, now that its attempt is over without success.
local function end_revoked(task) finish(task, 'REVOKED', revocation_of(task)) end

local function hex(bytes)
  return (string.gsub(bytes, '.', function(byte) return string.format('%02x', string.byte(byte)) end))
end

-- Tell the holder of a lease unasked, before it ends: "! id token lost", or that the task was asked to stop, where
-- "revoked:" and the failure take the place of "lost"; token and failure in hexadecimal.
local function tell_holder(task, revocation)
  local fate = revocation and 'revoked:' .. hex(revocation) or 'lost'
  if task.holder then news[#news + 1] = {task.holder, '! ' .. task.id .. ' ' .. hex(task.lease_token) .. ' ' .. fate} end
end

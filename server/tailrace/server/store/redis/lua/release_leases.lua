-- Take leases back without using up an attempt: to the head of the queue in the order of the call, or the schedule.
-- KEYS, ARGV 1 to 3: see _prelude.lua. Then the failure of a task whose releases count as a lost lease (bytes), and for
--   each release: id, lease token (12 bytes), delay_ms.
-- Returns {releases, queues that got tasks, changes, began, ended (see _counting.lua)}; a release is 1, or nil where the
--   token is not the current one.
local failure = ARGV[4]

local function release(task, delay_ms)
  local was_started = task.state == 'STARTED'
  transition(task, {releases = task.releases + 1, attempt = task.attempt - (was_started and 1 or 0)})
  if task.has_revocation then return end_revoked(task) end
  if task.releases >= RELEASES_PER_LOST_LEASE then return count_lost_lease(task, failure, delay_ms) end
  local has_failed = task.failed_attempts + task.lost_leases > 0
  wait_until_due(task, delay_ms, true, {state = was_started and (has_failed and 'RETRY' or 'PENDING') or nil})
end

local releases = {}
for i = 5, #ARGV, 3 do
  local task = find(ARGV[i])
  local is_held = holds(task, ARGV[i + 1])
  if is_held then
    tell_holder_elsewhere(task)
    release(task, tonumber(ARGV[i + 2]))
  end
  releases[#releases + 1] = is_held
end
local ready = commit()
return {releases, ready, change_lines(), began_parts, ended_parts}

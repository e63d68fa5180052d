-- Take signs of life: the first that is not waiting starts the attempt, every other extends the lease.
-- KEYS, ARGV 1 to 3: see _prelude.lua. Then for each: id, lease token (12 bytes), is_waiting ("1" or "0") with the
--   worker_id right behind it (empty: unchanged), progress (bytes; empty: nothing new).
-- Returns {leases, changes, began, ended (see _counting.lua)}; for each lease, one after the other, its expiry (ms since
--   the epoch) and the failure of a revocation that was asked for, or nil; two nils where the token is not the current one.
local function beat(task, is_waiting)
  if task.state == 'STARTED' then
    transition(task, {place = 'lease', until_ms = NOW + task.lease_ms})
  elseif is_waiting then
    transition(task, {place = 'lease', until_ms = NOW + DELIVERY_LEASE_MS})
  else
    start(task)
  end
  if task.holder ~= REPLICA then transition(task, {holder = REPLICA}) end
end

local leases = {}
for i = 4, #ARGV, 4 do
  local task, who, progress = find(ARGV[i]), ARGV[i + 2], ARGV[i + 3]
  local is_held = holds(task, ARGV[i + 1])
  if is_held then
    beat(task, string.sub(who, 1, 1) == '1')
    name_worker(task, string.sub(who, 2))
    if progress ~= '' and task.state == 'STARTED' then say_progress(task, progress) end
  end
  leases[#leases + 1] = is_held and task.until_ms
  leases[#leases + 1] = is_held and revocation_of(task) or false
end
commit()
return {leases, change_lines(), began_parts, ended_parts}

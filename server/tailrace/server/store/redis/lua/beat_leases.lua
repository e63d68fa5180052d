-- Take signs of life: the first that is not waiting starts the attempt, every other extends the lease.
-- KEYS, ARGV 1 to 3: see _prelude.lua. Then for each: id, lease token (12 bytes), is_waiting ("1" or "0").
-- Returns {leases, changes}; for each lease, one after the other, its expiry (ms since the epoch) and the failure of a
--   revocation that was asked for, or nil; two nils where the token is not the current one.
local leases = {}
for i = 4, #ARGV, 3 do
  local task = find(ARGV[i])
  local is_held = holds(task, ARGV[i + 1])
  if is_held and task.state == 'STARTED' then
    transition(task, {place = 'lease', until_ms = NOW + task.lease_ms})
  elseif is_held and ARGV[i + 2] == '1' then
    transition(task, {place = 'lease', until_ms = NOW + DELIVERY_LEASE_MS})
  elseif is_held then
    start(task)
  end
  if is_held and task.holder ~= REPLICA then transition(task, {holder = REPLICA}) end
  leases[#leases + 1] = is_held and task.until_ms
  leases[#leases + 1] = is_held and revocation_of(task) or false
end
commit()
return {leases, change_lines()}

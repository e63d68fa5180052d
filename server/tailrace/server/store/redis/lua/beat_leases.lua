-- Take signs of life: the first that is not waiting starts the attempt, every other extends the lease.
-- KEYS, ARGV 1 to 3: see _prelude.lua. Then for each: id, lease token (12 bytes), is_waiting ("1" or "0").
-- Returns {expiries, changes}; an expiry is ms since the epoch, nil where the token is not the current one.
local expiries = {}
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
  expiries[#expiries + 1] = is_held and task.until_ms
end
commit()
return {expiries, change_lines()}

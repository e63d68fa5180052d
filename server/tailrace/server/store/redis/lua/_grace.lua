-- Until when lost leases and overrun attempts are left alone. Where leases were not looked after for longer than gap_ms, or
-- the clock went backwards, workers first get time to come back.
local function grace_end(gap_ms, grace_ms)
  local control = call('HMGET', KEYS[4], 'last_reap', 'grace_until')
  local last_reap = tonumber(control[1])
  if last_reap and (NOW - last_reap > gap_ms or NOW < last_reap) then return NOW + grace_ms end
  return tonumber(control[2]) or 0
end

-- What every script shares: where things are, how a record is read, and the one function that changes it.
-- Nothing here writes: changes are gathered, and commit (_commit.lua) writes them once everything has been read.
--
-- KEYS  1 lease, 2 schedule, 3 done (ZSET id -> ms), 4 control (HASH): all of one partition.
-- ARGV  1 prefix of the partition's keys, 2 prefix of the channels, 3 id of the replica that calls.
--
-- The record, HASH <prefix>t:<id>. A value that is the default is not stored. No value is longer than 64 bytes, so
-- that the hash stays a listpack.
--   s   state            its name             c   create_ms                     a   attempt         0
--   p   place            as in ZSETS, ready   u   update_ms                     f   failed_attempts 0
--   q   queue                                 L   lease_ms         30000        o   lost_leases     0
--   l   priority         0                    T   result_ttl_ms    86400000     e   releases        0
--   v   revision                              m   max_lost_leases  3            d   delivery_count  0
--   fp  fingerprint      16 bytes             pa  max_attempts     no policy    k   lease_token     while leased
--   h   head_bytes       of the request       pi  initial_backoff_ms 1000       ek  ended_token
--   w   waiters          up to 3 replicas     px  max_backoff_ms   300000       es  ended_state
--                        with commas, or *    pm  backoff_multiplier 2          x   expire_ms       once done
--                                             pn  has_types        1: n:<id> exists
local NAMES = {
  s = 'state', p = 'place', q = 'queue', l = 'priority', v = 'revision', fp = 'fingerprint', h = 'head_bytes',
  w = 'waiters', c = 'create_ms', u = 'update_ms', L = 'lease_ms', T = 'result_ttl_ms', m = 'max_lost_leases',
  pa = 'max_attempts', pi = 'initial_backoff_ms', px = 'max_backoff_ms', pm = 'backoff_multiplier',
  pn = 'has_types', a = 'attempt', f = 'failed_attempts', o = 'lost_leases', e = 'releases',
  d = 'delivery_count', k = 'lease_token', ek = 'ended_token', es = 'ended_state', x = 'expire_ms',
}
local FIELDS = {}
for field, name in pairs(NAMES) do FIELDS[name] = field end
local DEFAULTS = {
  priority = 0, revision = 0, lease_ms = 30000, result_ttl_ms = 86400000, max_lost_leases = 3,
  initial_backoff_ms = 1000, max_backoff_ms = 300000, backoff_multiplier = 2,
  attempt = 0, failed_attempts = 0, lost_leases = 0, releases = 0, delivery_count = 0,
}
local IS_TEXT = {s = true, p = true, q = true, fp = true, w = true, k = true, ek = true, es = true}
local IS_DONE = {SUCCESS = true, FAILURE = true, REVOKED = true}
local PREFIX, CHANNELS, REPLICA = ARGV[1], ARGV[2], ARGV[3]
local ZSETS = {lease = KEYS[1], schedule = KEYS[2], done = KEYS[3]}
local NOW = now()

local tasks = {} -- id -> record, or false: an id that comes twice in a call sees what the first one did
local touched = {} -- records to write, in order
local revised = {} -- records with a new revision
local counts = {} -- queue -> place -> by how much more or fewer
local pushes = {} -- records that became ready, in order
local pops = {} -- {queue, level, count} taken from the heads of ready lists
local stale = {lease = {}, schedule = {}, done = {}} -- entries that their records contradict

local function key(kind, task_id) return PREFIX .. kind .. ':' .. task_id end
local function list_key(queue, level) return PREFIX .. 'q:' .. queue .. ':' .. level end
local function queue_key(queue) return PREFIX .. 'qm:' .. queue end

-- Lua would write a large number as 1.76e+15.
local function int(number) return string.format('%.0f', number) end

local with_defaults = {__index = DEFAULTS}
local function new_record(task_id)
  return setmetatable({id = task_id, stored = {}, dirty = {}, blobs = {}}, with_defaults)
end

-- The record as it stands, be it expired; false when there is none.
local function fetch(task_id)
  local task = tasks[task_id]
  if task ~= nil then return task end
  local values = redis.call('HGETALL', key('t', task_id))
  task = #values > 0 and new_record(task_id)
  for i = 1, #values, 2 do
    local name = NAMES[values[i]]
    if name then
      task[name] = IS_TEXT[values[i]] and values[i + 1] or tonumber(values[i + 1])
      task.stored[name] = true
    end
  end
  if task then task.index = task.place end
  tasks[task_id] = task
  return task
end

-- The record, or nil for an id that nobody submitted or whose record is over.
local function find(task_id)
  local task = fetch(task_id)
  if task and not (task.expire_ms and task.expire_ms <= NOW) then return task end
end

local function count(queue, place, by)
  local of_queue = counts[queue] or {}
  of_queue[place] = (of_queue[place] or 0) + by
  counts[queue] = of_queue
end

-- Change a task. `change` names fields of the record (false removes one) and, beside them:
--   state     makes a new revision, of which all waiters are told
--   place     moves the task: until_ms is its new score, to_head puts it before the others that are ready
local function transition(task, change)
  if not task.is_touched then
    task.is_touched = true
    touched[#touched + 1] = task
  end
  if change.state then
    change.revision, change.update_ms = task.revision + 1, NOW
    if not task.is_revised then revised[#revised + 1] = task end
    task.is_revised = true
  end
  local old_place = task.place
  for name, value in pairs(change) do
    task[name] = value
    task.dirty[name] = true
  end
  if task.place == old_place then return end
  if old_place then count(task.queue, old_place, -1) end
  count(task.queue, task.place, 1)
  if task.place == 'ready' then pushes[#pushes + 1] = task end
end

-- Write a string key of a task along with its record; false removes it.
local function put(task, kind, bytes) task.blobs[kind] = bytes end

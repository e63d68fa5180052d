-- What every script shares: where things are, and the one function that changes a record (_fetching.lua reads it).
-- Nothing here writes: changes are gathered, and commit (_commit.lua) writes them once everything has been read.
-- Times are in ms: 13 digits, and Lua writes numbers of up to 14 as they are.
--
-- KEYS  1 lease, 2 schedule, 3 done (ZSET id -> ms), 4 control (HASH), 5 deadlines (ZSET id -> ms), 6 queues (ZSET name
--       -> 0), 7 a key that is never there (see keys.py): all of one partition.
-- ARGV  1 prefix of the partition's keys, 2 prefix of the channels, 3 id of the replica that calls.
local call = redis.call
local PREFIX, CHANNELS, REPLICA = ARGV[1], ARGV[2], ARGV[3]
local ZSETS = {lease = KEYS[1], schedule = KEYS[2], done = KEYS[3], deadlines = KEYS[5]}
local NOW = now()

local tasks = {} -- id -> record, or false: an id that comes twice in a call sees what the first one did
local touched = {} -- records to write, in order
local revised = {} -- records with a new revision
local progressed = {} -- records with new progress
local counts = {} -- queue -> place -> by how much more or fewer
local pushes = {} -- records that became ready, in order
local news = {} -- {holder, line} of leases that were lost or are to be given up
local pops = {} -- {queue, level, count} taken from the heads of ready lists
local stale = {lease = {}, schedule = {}, done = {}, deadlines = {}} -- entries to remove from the sorted sets

local function key(kind, task_id) return PREFIX .. kind .. ':' .. task_id end
local function list_key(queue, level) return PREFIX .. 'q:' .. queue .. ':' .. level end
local function queue_key(queue) return PREFIX .. 'qm:' .. queue end

local function count(queue, place, by)
  local of_queue = counts[queue]
  if not of_queue then
    of_queue = {}
    counts[queue] = of_queue
  end
  of_queue[place] = (of_queue[place] or 0) + by
end

-- Note that a field goes, or that it stays after all because it was written again.
local function remove_field(task, field, is_gone)
  task.removals = task.removals or {}
  task.removals[field] = is_gone or nil
end

-- Change a task. `change` names fields of the record (false removes one) and, beside them:
--   state     makes a new revision, of which all waiters are told
--   place     moves the task: until_ms is its new score, to_head puts it before the others that are ready
local function transition(task, change)
  if not task.writes then
    task.writes, task.old_state, task.old_place = {}, task.state, task.place
    if task.state == 'STARTED' and task.start_ms then task.run_ms = NOW - task.start_ms end
    touched[#touched + 1] = task
  end
  if change.state then
    change.revision, change.update_ms = task.revision + 1, NOW
    if not task.is_revised then revised[#revised + 1] = task end
    task.is_revised = true
  end
  local old_place, writes = task.place, task.writes
  for name, value in pairs(change) do
    local field, old = FIELDS[name], task[name]
    if field and value ~= old then
      if value ~= DEFAULTS[name] then
        writes[#writes + 1] = field
        writes[#writes + 1] = value
      end
      if value == DEFAULTS[name] or task.removals then remove_field(task, field, value == DEFAULTS[name]) end
    end
    task[name] = value
  end
  if task.place == old_place then return end
  if old_place then count(task.queue, old_place, -1) end
  count(task.queue, task.place, 1)
  if task.place == 'ready' then pushes[#pushes + 1] = task end
end

-- Write a string key of a task along with its record; false removes it.
local function put(task, kind, bytes)
  task.blobs = task.blobs or {}
  task.blobs[kind] = bytes
end

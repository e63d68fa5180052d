-- What is known of a task that is not done: the HASH <prefix>t:<id>, one field a line, and how it is called in the
-- scripts. No value is longer than 64 bytes, so that the hash stays a listpack.
local NAMES = {
  s = 'state', -- spelled as everywhere
  p = 'place', -- the one index that it stands in: ready, schedule, lease or done
  q = 'queue',
  l = 'priority',
  v = 'revision',
  u = 'update_ms',
  r = 'due_ms', -- when it leaves the schedule, or left it; none once started
  c = 'create_ms',
  fp = 'fingerprint', -- 16 bytes
  h = 'head_bytes', -- of s:<id>; what follows is the input
  L = 'lease_ms',
  T = 'result_ttl_ms',
  m = 'max_lost_leases',
  pa = 'max_attempts', -- this and the next four only where the submitter gave a policy
  pi = 'initial_backoff_ms',
  px = 'max_backoff_ms',
  pm = 'backoff_multiplier',
  pn = 'has_types', -- 1: n:<id> exists
  sd = 'start_deadline_ms', -- points in time, and how long an attempt may run
  td = 'total_deadline_ms',
  xt = 'execution_timeout_ms',
  a = 'attempt',
  f = 'failed_attempts',
  o = 'lost_leases',
  e = 'releases',
  d = 'delivery_count',
  st = 'start_ms', -- of the latest attempt
  wk = 'worker_id', -- who runs it or ran it: the first 64 characters, and the others
  ww = 'worker_id_rest',
  k = 'lease_token', -- of the latest delivery, 12 bytes; good as long as place is lease
  ek = 'ended_token', -- of the latest attempt that a worker ended, to know it again, and the state that this led to
  es = 'ended_state',
  w = 'waiters', -- the replicas to be told: up to three ids with commas in between, or * for all
  wp = 'progress_waiters', -- likewise, of progress
  y = 'holder', -- the replica that delivered it or took its latest beat; good as long as place is lease
  rv = 'has_revocation', -- 1: v:<id> exists, the task was asked to stop
  g = 'has_progress', -- 1: g:<id> exists
}
local FIELDS = {}
for field, name in pairs(NAMES) do FIELDS[name] = field end
-- All that is of use once a task is done. Then it has one key only: the STRING s:<id>, with the request, the outcome, and
-- these, each preceded by its length in one byte, 0 for what has its default; the length of all these (2 bytes) ends it.
-- What a later release adds goes to the end of the list: it is missing in older data, and passed over by older releases.
local LASTING = {
  'state', 'queue', 'priority', 'revision', 'update_ms', 'create_ms', 'fingerprint', 'head_bytes', 'request_bytes',
  'outcome_bytes', 'result_ttl_ms', 'attempt', 'delivery_count', 'start_ms', 'worker_id', 'worker_id_rest',
  'ended_token', 'ended_state',
}
local MAX_LASTING_BYTES = 512
-- What has its default is not stored. Made whole at once: a table that grows is copied again and again.
local function new_record(task_id)
  return {
    state = false, place = false, queue = false, priority = 0, revision = 0, update_ms = 0, due_ms = false,
    create_ms = 0,
    fingerprint = false, head_bytes = 0, request_bytes = false, outcome_bytes = false, lease_ms = 30000,
    result_ttl_ms = 86400000, max_lost_leases = 3, max_attempts = false, initial_backoff_ms = 1000,
    max_backoff_ms = 300000, backoff_multiplier = 2, has_types = false, start_deadline_ms = false,
    total_deadline_ms = false, execution_timeout_ms = false, attempt = 0, failed_attempts = 0, lost_leases = 0,
    releases = 0, delivery_count = 0, start_ms = false, worker_id = '', worker_id_rest = '', lease_token = false,
    ended_token = false, ended_state = false, waiters = false, progress_waiters = false, expire_ms = false,
    holder = false, has_revocation = false, has_progress = false,
    -- Of use in one call only: the index that holds it in Redis, its deadline there, its new score or whether it goes to
    -- the head of its queue, whether a call takes it from its ready list, what is to be written, what is to be told.
    id = task_id, index = false, deadline_ms = false, until_ms = false, to_head = false, is_drawn = false,
    writes = false, removals = false, blobs = false, is_new = false, is_revised = false,
    -- Likewise, for those who count: what it was before, and what came of this call (see _counting.lua).
    old_state = false, old_place = false, wait_ms = false, run_ms = false, failure_kind = false,
  }
end
local DEFAULTS = new_record(false)
local IS_TEXT = {
  state = true, place = true, queue = true, fingerprint = true, waiters = true, progress_waiters = true,
  lease_token = true, ended_token = true, ended_state = true, holder = true, worker_id = true, worker_id_rest = true,
}
local IS_DONE = {SUCCESS = true, FAILURE = true, REVOKED = true}

-- For how long it is kept then.
local UNKEPT_RESULT_TTL_MS = 60000
local function ttl_of(task) return task.result_ttl_ms > 0 and task.result_ttl_ms or UNKEPT_RESULT_TTL_MS end

-- When somebody must act on a task by itself, as in domain/deadline.py; false: there is nothing that it could miss.
local EXECUTION_GRACE_MS = 10000
local function deadline_of(task)
  if task.place == 'gone' or IS_DONE[task.state] then return false end
  local first = task.total_deadline_ms or math.huge
  if task.state == 'PENDING' and task.place ~= 'lease' then first = math.min(first, task.start_deadline_ms or first) end
  if task.state == 'STARTED' and task.start_ms and task.execution_timeout_ms then
    first = math.min(first, task.start_ms + task.execution_timeout_ms + EXECUTION_GRACE_MS)
  end
  return first < math.huge and first
end

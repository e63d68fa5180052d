-- What is known of a task: the HASH <prefix>t:<id>, one field a line, and how it is called in the scripts. No value is
-- longer than 64 bytes, so that the hash stays a listpack.
local NAMES = {
  s = 'state', -- spelled as everywhere
  p = 'place', -- the one index that it stands in: ready, schedule, lease or done
  q = 'queue',
  l = 'priority',
  v = 'revision',
  u = 'update_ms',
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
  a = 'attempt',
  f = 'failed_attempts',
  o = 'lost_leases',
  e = 'releases',
  d = 'delivery_count',
  k = 'lease_token', -- of the latest delivery, 12 bytes; good as long as place is lease
  ek = 'ended_token', -- of the latest attempt that a worker ended, to know it again, and the state that this led to
  es = 'ended_state',
  w = 'waiters', -- the replicas to be told: up to three ids with commas in between, or * for all
  x = 'expire_ms', -- once it is done: when the record is over
  y = 'holder', -- the replica that delivered it or took its latest beat; good as long as place is lease
  rv = 'has_revocation', -- 1: v:<id> exists, the task was asked to stop
}
local FIELDS = {}
for field, name in pairs(NAMES) do FIELDS[name] = field end
-- What has its default is not stored. Made whole at once: a table that grows is copied again and again.
local function new_record(task_id)
  return {
    state = false, place = false, queue = false, priority = 0, revision = 0, update_ms = 0, create_ms = 0,
    fingerprint = false, head_bytes = 0, lease_ms = 30000, result_ttl_ms = 86400000, max_lost_leases = 3,
    max_attempts = false, initial_backoff_ms = 1000, max_backoff_ms = 300000, backoff_multiplier = 2, has_types = false,
    attempt = 0, failed_attempts = 0, lost_leases = 0, releases = 0, delivery_count = 0, lease_token = false,
    ended_token = false, ended_state = false, waiters = false, expire_ms = false, holder = false,
    has_revocation = false,
    -- Of use in one call only: the index that holds it in Redis, its new score or whether it goes to the head of its
    -- queue, what is to be written, and what is to be told.
    id = task_id, index = false, until_ms = false, to_head = false, writes = false, removals = false, blobs = false,
    is_new = false, is_revised = false,
  }
end
local DEFAULTS = new_record(false)
local IS_TEXT = {
  state = true, place = true, queue = true, fingerprint = true, waiters = true, lease_token = true,
  ended_token = true, ended_state = true, holder = true,
}
local IS_DONE = {SUCCESS = true, FAILURE = true, REVOKED = true}

"""Every statement that the embedded store runs on its tables, and nothing else spells SQL about tasks.

Each finds its rows through an index: what one costs does not grow with the number of tasks, which a test reads off the
query plans. ``INDEXED BY`` turns a plan that would not into an error.
"""

from typing import Final

LOAD: Final = """
SELECT seq, task_id, queue, priority, fingerprint, head_bytes, lease_ms, result_ttl_ms, retry_policy, max_lost_leases,
    create_ms, start_deadline_ms, total_deadline_ms, execution_timeout_ms, state, place, revision, update_ms, due_ms,
    attempt, failed_attempts, lost_leases, releases, delivery_count, lease_token, lease_expire_ms, ended_token,
    ended_state, expire_ms, start_ms, worker_id,
    iif(:outcomes, result, NULL), iif(:outcomes, failure, NULL), iif(:outcomes, last_failure, NULL),
    iif(:outcomes, progress, NULL), revocation,
    CASE
        WHEN :requests THEN (SELECT request FROM input WHERE input.seq = task.seq)
        WHEN :heads THEN (SELECT substr(request, 1, head_bytes) FROM input WHERE input.seq = task.seq)
        ELSE x''
    END
FROM task LEFT JOIN outcome USING (seq)
WHERE task_id IN (SELECT value FROM json_each(:task_ids))
"""
"""Whether to read ``outcomes`` (result, failures, progress), ``requests``, or of those the ``heads``; a JSON array."""

OUTCOME_BYTES: Final = """
SELECT task_id, coalesce(length(result), 0) + coalesce(length(failure), 0) + coalesce(length(last_failure), 0)
    + coalesce(length(progress), 0)
FROM task JOIN outcome USING (seq)
WHERE task_id IN (SELECT value FROM json_each(?)) AND coalesce(result, failure, last_failure, progress) IS NOT NULL
"""
"""A JSON array of task ids. SQLite tells the length of a blob without reading it."""

DETAIL_BYTES: Final = """
SELECT task_id, head_bytes, length(request),
    coalesce(length(result), 0) + coalesce(length(failure), 0) + coalesce(length(last_failure), 0)
        + coalesce(length(progress), 0),
    coalesce(result, failure, last_failure, progress) IS NOT NULL
FROM task JOIN input USING (seq) LEFT JOIN outcome USING (seq)
WHERE task_id IN (SELECT value FROM json_each(?))
"""
"""A JSON array of task ids."""

INSERT_TASK: Final = """
INSERT INTO task (
    state, place, position, revision, update_ms, due_ms, attempt, failed_attempts, lost_leases, releases,
    delivery_count, lease_token, lease_expire_ms, ended_token, ended_state, expire_ms, start_ms, worker_id, deadline_ms,
    seq, task_id, partition, queue, priority, fingerprint, head_bytes, lease_ms, result_ttl_ms, retry_policy,
    max_lost_leases, create_ms, start_deadline_ms, total_deadline_ms, execution_timeout_ms
) VALUES (
    ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,
    ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?
)
"""
UPDATE_TASK: Final = """
UPDATE task SET
    state = ?, place = ?, position = ?, revision = ?, update_ms = ?, due_ms = ?, attempt = ?, failed_attempts = ?,
    lost_leases = ?, releases = ?, delivery_count = ?, lease_token = ?, lease_expire_ms = ?, ended_token = ?,
    ended_state = ?, expire_ms = ?, start_ms = ?, worker_id = ?, deadline_ms = ?
WHERE seq = ?
"""
DELETE_TASK: Final = "DELETE FROM task WHERE seq = ?"

WRITE_INPUT: Final = "INSERT OR REPLACE INTO input (seq, request) VALUES (?, ?)"
DELETE_INPUT: Final = "DELETE FROM input WHERE seq = ?"
WRITE_OUTCOME: Final = """
INSERT OR REPLACE INTO outcome (seq, result, failure, last_failure, revocation, progress) VALUES (?, ?, ?, ?, ?, ?)
"""
DELETE_OUTCOME: Final = "DELETE FROM outcome WHERE seq = ?"

LAST_SEQ: Final = "SELECT coalesce(max(seq), 0) FROM task"

FIRST_POSITION: Final = """
SELECT coalesce(min(position), 0) FROM task INDEXED BY task_ready
WHERE partition = ? AND queue = ? AND priority = ? AND place = 'ready'
"""
LAST_POSITION: Final = """
SELECT coalesce(max(position), 0) FROM task INDEXED BY task_ready
WHERE partition = ? AND queue = ? AND priority = ? AND place = 'ready'
"""

READY: Final = """
SELECT task_id, length(request), head_bytes, deadline_ms,
    coalesce(length(last_failure), 0) + coalesce(length(progress), 0)
FROM task INDEXED BY task_ready JOIN input USING (seq) LEFT JOIN outcome USING (seq)
WHERE partition = ? AND queue = ? AND place = 'ready'
ORDER BY priority DESC, position
"""
"""Without a limit: rows are found one by one as they are asked for."""
HAS_READY: Final = """
SELECT EXISTS (SELECT 1 FROM task INDEXED BY task_ready WHERE partition = ? AND queue = ? AND place = 'ready')
"""

EXPIRED_LEASES: Final = """
SELECT task_id FROM task INDEXED BY task_lease
WHERE partition = ? AND place = 'lease' AND lease_expire_ms <= ?
ORDER BY lease_expire_ms, task_id
LIMIT ?
"""
NEXT_LEASE: Final = """
SELECT min(lease_expire_ms) FROM task INDEXED BY task_lease WHERE partition = ? AND place = 'lease'
"""

DUE: Final = """
SELECT task_id FROM task INDEXED BY task_schedule
WHERE partition = ? AND place = 'schedule' AND due_ms <= ?
ORDER BY due_ms, task_id
LIMIT ?
"""
NEXT_DUE: Final = "SELECT min(due_ms) FROM task INDEXED BY task_schedule WHERE partition = ? AND place = 'schedule'"

OVER: Final = """
SELECT seq FROM task INDEXED BY task_done
WHERE partition = ? AND place = 'done' AND expire_ms <= ?
ORDER BY expire_ms, task_id
LIMIT ?
"""
NEXT_OVER: Final = "SELECT min(expire_ms) FROM task INDEXED BY task_done WHERE partition = ? AND place = 'done'"

OVERDUE: Final = """
SELECT task_id FROM task INDEXED BY task_deadline
WHERE partition = ? AND deadline_ms IS NOT NULL AND deadline_ms <= ?
ORDER BY deadline_ms, task_id
LIMIT ?
"""
NEXT_DEADLINES: Final = """
SELECT task_id, deadline_ms FROM task INDEXED BY task_deadline
WHERE partition = ? AND deadline_ms IS NOT NULL
ORDER BY deadline_ms, task_id
LIMIT ?
"""

COUNT_IN_QUEUE: Final = """
INSERT INTO queue (partition, name, ready_count, schedule_count, lease_count) VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET
    ready_count = ready_count + excluded.ready_count,
    schedule_count = schedule_count + excluded.schedule_count,
    lease_count = lease_count + excluded.lease_count
"""
_STATS: Final = """
SELECT name, is_paused, ready_count, schedule_count, lease_count, iif(ready_count, (
    SELECT min((
        SELECT create_ms FROM task INDEXED BY task_ready
        WHERE task.partition = queue.partition AND task.queue = name AND priority = level.value AND place = 'ready'
        ORDER BY position
        LIMIT 1
    )) FROM json_each('[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]') AS level
), NULL) FROM queue
"""
LIST_QUEUES: Final = f"{_STATS.strip()} WHERE partition = ? AND name > ? ORDER BY name LIMIT ?"
QUEUE_STATS: Final = f"{_STATS.strip()} WHERE partition = ? AND name = ?"
PAUSE_QUEUE: Final = """
INSERT INTO queue (partition, name, is_paused) VALUES (?, ?, TRUE) ON CONFLICT DO UPDATE SET is_paused = TRUE
"""
RESUME_QUEUE: Final = "UPDATE queue SET is_paused = FALSE WHERE partition = ? AND name = ?"
NEXT_QUEUES: Final = """
SELECT name, ready_count, schedule_count, lease_count FROM queue WHERE partition = ? AND name > ? ORDER BY name LIMIT ?
"""
CORRECT_QUEUE: Final = """
UPDATE queue SET ready_count = ?, schedule_count = ?, lease_count = ? WHERE partition = ? AND name = ?
"""
RECOUNT_READY: Final = """
SELECT count(*) FROM (
    SELECT 1 FROM task INDEXED BY task_ready WHERE partition = ? AND queue = ? AND place = 'ready' LIMIT ?
)
"""
RECOUNT_SCHEDULE: Final = """
SELECT count(*) FROM (
    SELECT 1 FROM task INDEXED BY task_queue_schedule
    WHERE partition = ? AND queue = ? AND place = 'schedule'
    LIMIT ?
)
"""
LEASED_QUEUES: Final = "SELECT queue FROM task INDEXED BY task_lease WHERE partition = ? AND place = 'lease' LIMIT ?"
QUEUE_READY: Final = """
SELECT task_id FROM task INDEXED BY task_ready
WHERE partition = ? AND queue = ? AND place = 'ready'
ORDER BY priority DESC, position
LIMIT ?
"""
QUEUE_SCHEDULE: Final = """
SELECT task_id FROM task INDEXED BY task_queue_schedule
WHERE partition = ? AND queue = ? AND place = 'schedule'
ORDER BY due_ms, task_id
LIMIT ?
"""
READ_QUEUE: Final = "SELECT is_paused, ready_count + schedule_count FROM queue WHERE partition = ? AND name = ?"

WALK_LEASES: Final = """
SELECT task_id, lease_expire_ms, task_id FROM task INDEXED BY task_lease
WHERE partition = ? AND place = 'lease' AND (lease_expire_ms, task_id) > (?, ?)
ORDER BY lease_expire_ms, task_id
LIMIT ?
"""
WALK_LEVEL: Final = """
SELECT task_id, queue, priority, position FROM task INDEXED BY task_ready
WHERE partition = ? AND place = 'ready' AND queue = ? AND priority = ? AND position > ?
ORDER BY position
LIMIT ?
"""
WALK_LOWER_LEVELS: Final = """
SELECT task_id, queue, priority, position FROM task INDEXED BY task_ready
WHERE partition = ? AND place = 'ready' AND queue = ? AND priority < ?
ORDER BY priority DESC, position
LIMIT ?
"""
WALK_LATER_QUEUES: Final = """
SELECT task_id, queue, priority, position FROM task INDEXED BY task_ready
WHERE partition = ? AND place = 'ready' AND queue > ?
ORDER BY queue, priority DESC, position
LIMIT ?
"""
WALK_SCHEDULE: Final = """
SELECT task_id, due_ms, task_id FROM task INDEXED BY task_schedule
WHERE partition = ? AND place = 'schedule' AND (due_ms, task_id) > (?, ?)
ORDER BY due_ms, task_id
LIMIT ?
"""
WALK_DONE: Final = """
SELECT task_id, expire_ms, task_id FROM task INDEXED BY task_done
WHERE partition = ? AND place = 'done' AND expire_ms > ? AND (expire_ms, task_id) < (?, ?)
ORDER BY expire_ms DESC, task_id DESC
LIMIT ?
"""

READ_CLOCK: Final = "SELECT value FROM meta WHERE name = 'clock_ms'"
WRITE_CLOCK: Final = "INSERT OR REPLACE INTO meta (name, value) VALUES ('clock_ms', ?)"

READ_REAP_GUARD: Final = "SELECT last_reap_ms, grace_until_ms FROM reap_guard WHERE partition = ?"
WRITE_REAP_GUARD: Final = """
INSERT OR REPLACE INTO reap_guard (partition, last_reap_ms, grace_until_ms) VALUES (?, ?, ?)
"""

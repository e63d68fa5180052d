-- Version 2 of the embedded store's file; PRAGMA user_version tells the version.

CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;

-- What the rules read. The payloads are apart, because SQLite writes a row anew, whole, whenever a column changes.
CREATE TABLE task (
    seq INTEGER PRIMARY KEY,
    task_id TEXT NOT NULL UNIQUE,
    partition INTEGER NOT NULL,
    queue TEXT NOT NULL,
    priority INTEGER NOT NULL,
    fingerprint BLOB NOT NULL,
    head_bytes INTEGER NOT NULL,
    lease_ms INTEGER NOT NULL,
    result_ttl_ms INTEGER NOT NULL,
    retry_policy TEXT,              -- JSON
    max_lost_leases INTEGER NOT NULL,
    create_ms INTEGER NOT NULL,
    start_deadline_ms INTEGER,
    total_deadline_ms INTEGER,
    execution_timeout_ms INTEGER,
    state TEXT NOT NULL,
    place TEXT NOT NULL,
    position INTEGER,               -- among the ready tasks of one queue and priority; the smallest is foremost
    revision INTEGER NOT NULL,
    update_ms INTEGER NOT NULL,
    due_ms INTEGER,
    attempt INTEGER NOT NULL,
    failed_attempts INTEGER NOT NULL,
    lost_leases INTEGER NOT NULL,
    releases INTEGER NOT NULL,
    delivery_count INTEGER NOT NULL,
    lease_token BLOB,
    lease_expire_ms INTEGER,
    ended_token BLOB,
    ended_state TEXT,
    expire_ms INTEGER,
    start_ms INTEGER,
    worker_id TEXT NOT NULL,
    deadline_ms INTEGER             -- what domain.deadline.deadline_of makes of the rest
);

-- One index for each place; a task stands in exactly one of them.
CREATE INDEX task_ready ON task (partition, queue, priority DESC, position) WHERE place = 'ready';
CREATE INDEX task_schedule ON task (partition, due_ms, task_id) WHERE place = 'schedule';
CREATE INDEX task_lease ON task (partition, lease_expire_ms, task_id) WHERE place = 'lease';
CREATE INDEX task_done ON task (partition, expire_ms, task_id) WHERE place = 'done';

-- Beside those: what time may run out for, and what a purge of one queue looks for.
CREATE INDEX task_deadline ON task (partition, deadline_ms, task_id) WHERE deadline_ms IS NOT NULL;
CREATE INDEX task_queue_schedule ON task (partition, queue, due_ms, task_id) WHERE place = 'schedule';

-- Every queue that had a task or was paused, with how many tasks stand in each place.
CREATE TABLE queue (
    partition INTEGER NOT NULL,
    name TEXT NOT NULL,
    is_paused INTEGER NOT NULL DEFAULT 0,
    ready_count INTEGER NOT NULL DEFAULT 0,
    schedule_count INTEGER NOT NULL DEFAULT 0,
    lease_count INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (partition, name)
) WITHOUT ROWID;

CREATE TABLE input (
    seq INTEGER PRIMARY KEY,
    request BLOB NOT NULL
);

-- Only tasks that have one of the five have a row.
CREATE TABLE outcome (
    seq INTEGER PRIMARY KEY,
    result BLOB,
    failure BLOB,
    last_failure BLOB,
    revocation BLOB,
    progress BLOB
);

CREATE TABLE reap_guard (
    partition INTEGER PRIMARY KEY,
    last_reap_ms INTEGER NOT NULL,
    grace_until_ms INTEGER NOT NULL
);

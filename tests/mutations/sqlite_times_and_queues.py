"""The embedded store, or a rule, does something wrong with times, progress, queues or limits."""

from tests.mutations.mutation import DEADLINE, LEASE, SQLITE, TASK, sqlite

TIMES_AND_QUEUES = (
    sqlite(
        "a start deadline does not hold",
        (DEADLINE, "record.state is TaskState.PENDING and record.place is not Place.LEASE", "False"),
    ),
    sqlite("a delivery does not meet the start deadline", (DEADLINE, " and record.place is not Place.LEASE", "")),
    sqlite("a total timeout does not hold", (DEADLINE, "(record.total_deadline_ms, _start", "(None, _start")),
    sqlite(
        "an execution timeout does not hold",
        (DEADLINE, "return record.start_ms + record.execution_timeout_ms + EXECUTION_GRACE_MS", "return None"),
    ),
    sqlite("a worker has no time to end an attempt itself", (DEADLINE, " + EXECUTION_GRACE_MS", "")),
    sqlite(
        "a revoked task fails by its deadline",
        (DEADLINE, "        if record.revocation is not None:\n", "        if False:\n"),
    ),
    sqlite(
        "a revoked task that overran is tried again",
        (
            LEASE,
            'no worker sent one.\n    """\n    if record.revocation is not None:',
            'no worker sent one.\n    """\n    if False:',
        ),
    ),
    sqlite(
        "an attempt that overran never was",
        (
            DEADLINE,
            "if record.state is TaskState.STARTED:\n        return overrun",
            "if False:\n        return overrun",
        ),
    ),
    sqlite(
        "no time to bring the result of an attempt after an outage",
        (f"{SQLITE}/duties.py", "if grace_ms > 0 and has_but_overrun", "if False and has_but_overrun"),
    ),
    sqlite(
        "no limit holds after an outage",
        (DEADLINE, "return record.state is TaskState.STARTED and not is_over", "return not is_over"),
    ),
    sqlite(
        "the holder of an overdue lease is not told",
        (f"{SQLITE}/duties.py", "        records.tell_holder(record, ended)\n", ""),
    ),
    sqlite("a deadline passes 1 ms late", (f"{SQLITE}/statements.py", "deadline_ms <= ?", "deadline_ms < ?")),
    sqlite("a deadline passes early", (f"{SQLITE}/statements.py", "deadline_ms <= ?", "deadline_ms <= ? + 9999999")),
    sqlite(
        "all that is overdue at once has one jitter",
        (
            f"{SQLITE}/duties.py",
            "zip(missed, jitters, strict=False)",
            "zip(missed, jitters[:1] * len(missed), strict=False)",
        ),
    ),
    sqlite(
        "an overdue task is handed out",
        (f"{SQLITE}/operations.py", "if deadline_ms is not None and deadline_ms <= records.now_ms:", "if False:"),
    ),
    sqlite(
        "a retry comes after the total timeout", (LEASE, "if record.total_deadline_ms is not None and", "if False and")
    ),
    sqlite(
        "the span to start within begins before the scheduled start",
        (TASK, "start_ms + submission.start_within_ms", "now_ms + submission.start_within_ms"),
    ),
    sqlite("a scheduled task starts at once", (TASK, "submission.schedule_ms or 0)", "0)")),
    sqlite(
        "progress counts before the start",
        (
            LEASE,
            "return replace(record, lease_expire_ms=now_ms + DELIVERY_LEASE_MS)",
            "return replace(record, lease_expire_ms=now_ms + DELIVERY_LEASE_MS, progress=progress)",
        ),
    ),
    sqlite("a beat without progress forgets it", (LEASE, "progress=progress or record.progress", "progress=progress")),
    sqlite(
        "progress of a task that is done is left behind",
        (TASK, "        progress=None,\n        revocation=None", "        revocation=None"),
    ),
    sqlite("progress is not told", (f"{SQLITE}/operations.py", "records.tell(kept, is_progress=True)", "pass")),
    sqlite(
        "the next attempt is not handed the progress",
        (f"{SQLITE}/operations.py", "        progress=delivered.progress,\n", ""),
    ),
    sqlite(
        "a beat without a name forgets the worker",
        (
            LEASE,
            "record = replace(record, worker_id=worker_id or record.worker_id)",
            "record = replace(record, worker_id=worker_id)",
        ),
    ),
    sqlite("a paused queue delivers", (f"{SQLITE}/operations.py", " if not records.queues.is_paused(queue)]", "]")),
    sqlite(
        "nobody hears of a queue that goes on",
        (f"{SQLITE}/queue_operations.py", "if stats.ready_count and not is_paused:", "if False:"),
    ),
    sqlite(
        "nothing says that a queue is paused",
        (TASK, "is_queue_paused=is_queue_paused and record.place is Place.READY", "is_queue_paused=False"),
    ),
    sqlite(
        "inputs have no limit",
        (f"{SQLITE}/operations.py", "self.input_bytes + input_bytes <= request.max_bytes", "True"),
    ),
    sqlite(
        "the first task is never free",
        (f"{SQLITE}/operations.py", "request.is_first_free and not self.chosen", "False"),
    ),
    sqlite(
        "every task is free",
        (f"{SQLITE}/operations.py", "request.is_first_free and not self.chosen", "request.is_first_free"),
    ),
    sqlite("a queue holds one task too many", (f"{SQLITE}/operations.py", ">= max_queue_depth", "> max_queue_depth")),
    sqlite(
        "tasks on the schedule do not fill a queue",
        (f"{SQLITE}/statements.py", "is_paused, ready_count + schedule_count FROM", "is_paused, ready_count FROM"),
    ),
    sqlite(
        "tasks of the call itself do not fill a queue",
        (f"{SQLITE}/operations.py", "depths[submission.queue] += 1", "depths[submission.queue] += 0"),
    ),
    sqlite("a task that is not done is deleted", (f"{SQLITE}/looking.py", "if not record.state.is_done:", "if False:")),
    sqlite(
        "those that are done are listed backwards",
        (
            f"{SQLITE}/statements.py",
            "(expire_ms, task_id) < (?, ?)\nORDER BY expire_ms DESC, task_id DESC",
            "(expire_ms, task_id) < (?, ?)\nORDER BY expire_ms, task_id",
        ),
    ),
    sqlite("everything is whole", (f"{SQLITE}/looking.py", "is_whole=not has_more", "is_whole=True")),
    sqlite("the oldest task is the youngest", (f"{SQLITE}/statements.py", "SELECT min((", "SELECT max((")),
    sqlite("an audit corrects no counts", (f"{SQLITE}/queue_operations.py", "if right != counts:", "if False:")),
    sqlite(
        "this process is not told of a drain",
        (f"{SQLITE}/operator_calls.py", "self._feed.put(DrainRequested(worker_id))", "pass"),
    ),
    sqlite(
        "workers are never forgotten",
        (f"{SQLITE}/operator_calls.py", " if self._clock() < self._workers_until_ms else ()", ""),
    ),
)

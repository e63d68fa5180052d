"""The embedded store, or a rule of ``domain``, does something wrong in the life of a task."""

from tests.mutations.mutation import LEASE, RETRY, SQLITE, TASK, sqlite

LIFE = (
    sqlite("any token holds a lease", (LEASE, " and record.lease_token == token", "")),
    sqlite(
        "a lease is held wherever the task stands",
        (LEASE, "record.place is Place.LEASE and ", ""),
        (
            TASK,
            "now_ms + delay_ms if delayed else record.due_ms,\n        lease_token=None,",
            "now_ms + delay_ms if delayed else record.due_ms,",
        ),
        (TASK, "due_ms=None,\n        lease_token=None,", "due_ms=None,"),
    ),
    sqlite(
        "a result that comes twice is refused",
        (LEASE, "record.ended_state is not None and record.ended_token == end.lease_token", "False"),
    ),
    sqlite(
        "a lost lease is not counted",
        (
            LEASE,
            "end_revoked(record, now_ms=now_ms)\n    lost = replace(record, lost_leases=record.lost_leases + 1",
            "end_revoked(record, now_ms=now_ms)\n    lost = replace(record",
        ),
    ),
    sqlite(
        "an attempt that failed does not end a row of lost leases",
        (
            LEASE,
            "failed_attempts=record.failed_attempts + 1, lost_leases=0,",
            "failed_attempts=record.failed_attempts + 1,",
        ),
    ),
    sqlite("a request ends what runs", (TASK, "record.state is TaskState.STARTED and not is_forced", "False")),
    sqlite("force is a request", (TASK, "TaskState.STARTED and not is_forced", "TaskState.STARTED")),
    sqlite("a second request overrides the first", (TASK, "record if record.revocation is not None else ", "")),
    sqlite(
        "a task that is done is revoked",
        (TASK, "if record.state.is_done:\n        return record", "if False:\n        return record"),
    ),
    sqlite(
        "a revoked task that failed is tried again",
        (LEASE, "if record.revocation is not None and end", "if False and end"),
    ),
    sqlite(
        "a revoked task cannot succeed",
        (
            LEASE,
            "record.revocation is not None and end.state is not TaskState.SUCCESS",
            "record.revocation is not None",
        ),
    ),
    sqlite(
        "a lost lease of a revoked task is tried again",
        (
            LEASE,
            "0, now_ms=now_ms)\n    if record.revocation is not None:",
            "0, now_ms=now_ms)\n    if False:",
        ),
    ),
    sqlite(
        "a revoked task that was released is run again",
        (
            LEASE,
            "if record.revocation is not None:\n        return end_revoked(back",
            "if False:\n        return end_revoked(back",
        ),
    ),
    sqlite(
        "the holder of a lease is not told",
        (f"{SQLITE}/operations.py", "records.tell_holder(record, revoked)", "pass"),
    ),
    sqlite("a release uses up an attempt", (LEASE, "(1 if was_started else 0)", "0")),
    sqlite("deliveries are not numbered", (LEASE, "record.delivery_count + 1", "1")),
    sqlite(
        "every beat starts an attempt",
        (LEASE, "    if record.state is not TaskState.STARTED:\n        record = ", "    if True:\n        record = "),
    ),
    sqlite(
        "one attempt more than the policy allows",
        (RETRY, "failed_attempts < self.max_", "failed_attempts <= self.max_"),
    ),
    sqlite(
        "types that are not to be retried are retried", (RETRY, " and failure_type not in self.non_retryable_types", "")
    ),
    sqlite("a success keeps its input", (TASK, "record.request[: record.head_bytes] if succeeded else ", "")),
    sqlite("a result is kept unasked", (TASK, "result=result if keeps_result else None", "result=result")),
    sqlite(
        "an expired record is still read",
        (f"{SQLITE}/records.py", "if not row.record.is_expired(self.now_ms):", "if row.record:"),
    ),
    sqlite(
        "those who wait are not told",
        (f"{SQLITE}/records.py", "        for record in revised:\n            self.tell(record)\n", ""),
    ),
    sqlite(
        "the head of a queue is its tail",
        (f"{SQLITE}/records.py", "self._pushes[record.task_id] = to_head", "self._pushes[record.task_id] = False"),
    ),
    sqlite(
        "those who wait are not told of a doubt",
        (f"{SQLITE}/writer.py", "operation.doubts if operation.done is None", "() if operation.done is None"),
    ),
    sqlite(
        "another request under the same id passes for the same",
        (f"{SQLITE}/operations.py", "existing.fingerprint == submission.fingerprint", "True"),
    ),
    sqlite(
        "a call delivers without end",
        (f"{SQLITE}/operations.py", "            or self.size_bytes >= MAX_CALL_BYTES\n", ""),
    ),
    sqlite(
        "the lowest priority goes first",
        (
            f"{SQLITE}/statements.py",
            "outcome USING (seq)\nWHERE partition = ? AND queue = ? AND place = 'ready'\nORDER BY priority DESC",
            "outcome USING (seq)\nWHERE partition = ? AND queue = ? AND place = 'ready'\nORDER BY priority",
        ),
    ),
    sqlite(
        "no time to come back after an outage",
        (f"{SQLITE}/reap_guard.py", "return max(0, grace_until_ms - now_ms)", "return 0"),
    ),
    sqlite(
        "leases are reaped before their time",
        (
            f"{SQLITE}/statements.py",
            "place = 'lease' AND lease_expire_ms <= ?",
            "place = 'lease' AND lease_expire_ms <= ? + 9999999",
        ),
    ),
    sqlite(
        "a delay ends early",
        (
            f"{SQLITE}/statements.py",
            "place = 'schedule' AND due_ms <= ?",
            "place = 'schedule' AND due_ms <= ? + 9999999",
        ),
    ),
    sqlite(
        "records go early",
        (f"{SQLITE}/statements.py", "place = 'done' AND expire_ms <= ?", "place = 'done' AND expire_ms <= ? + 9999999"),
    ),
    sqlite(
        "transition: a delay counts as waiting",
        ("domain/transition.py", "before.update_ms if before.due_ms is None else before.due_ms", "before.update_ms"),
    ),
    sqlite(
        "transition: a release counts as a failure",
        (
            "domain/transition.py",
            "after.failed_attempts > before.failed_attempts or after.lost_leases > before.lost_leases",
            "after.state is TaskState.RETRY",
        ),
    ),
    sqlite(
        "transition: what is released is told without its type",
        (f"{SQLITE}/operations.py", "for release in releases), with_heads=True)", "for release in releases))"),
    ),
)

"""Records of tasks at any point of their life."""

from dataclasses import replace
from typing import Any

from tailrace.server.domain.lease import deliver, start
from tailrace.server.domain.task import Submission, TaskRecord, accept

NOW_MS = 1_800_000_000_000
NONCE = b"a nonce!"


def a_record(**fields: Any) -> TaskRecord:
    """Make a task that was just accepted; ``fields`` are those of Submission."""
    defaults: dict[str, Any] = {
        "task_id": "task-1",
        "task_type": "add",
        "queue": "default",
        "priority": 0,
        "fingerprint": b"f" * 16,
        "request": b"head:input",
        "head_bytes": 5,
    }
    return accept(Submission(**(defaults | fields)), now_ms=NOW_MS)


def a_delivered(*, nonce: bytes = NONCE, **fields: Any) -> TaskRecord:
    return deliver(a_record(**fields), nonce=nonce, start_immediately=False, now_ms=NOW_MS)


def a_started(**fields: Any) -> TaskRecord:
    return start(a_delivered(**fields), now_ms=NOW_MS)


def token_of(record: TaskRecord) -> bytes:
    assert record.lease_token is not None
    return record.lease_token


def with_counts(record: TaskRecord, **counts: Any) -> TaskRecord:
    return replace(record, **counts)

"""A record as the columns of its row, and back."""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from tailrace.server.domain.deadline import deadline_of
from tailrace.server.domain.retry import RetryPolicy
from tailrace.server.domain.task import Place, TaskRecord, TaskState
from tailrace.server.store.sqlite import statements

STATES = {state.value: state for state in TaskState}
PLACES = {place.value: place for place in Place}
# Spelled once: members of an enumeration bound as they are would be looked up by sqlite3's adapters, one by one.
STATE_TEXTS = {state: state.value for state in TaskState}
PLACE_TEXTS = {place: place.value for place in Place}


@dataclass(frozen=True, slots=True)
class Row:
    """A record as it is stored, under its row number."""

    seq: int
    record: TaskRecord


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large a task is."""

    head_bytes: int
    request_bytes: int
    outcome_bytes: int
    has_outcome: int
    """0 or 1."""

    @property
    def has_more(self) -> bool:
        """Whether there is anything beside the head of the request."""
        return bool(self.has_outcome) or self.request_bytes > self.head_bytes


def load_rows(
    connection: sqlite3.Connection,
    task_ids: Iterable[str],
    *,
    with_requests: bool,
    with_heads: bool,
    with_outcomes: bool,
) -> Iterator[Row]:
    """Read the records that exist, in any order.

    Without requests or outcomes, which may be large, those are empty and must not be relied on.
    """
    values = {
        "outcomes": with_outcomes,
        "requests": with_requests,
        "heads": with_heads,
        "task_ids": json.dumps(list(task_ids)),
    }
    return map(_row_of, connection.execute(statements.LOAD, values))


def outcome_bytes(connection: sqlite3.Connection, task_ids: Iterable[str]) -> dict[str, int]:
    """Measure what tasks carry as result, failures and progress, those that carry something."""
    found = connection.execute(statements.OUTCOME_BYTES, (json.dumps(list(task_ids)),))
    return dict(found)


def detail_sizes(connection: sqlite3.Connection, task_ids: Iterable[str]) -> dict[str, Sizes]:
    """Measure tasks with all that they carry."""
    found = connection.execute(statements.DETAIL_BYTES, (json.dumps(list(task_ids)),))
    return {task_id: Sizes(*sizes) for task_id, *sizes in found}


def _row_of(columns: tuple[Any, ...]) -> Row:
    (
        seq, task_id, queue, priority, fingerprint, head_bytes, lease_ms, result_ttl_ms, retry_policy, max_lost_leases,
        create_ms, start_deadline_ms, total_deadline_ms, execution_timeout_ms, state, place, revision, update_ms,
        due_ms, attempt, failed_attempts, lost_leases, releases, delivery_count, lease_token, lease_expire_ms,
        ended_token, ended_state, expire_ms, start_ms, worker_id, result, failure, last_failure, progress, revocation,
        request,
    ) = columns  # fmt: skip
    record = TaskRecord(
        task_id=task_id,
        queue=queue,
        priority=priority,
        fingerprint=fingerprint,
        request=request,
        head_bytes=head_bytes,
        lease_ms=lease_ms,
        result_ttl_ms=result_ttl_ms,
        retry_policy=_policy_of(retry_policy),
        max_lost_leases=max_lost_leases,
        create_ms=create_ms,
        start_deadline_ms=start_deadline_ms,
        total_deadline_ms=total_deadline_ms,
        execution_timeout_ms=execution_timeout_ms,
        state=STATES[state],
        place=PLACES[place],
        revision=revision,
        update_ms=update_ms,
        due_ms=due_ms,
        attempt=attempt,
        failed_attempts=failed_attempts,
        lost_leases=lost_leases,
        releases=releases,
        delivery_count=delivery_count,
        start_ms=start_ms,
        worker_id=worker_id,
        lease_token=lease_token,
        lease_expire_ms=lease_expire_ms,
        ended_token=ended_token,
        ended_state=STATES.get(ended_state),
        result=result,
        failure=failure,
        last_failure=last_failure,
        progress=progress,
        revocation=revocation,
        expire_ms=expire_ms,
    )
    return Row(seq, record)


def changing_columns(record: TaskRecord, position: int | None, seq: int) -> tuple[object, ...]:
    """Give what UPDATE_TASK binds, with which INSERT_TASK begins."""
    return (
        STATE_TEXTS[record.state],
        PLACE_TEXTS[record.place],
        position,
        record.revision,
        record.update_ms,
        record.due_ms,
        record.attempt,
        record.failed_attempts,
        record.lost_leases,
        record.releases,
        record.delivery_count,
        record.lease_token,
        record.lease_expire_ms,
        record.ended_token,
        None if record.ended_state is None else STATE_TEXTS[record.ended_state],
        record.expire_ms,
        record.start_ms,
        record.worker_id,
        deadline_of(record),
        seq,
    )


def lasting_columns(record: TaskRecord, partition: int) -> tuple[object, ...]:
    """Give what INSERT_TASK binds after the changing columns: all that is settled by the submission."""
    return (
        record.task_id,
        partition,
        record.queue,
        record.priority,
        record.fingerprint,
        record.head_bytes,
        record.lease_ms,
        record.result_ttl_ms,
        None if record.retry_policy is None else json.dumps(asdict(record.retry_policy)),
        record.max_lost_leases,
        record.create_ms,
        record.start_deadline_ms,
        record.total_deadline_ms,
        record.execution_timeout_ms,
    )


def outcome_columns(record: TaskRecord) -> tuple[bytes | None, ...]:
    """Give what WRITE_OUTCOME binds after the row number."""
    return record.result, record.failure, record.last_failure, record.revocation, record.progress


def _policy_of(text: str | None) -> RetryPolicy | None:
    if text is None:
        return None
    fields: dict[str, Any] = json.loads(text)
    fields["non_retryable_types"] = tuple(fields["non_retryable_types"])
    return RetryPolicy(**fields)

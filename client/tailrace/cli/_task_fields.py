"""A task's record as an object of JSON. The names are the contract's; README lists them."""

import base64
from typing import Any

from tailrace.cli._moments import iso_text, moment_in, seconds_of, span_in
from tailrace.client import PayloadError, TaskState
from tailrace.client._outcome import Outcome
from tailrace.client._payload import decode_value
from tailrace.v1 import task_pb2
from tailrace.v1.task_pb2 import Failure, Payload, Progress, Task

_REASON_PREFIX = "PENDING_REASON_"
_KIND_PREFIX = "FAILURE_KIND_"
SPANS = ("start_delay", "start_within", "execution_timeout", "total_timeout", "lease_duration", "result_ttl")
MOMENTS = ("schedule_time", "start_deadline")
"""Fields of a TaskSpec, by what they hold."""


def state_of(task: Task) -> TaskState:
    """Return where a task is in its life."""
    return Outcome(task.outcome).state


def pending_reason_of(task: Task) -> str | None:
    """Return what a task waits for, by the contract's word; None when it does not wait."""
    reason = task.outcome.pending_reason
    if reason == task_pb2.PENDING_REASON_UNSPECIFIED:
        return None
    try:
        return task_pb2.PendingReason.Name(reason).removeprefix(_REASON_PREFIX)
    except ValueError:
        # A word that is newer than this program.
        return str(reason)


def basic_fields(task: Task) -> dict[str, Any]:
    """Return what a listing tells; null stands for what is not set."""
    return {
        "task_id": task.task_id,
        "task_type": task.spec.task_type,
        "queue": task.spec.queue,
        "state": state_of(task),
        "done": task.outcome.done,
        "pending_reason": pending_reason_of(task),
        "attempt": task.outcome.attempt,
        "priority": task.spec.priority,
        "labels": dict(task.spec.labels),
        "parent_task_id": task.parent_task_id or None,
        "worker_id": task.worker_id or None,
        "delivery_count": task.delivery_count,
        "revoke_requested": task.revoke_requested,
        "create_time": iso_text(moment_in(task, "create_time")),
        "start_time": iso_text(moment_in(task, "start_time")),
        "end_time": iso_text(moment_in(task, "end_time")),
        "expire_time": iso_text(moment_in(task.outcome, "expire_time")),
    }


def full_fields(task: Task) -> dict[str, Any]:
    """Return all that a record holds."""
    outcome = task.outcome
    return {
        **basic_fields(task),
        "lease_expire_time": iso_text(moment_in(task, "lease_expire_time")),
        **{name: iso_text(moment_in(task.spec, name)) for name in MOMENTS},
        **{f"{name}_s": seconds_of(span_in(task.spec, name)) for name in SPANS},
        "headers": dict(task.spec.headers),
        "progress": progress_fields(outcome.progress) if outcome.HasField("progress") else None,
        "input": payload_fields(task.spec.input) if task.spec.HasField("input") else None,
        "result": payload_fields(outcome.result) if outcome.HasField("result") else None,
        "error": failure_fields(outcome.failure) if outcome.HasField("failure") else None,
        "last_error": failure_fields(outcome.last_failure) if outcome.HasField("last_failure") else None,
    }


def payload_fields(payload: Payload) -> dict[str, Any]:
    """Return a payload with its value where it is a plain one, else with its bytes."""
    try:
        value = decode_value(payload)
    except PayloadError:
        value = payload.data
    if not isinstance(value, bytes):
        return {"content_type": payload.content_type, "value": value}
    return {
        "content_type": payload.content_type,
        "content_encoding": payload.content_encoding,
        "data_base64": base64.b64encode(payload.data).decode(),
    }


def failure_fields(failure: Failure) -> dict[str, Any]:
    """Return why a task or an attempt did not succeed."""
    return {
        "type": failure.type or None,
        "message": failure.message,
        "kind": _kind_of(failure),
        "traceback": failure.traceback or None,
    }


def progress_fields(progress: Progress) -> dict[str, Any]:
    """Return how far an attempt has come, without its checkpoint."""
    return {
        "current": progress.current,
        "total": progress.total or None,
        "message": progress.message,
        "update_time": iso_text(moment_in(progress, "update_time")),
    }


def _kind_of(failure: Failure) -> str:
    try:
        return task_pb2.FailureKind.Name(failure.kind).removeprefix(_KIND_PREFIX)
    except ValueError:
        return str(failure.kind)

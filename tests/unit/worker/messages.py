"""Messages of the worker protocol, with defaults for what a test does not care about."""

from datetime import timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration

from tailrace.client._payload import encode_arguments
from tailrace.v1 import task_pb2
from tailrace.v1 import worker_service_pb2 as wire
from tailrace.worker._leases import LeaseKey


def a_key(number: int = 1) -> LeaseKey:
    return LeaseKey(f"task-{number}", f"token-{number}".encode())


def an_assignment(
    number: int = 1,
    *,
    task_type: str = "add",
    args: tuple[Any, ...] = (),
    kwargs: dict[str, Any] | None = None,
    spec: task_pb2.TaskSpec | None = None,
    start_timeout_s: float = 10,
    lease_s: float = 30,
    attempt: int = 1,
    parent_task_id: str = "",
) -> wire.Assignment:
    return wire.Assignment(
        lease=a_key(number).to_wire(),
        spec=spec or task_pb2.TaskSpec(task_type=task_type, input=encode_arguments(args, kwargs or {})),
        attempt=attempt,
        start_timeout=a_duration(start_timeout_s),
        lease_duration=a_duration(lease_s),
        parent_task_id=parent_task_id,
    )


def assignments(*items: wire.Assignment) -> wire.WorkResponse:
    return wire.WorkResponse(assignments=wire.Assignments(assignments=items))


def a_success(number: int = 1, data: bytes = b"1") -> wire.AttemptResult:
    payload = task_pb2.Payload(content_type="application/json", data=data)
    return wire.AttemptResult(lease=a_key(number).to_wire(), success=payload)


def a_welcome(**fields: Any) -> wire.Welcome:
    defaults: dict[str, Any] = {
        "protocol_version": 1,
        "session_id": "session-1",
        "heartbeat_interval": a_duration(10),
        "session_timeout": a_duration(50),
        "max_frame_bytes": 16 * 1024 * 1024,
    }
    return wire.Welcome(**(defaults | fields))


def a_status(number: int = 1, *, held: bool, error: task_pb2.ItemError | None = None) -> wire.LeaseStatus:
    return wire.LeaseStatus(
        task_id=a_key(number).task_id, lease_token=a_key(number).lease_token, held=held, error=error
    )


def to_stop(number: int = 1) -> wire.LeaseStatus:
    key = a_key(number)
    return wire.LeaseStatus(
        task_id=key.task_id, lease_token=key.lease_token, held=True, revoke_requested=True, revoke_reason="why"
    )


def statuses(*items: wire.LeaseStatus) -> wire.WorkResponse:
    return wire.WorkResponse(lease_statuses=wire.LeaseStatuses(statuses=items))


def result_acks(*numbers: int, error: task_pb2.ItemError | None = None) -> wire.WorkResponse:
    acks = [
        wire.AttemptResultAck(task_id=a_key(number).task_id, lease_token=a_key(number).lease_token, error=error)
        for number in numbers
    ]
    return wire.WorkResponse(result_acks=wire.AttemptResultAcks(acks=acks))


def release_acks(*numbers: int, error: task_pb2.ItemError | None = None) -> wire.WorkResponse:
    items = [
        wire.ReleaseItem(task_id=a_key(number).task_id, lease_token=a_key(number).lease_token, error=error)
        for number in numbers
    ]
    return wire.WorkResponse(release_acks=wire.LeaseReleaseAcks(items=items))


def unavailable() -> task_pb2.ItemError:
    return task_pb2.ItemError(code=14, reason="STORE_UNAVAILABLE", message="the store did not answer")


def lease_lost() -> task_pb2.ItemError:
    return task_pb2.ItemError(code=10, reason="LEASE_LOST", message="not the current token")


def a_duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromTimedelta(timedelta(seconds=seconds))
    return duration

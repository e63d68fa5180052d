"""Requests with everything filled in that a test does not care about."""

from google.protobuf.duration_pb2 import Duration

from tailrace.v1 import task_pb2, worker_service_pb2
from tailrace.v1.task_service_pb2 import SubmitRequest

TOKEN = b"\0\0\0\x01noncenon"
KIB = 1 << 10
MIB = 1 << 20
DAY_S = 86_400


def a_payload(data: bytes = b"[1, 2]", *, content_type: str = "application/json") -> task_pb2.Payload:
    return task_pb2.Payload(content_type=content_type, data=data)


def a_submit(task_id: str = "task-1", *, data: bytes = b"[1, 2]") -> SubmitRequest:
    return SubmitRequest(task_id=task_id, spec=task_pb2.TaskSpec(task_type="add", input=a_payload(data)))


def a_lease(task_id: str = "task-1", lease_token: bytes = TOKEN) -> worker_service_pb2.LeaseRef:
    return worker_service_pb2.LeaseRef(task_id=task_id, lease_token=lease_token)


def a_success(data: bytes = b"3", *, content_type: str = "application/json") -> worker_service_pb2.AttemptResult:
    return worker_service_pb2.AttemptResult(lease=a_lease(), success=a_payload(data, content_type=content_type))


def a_failure(
    kind: "task_pb2.FailureKind.ValueType" = task_pb2.FAILURE_KIND_APPLICATION,
    *,
    failure_type: str = "ValueError",
    message: str = "it broke",
) -> worker_service_pb2.AttemptResult:
    failure = task_pb2.Failure(kind=kind, type=failure_type, message=message)
    return worker_service_pb2.AttemptResult(lease=a_lease(), failure=failure)


def seconds(value: float) -> Duration:
    whole = int(value)
    return Duration(seconds=whole, nanos=round((value - whole) * 1_000_000_000))

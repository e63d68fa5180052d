"""The failures that the server itself writes into a task's record."""

from tailrace.server.domain.deadline import DeadlineFailures
from tailrace.server.domain.lease import EXECUTION_TIMEOUT_TYPE
from tailrace.v1 import task_pb2

LEASE_EXPIRED = task_pb2.Failure(
    kind=task_pb2.FAILURE_KIND_LEASE_EXPIRED,
    type="LeaseExpired",
    message="the worker stopped extending its lease",
    source="tailrace-server",
).SerializeToString()

RELEASED_TOO_OFTEN = task_pb2.Failure(
    kind=task_pb2.FAILURE_KIND_LEASE_EXPIRED,
    type="LeaseExpired",
    message="workers gave the task back a hundred times in a row",
    source="tailrace-server",
).SerializeToString()

DEADLINES = DeadlineFailures(
    start=task_pb2.Failure(
        kind=task_pb2.FAILURE_KIND_TIMEOUT,
        type="StartDeadlineExceeded",
        message="no attempt had started by the start deadline",
        source="tailrace-server",
    ).SerializeToString(),
    execution=task_pb2.Failure(
        kind=task_pb2.FAILURE_KIND_TIMEOUT,
        type=EXECUTION_TIMEOUT_TYPE,
        message="the attempt ran longer than execution_timeout, and the worker did not end it",
        source="tailrace-server",
    ).SerializeToString(),
    total=task_pb2.Failure(
        kind=task_pb2.FAILURE_KIND_TIMEOUT,
        type="TotalTimeout",
        message="the task was not done within total_timeout",
        source="tailrace-server",
    ).SerializeToString(),
)

PURGED = "purged from its queue by an operator"


def revoked(reason: str) -> bytes:
    """Build the failure of a task that ends because somebody asked for it; ``reason`` is theirs, or the worker's."""
    return task_pb2.Failure(
        kind=task_pb2.FAILURE_KIND_REVOKED, type="Revoked", message=reason, source="tailrace-server"
    ).SerializeToString()


def reason_of(revocation: bytes) -> str:
    """Tell the reason that ``revoked`` was given."""
    return task_pb2.Failure.FromString(revocation).message

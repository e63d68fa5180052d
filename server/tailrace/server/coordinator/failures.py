"""The failures that the server itself writes into a task's record."""

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


def revoked(reason: str) -> bytes:
    """Build the failure of a task that ends because somebody asked for it; ``reason`` is theirs, or the worker's."""
    return task_pb2.Failure(
        kind=task_pb2.FAILURE_KIND_REVOKED, type="Revoked", message=reason, source="tailrace-server"
    ).SerializeToString()


def reason_of(revocation: bytes) -> str:
    """Tell the reason that ``revoked`` was given."""
    return task_pb2.Failure.FromString(revocation).message

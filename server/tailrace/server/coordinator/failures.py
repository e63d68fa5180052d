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

"""A worker whose every move the test makes."""

import json
from typing import Any

import grpc

from tailrace.v1 import task_pb2
from tailrace.v1.worker_service_pb2 import (
    Assignment,
    AttemptResult,
    HeartbeatRequest,
    LeaseBeat,
    LeaseTasksRequest,
    RevokedOutcome,
    StoreResultRequest,
    WorkerInfo,
)
from tailrace.v1.worker_service_pb2_grpc import WorkerServiceStub

CALL_S = 20.0
TRACEBACK = 'Traceback (most recent call last):\n  File "tasks.py", line 7, in work\nValueError: no\n'


class HandWorker:
    """Takes tasks and ends them, one call at a time."""

    def __init__(self, address: str, queue: str = "default") -> None:
        self._channel = grpc.insecure_channel(address)
        self._stub = WorkerServiceStub(self._channel)
        self._info = WorkerInfo(worker_id="by-hand", queues=[queue])

    def close(self) -> None:
        self._channel.close()

    def take(self) -> Assignment:
        """Lease the next task and confirm its start; it must come within ten seconds."""
        request = LeaseTasksRequest(worker=self._info, max_tasks=1)
        request.wait_timeout.FromSeconds(10)
        (assignment,) = self._stub.LeaseTasks(request, timeout=CALL_S).assignments
        beat = HeartbeatRequest(worker_id=self._info.worker_id, beats=[LeaseBeat(lease=assignment.lease)])
        (status,) = self._stub.Heartbeat(beat, timeout=CALL_S).leases
        assert status.held
        return assignment

    def say_progress(self, assignment: Assignment, progress: task_pb2.Progress) -> None:
        """Say how far a task has come."""
        beat = LeaseBeat(lease=assignment.lease, progress=progress)
        request = HeartbeatRequest(worker_id=self._info.worker_id, beats=[beat])
        (status,) = self._stub.Heartbeat(request, timeout=CALL_S).leases
        assert status.held

    def succeed(self, assignment: Assignment, value: Any) -> None:
        """End a task with a value, as JSON."""
        payload = task_pb2.Payload(content_type="application/json", data=json.dumps(value).encode())
        self._store(AttemptResult(lease=assignment.lease, success=payload))

    def succeed_with(self, assignment: Assignment, payload: task_pb2.Payload) -> None:
        """End a task with any payload."""
        self._store(AttemptResult(lease=assignment.lease, success=payload))

    def fail(self, assignment: Assignment, **fields: Any) -> None:
        """End an attempt with a failure of the task's own code."""
        defaults = {"type": "ValueError", "message": "no", "traceback": TRACEBACK}
        failure = task_pb2.Failure(kind=task_pb2.FAILURE_KIND_APPLICATION, **{**defaults, **fields})
        self._store(AttemptResult(lease=assignment.lease, failure=failure))

    def revoke(self, assignment: Assignment, message: str) -> None:
        """End a task as revoked."""
        self._store(AttemptResult(lease=assignment.lease, revoked=RevokedOutcome(message=message)))

    def work_through(self, count: int) -> None:
        """Square the only argument of so many tasks."""
        for _ in range(count):
            assignment = self.take()
            (number,) = arguments_of(assignment)["args"]
            self.succeed(assignment, number * number)

    def _store(self, result: AttemptResult) -> None:
        self._stub.StoreResult(StoreResultRequest(result=result), timeout=CALL_S)


def arguments_of(assignment: Assignment) -> dict[str, Any]:
    """Read the arguments as any language would."""
    arguments: dict[str, Any] = json.loads(assignment.spec.input.data)
    return arguments

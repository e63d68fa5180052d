"""Workers made of generated stubs alone: they know every token they were given and every answer they got."""

import json
import threading
from collections.abc import Sequence
from typing import Self

import grpc

from tailrace.v1 import task_pb2
from tailrace.v1 import worker_service_pb2 as pb
from tailrace.v1.worker_service_pb2_grpc import WorkerServiceStub

CALL_S = 10.0
PAUSE_S = 0.1
JSON = "application/json"


def reason_of(error: grpc.RpcError) -> str:
    """Return the reason that the server gives for a refusal; empty where it gave none."""
    assert isinstance(error, grpc.Call)
    return str(dict(error.trailing_metadata() or ()).get("tailrace-reason", ""))


def success(lease: pb.LeaseRef, value: object) -> pb.AttemptResult:
    """Say that an attempt returned a value."""
    data = json.dumps(value).encode()
    return pb.AttemptResult(lease=lease, success=task_pb2.Payload(content_type=JSON, data=data))


def lease_request(
    worker_id: str, queue: str, *, max_tasks: int = 1, wait_s: int = 0, start_immediately: bool = False
) -> pb.LeaseTasksRequest:
    """Ask for tasks of one queue."""
    request = pb.LeaseTasksRequest(
        worker=pb.WorkerInfo(worker_id=worker_id, queues=[queue]),
        max_tasks=max_tasks,
        start_immediately=start_immediately,
    )
    request.wait_timeout.FromSeconds(wait_s)
    return request


class RawWorker:
    """Squares numbers on a thread of its own until its block ends, whatever happens to the server meanwhile."""

    def __init__(self, address: str, queue: str) -> None:
        self.accepted: dict[str, str] = {}
        """Task id and execution id of every result that the server said it had stored."""
        self.executions: dict[str, str] = {}
        """Execution id and task id of everything it ran, whatever became of the result."""
        self._channel = grpc.insecure_channel(address, options=[("grpc.max_reconnect_backoff_ms", 500)])
        self._stub = WorkerServiceStub(self._channel)
        self._queue = queue
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="raw-worker", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join(3 * CALL_S)
        self._channel.close()
        assert not self._thread.is_alive(), "the raw worker did not end"

    def _run(self) -> None:
        while not self._is_over.is_set():
            for assignment in self._lease():
                self._work(assignment)

    def _lease(self) -> Sequence[pb.Assignment]:
        request = lease_request("raw", self._queue, max_tasks=5, wait_s=1, start_immediately=True)
        try:
            return self._stub.LeaseTasks(request, timeout=CALL_S).assignments
        except grpc.RpcError:
            # Nothing is known of what was leased; it comes back when its lease is over.
            self._is_over.wait(PAUSE_S)
            return ()

    def _work(self, assignment: pb.Assignment) -> None:
        (number,) = json.loads(assignment.spec.input.data)["args"]
        task_id = assignment.lease.task_id
        execution_id = f"raw-{task_id}-{assignment.lease.lease_token.hex()}"
        self.executions[execution_id] = task_id
        result = success(assignment.lease, {"value": number * number, "execution_id": execution_id})
        if self._store(result):
            self.accepted[task_id] = execution_id

    def _store(self, result: pb.AttemptResult) -> bool:
        """Repeat a result until its fate is known: True for stored, False for refused, or for a test that is over."""
        while not self._is_over.is_set():
            try:
                self._stub.StoreResult(pb.StoreResultRequest(result=result), timeout=CALL_S)
            except grpc.RpcError as error:
                if reason_of(error) == "LEASE_LOST":
                    return False
                self._is_over.wait(PAUSE_S)
            else:
                return True
        return False

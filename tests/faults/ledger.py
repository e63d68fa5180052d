"""What the server said of tasks in the course of a test, and whether it ever took anything back."""

import json
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, cast

import grpc

from tailrace.v1 import task_pb2
from tailrace.v1 import task_service_pb2 as pb
from tailrace.v1.task_service_pb2_grpc import TaskServiceStub
from tests.faults.journal import Execution
from tests.faults.tasks import Square

if TYPE_CHECKING:
    from collections.abc import Mapping

READ_S = 20.0
PAGE = 1000
PENDING_REVISION = 1


class Ledger:
    """Remembers every outcome that was read. An end is an end: no later reading may differ from it."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._latest: dict[str, task_pb2.TaskResult] = {}

    def read(self, task_ids: Sequence[str]) -> int:
        """Read the outcomes of tasks, each of which must exist, and return how many of them are done."""
        with grpc.insecure_channel(self._address) as channel:
            stub = TaskServiceStub(channel)
            for begin in range(0, len(task_ids), PAGE):
                self._read_page(stub, task_ids[begin : begin + PAGE])
        return sum(self._latest[task_id].done for task_id in task_ids)

    def square(self, task_id: str) -> Square:
        """Return what a task is known to have returned."""
        outcome = self._latest[task_id]
        assert outcome.state == task_pb2.TASK_STATE_SUCCESS, f"{task_id} ended otherwise: {outcome}"
        return cast("Square", json.loads(outcome.result.data))

    def check_executions(self, executions: Iterable[Execution], others: "Mapping[str, str]") -> None:
        """Check that each result was told by an execution of that very task, in the attempt that is said to be it.

        Args:
            executions: What the workers wrote down.
            others: Executions without a journal: execution id to task id.
        """
        journal = {execution.execution_id: execution for execution in executions}
        for task_id, outcome in self._latest.items():
            execution_id = self.square(task_id)["execution_id"]
            if execution_id in others:
                assert others[execution_id] == task_id
            else:
                execution = journal[execution_id]
                assert (execution.task_id, execution.attempt) == (task_id, outcome.attempt)
            # Every attempt has changed the revision by its start, and the last one by its end.
            assert outcome.revision >= PENDING_REVISION + outcome.attempt + 1

    def _read_page(self, stub: TaskServiceStub, task_ids: Sequence[str]) -> None:
        asked, deadline = list(task_ids), time.monotonic() + READ_S
        while asked:
            # The connection may be one that the server's end has not reached yet.
            request = pb.BatchGetResultsRequest(task_ids=asked)
            response = stub.BatchGetResults(request, timeout=READ_S, wait_for_ready=True)
            asked = list(response.remaining_task_ids)
            for item in response.items:
                if item.error.reason == "STORE_UNAVAILABLE" and time.monotonic() < deadline:
                    asked.append(item.task_id)
                    continue
                assert item.HasField("task"), f"the server does not know an accepted task: {item}"
                self._note(item.task)

    def _note(self, outcome: task_pb2.TaskResult) -> None:
        known = self._latest.get(outcome.task_id)
        if known is not None:
            assert outcome.revision >= known.revision, f"went back from {known} to {outcome}"
            assert not known.done or _end(outcome) == _end(known), f"an end was changed, from {known} to {outcome}"
        self._latest[outcome.task_id] = outcome


def _end(outcome: task_pb2.TaskResult) -> tuple[object, ...]:
    failure = outcome.failure.SerializeToString(deterministic=True)
    return (outcome.done, outcome.state, outcome.revision, outcome.attempt, outcome.result.data, failure)

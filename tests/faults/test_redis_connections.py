"""Two servers on one Redis: what one of them does, those who wait at the other are told."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from tailrace.v1 import task_pb2
from tailrace.v1 import task_service_pb2 as tasks_pb
from tailrace.v1 import worker_service_pb2 as pb
from tailrace.v1.task_service_pb2_grpc import TaskServiceStub
from tailrace.v1.worker_service_pb2_grpc import WorkerServiceStub
from tests.faults.processes import Processes, ServerProcess
from tests.faults.raw_worker import lease_request, success
from tests.redis_server import RedisServer

CALL_S = 30.0
TOLD_WITHIN_S = 1.0
TOLD_WITHOUT_NOTICE_WITHIN_S = 10.0


class Waiter:
    """A WaitFor stream at one server that has heard of all its targets."""

    def __init__(self, channel: grpc.Channel, task_ids: list[str]) -> None:
        targets = [tasks_pb.WaitTarget(task_id=task_id) for task_id in task_ids]
        request = tasks_pb.WaitForRequest(targets=targets, done_only=True)
        self._stream = TaskServiceStub(channel).WaitFor(request, timeout=CALL_S)
        while not next(self._stream).snapshot_complete:
            pass

    def values(self) -> dict[str, bytes]:
        """Wait until every target is done, and return what each of them returned."""
        return {task.task_id: task.result.data for response in self._stream for task in response.tasks}


def test_completion_at_one_server_is_told_at_the_other_at_once(processes: Processes, redis: RedisServer) -> None:
    here, there = (processes.server(redis.url) for _ in range(2))
    with _channel(here) as channel_here, _channel(there) as channel_there:
        task_id = _submit(channel_here)
        waiter = Waiter(channel_here, [task_id])
        assignment = _lease(channel_there)

        completed_at = time.monotonic()
        _complete(channel_there, assignment)
        values = waiter.values()
        told_s = time.monotonic() - completed_at

    assert values == {task_id: b'"done"'}
    assert told_s < TOLD_WITHIN_S


def test_completion_that_a_server_could_not_hear_of_is_told_soon(processes: Processes, redis: RedisServer) -> None:
    here, there = (processes.server(redis.url) for _ in range(2))
    with _channel(here) as channel_here, _channel(there) as channel_there:
        task_id = _submit(channel_here)
        waiter = Waiter(channel_here, [task_id])
        assignment = _lease(channel_there)
        here.process.freeze()
        killed = redis.command("CLIENT", "KILL", "TYPE", "pubsub")
        _complete(channel_there, assignment)

        here.process.thaw()
        thawed_at = time.monotonic()
        values = waiter.values()
        told_s = time.monotonic() - thawed_at

    assert killed == ":2"
    assert values == {task_id: b'"done"'}
    assert told_s < TOLD_WITHOUT_NOTICE_WITHIN_S


@contextmanager
def _channel(server: ServerProcess) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.address) as channel:
        yield channel


def _submit(channel: grpc.Channel) -> str:
    request = tasks_pb.SubmitRequest(spec=task_pb2.TaskSpec(task_type="told"))
    return TaskServiceStub(channel).Submit(request, timeout=CALL_S).task.task_id


def _lease(channel: grpc.Channel) -> pb.Assignment:
    request = lease_request("there", "default", wait_s=10, start_immediately=True)
    (assignment,) = WorkerServiceStub(channel).LeaseTasks(request, timeout=CALL_S).assignments
    return assignment


def _complete(channel: grpc.Channel, assignment: pb.Assignment) -> None:
    request = pb.StoreResultRequest(result=success(assignment.lease, "done"))
    answer = WorkerServiceStub(channel).StoreResult(request, timeout=CALL_S)
    assert answer.state == task_pb2.TASK_STATE_SUCCESS

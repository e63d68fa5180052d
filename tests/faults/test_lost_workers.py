"""Workers that die, sleep too long or are killed by what they run."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import grpc
import pytest

from tailrace.client import Client, TaskFailedError, TaskState
from tailrace.v1 import task_pb2
from tailrace.v1 import task_service_pb2 as tasks_pb
from tailrace.v1 import worker_service_pb2 as pb
from tailrace.v1.task_service_pb2_grpc import TaskServiceStub
from tailrace.v1.worker_service_pb2_grpc import WorkerServiceStub
from tests.faults import journal
from tests.faults.gates import Gate
from tests.faults.processes import Processes, ServerProcess
from tests.faults.raw_worker import lease_request, reason_of, success

LEASE = timedelta(seconds=2)
HANDED_ON_WITHIN_S = LEASE.total_seconds() + 2
MAX_LOST_LEASES = 3
CALL_S = 20.0


@pytest.fixture
def server(processes: Processes, store_url: str) -> ServerProcess:
    return processes.server(store_url)


@pytest.fixture
def client(server: ServerProcess) -> Iterator[Client]:
    with Client(server.address) as client:
        yield client


def test_another_worker_finishes_the_task_of_one_that_was_killed(
    processes: Processes, server: ServerProcess, client: Client
) -> None:
    with Gate(processes.directory, "work-1"):
        victim = processes.worker(server.address)
        result = client.options(lease_duration=LEASE).submit("linger", "work")
        victim.wait_for_line("execution_began: attempt 1")
        heir = processes.worker(server.address)

        killed_at = time.monotonic()
        victim.kill()
        execution_id = result.get(timeout=CALL_S)
        took_s = time.monotonic() - killed_at

    assert took_s < HANDED_ON_WITHIN_S
    executions = {execution.execution_id: execution for execution in journal.executions(processes.directory)}
    assert (executions[execution_id].pid, executions[execution_id].attempt, len(executions)) == (heir.pid, 2, 2)


def test_late_result_of_a_worker_that_overslept_is_refused_while_the_next_one_runs(
    processes: Processes, server: ServerProcess, client: Client
) -> None:
    with Gate(processes.directory, "work-1") as first_gate, Gate(processes.directory, "work-2") as second_gate:
        # One task at a time, so that the task cannot be handed back to the sleeper.
        sleeper = processes.worker(server.address, concurrency=1)
        result = client.options(lease_duration=LEASE).submit("linger", "work")
        sleeper.wait_for_line("execution_began: attempt 1")
        sleeper.freeze()
        heir = processes.worker(server.address)
        heir.wait_for_line("execution_began: attempt 2")

        first_gate.open()
        sleeper.thaw()
        sleeper.wait_for_line("execution_ended: attempt 1")
        sleeper.wait_for_line("lease_lost", result.id)
        state_after_late_result = result.state
        second_gate.open()
        execution_id = result.get(timeout=CALL_S)

    assert state_after_late_result is TaskState.STARTED
    by_pid = {execution.pid: execution.execution_id for execution in journal.executions(processes.directory)}
    assert execution_id == by_pid[heir.pid] != by_pid[sleeper.pid]


def test_lost_token_is_refused_before_during_and_after_the_next_holder(server: ServerProcess) -> None:
    with grpc.insecure_channel(server.address) as channel:
        tasks, workers = TaskServiceStub(channel), WorkerServiceStub(channel)
        submitted = _submit(tasks, "contested")
        lost = _lease(workers, "first")
        _wait_until_lost(tasks, submitted.task_id)

        before = _refusal(workers, lost)
        current = _lease(workers, "second")
        during = _refusal(workers, lost)
        held = _held(workers, lost, current)
        ended = workers.StoreResult(pb.StoreResultRequest(result=success(current.lease, "second")), timeout=CALL_S)
        repeated = workers.StoreResult(pb.StoreResultRequest(result=success(current.lease, "second")), timeout=CALL_S)
        after = _refusal(workers, lost)
        final = tasks.GetResult(tasks_pb.GetResultRequest(task_id=submitted.task_id), timeout=CALL_S).task

    assert (before, during, after) == ("LEASE_LOST",) * 3
    assert held == [False, True]
    assert (ended.state, ended.duplicate, repeated.duplicate) == (task_pb2.TASK_STATE_SUCCESS, False, True)
    assert (final.result.data, final.attempt) == (b'"second"', 2)


def test_task_that_kills_its_workers_fails_after_the_third(
    processes: Processes, server: ServerProcess, client: Client
) -> None:
    deadly = client.options(lease_duration=LEASE).submit("kill_worker")
    harmless = client.options(delay=timedelta(seconds=1)).submit("square", 7)

    with ThreadPoolExecutor(max_workers=1) as supervisor:
        wait = supervisor.submit(deadly.wait, 60)
        exit_codes = [processes.worker(server.address, is_awaited=False).wait(CALL_S) for _ in range(MAX_LOST_LEASES)]
        processes.worker(server.address)
        state = wait.result()

    assert (exit_codes, state) == ([1] * MAX_LOST_LEASES, TaskState.FAILURE)
    with pytest.raises(TaskFailedError) as failure:
        deadly.get(timeout=CALL_S)
    assert failure.value.kind == "LEASE_EXPIRED"
    assert harmless.get(timeout=CALL_S)["value"] == 49
    deaths = [each for each in journal.executions(processes.directory) if each.task_id == deadly.id]
    assert sorted(each.attempt for each in deaths) == [1, 2, 3]
    assert len({each.pid for each in deaths}) == MAX_LOST_LEASES


def _submit(tasks: TaskServiceStub, queue: str) -> task_pb2.TaskResult:
    spec = task_pb2.TaskSpec(task_type="contested", queue=queue)
    spec.lease_duration.FromTimedelta(LEASE)
    return tasks.Submit(tasks_pb.SubmitRequest(spec=spec), timeout=CALL_S).task


def _lease(workers: WorkerServiceStub, worker_id: str) -> pb.Assignment:
    request = lease_request(worker_id, "contested", wait_s=10, start_immediately=True)
    (assignment,) = workers.LeaseTasks(request, timeout=CALL_S).assignments
    return assignment


def _wait_until_lost(tasks: TaskServiceStub, task_id: str) -> None:
    task = tasks.GetResult(tasks_pb.GetResultRequest(task_id=task_id), timeout=CALL_S).task
    while task.state != task_pb2.TASK_STATE_RETRY:
        assert task.state == task_pb2.TASK_STATE_STARTED
        request = tasks_pb.GetResultRequest(task_id=task_id, after_revision=task.revision)
        request.wait_timeout.FromSeconds(10)
        task = tasks.GetResult(request, timeout=CALL_S).task


def _refusal(workers: WorkerServiceStub, assignment: pb.Assignment) -> str:
    with pytest.raises(grpc.RpcError) as refused:
        workers.StoreResult(pb.StoreResultRequest(result=success(assignment.lease, "first")), timeout=CALL_S)
    return reason_of(refused.value)


def _held(workers: WorkerServiceStub, *assignments: pb.Assignment) -> list[bool]:
    beats = [pb.LeaseBeat(lease=assignment.lease) for assignment in assignments]
    response = workers.Heartbeat(pb.HeartbeatRequest(worker_id="observer", beats=beats), timeout=CALL_S)
    return [status.held for status in response.leases]

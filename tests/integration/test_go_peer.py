"""A stranger keeps the contract honest: a client and a worker in Go, made from proto/ and Go's gRPC library alone."""

import shutil
from collections.abc import Iterator
from datetime import timedelta

import grpc
import pytest

from tailrace.client import Client, TaskFailedError, TaskRevokedError
from tailrace.v1 import task_pb2, task_service_pb2, task_service_pb2_grpc
from tests.faults.processes import Processes
from tests.integration.go_programs import GoPrograms, build_go_programs

if shutil.which("go") is None:
    pytest.skip("no go on PATH: the client and the worker in Go were not run", allow_module_level=True)

pytestmark = [pytest.mark.go, pytest.mark.timeout(400)]
WITHIN_S = 20.0


@pytest.fixture(scope="session")
def go(tmp_path_factory: pytest.TempPathFactory) -> GoPrograms:
    return build_go_programs(tmp_path_factory.mktemp("go"))


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    processes = Processes(tmp_path_factory.mktemp("processes"))
    yield processes
    processes.close()


@pytest.fixture(scope="module")
def address(go: GoPrograms, processes: Processes) -> Iterator[str]:
    """The address of a server with two workers: one in Go on queue "go", one in Python on queue "python"."""
    server = processes.server(f"sqlite:///{processes.directory}/tailrace.db")
    command = ["-m", "tailrace.worker", "tests.integration.peer_tasks:worker", "--address", server.address]
    processes.python("worker", *command)
    with go.worker(server.address, "go"):
        yield server.address


@pytest.fixture
def client(address: str) -> Iterator[Client]:
    with Client(address) as client:
        yield client


@pytest.mark.parametrize("queue", ["go", "python"])
def test_go_client_gets_a_result_from_either_worker(go: GoPrograms, address: str, queue: str) -> None:
    ended = go.run_client(address, "-queue", queue, "add", "10", "20")

    assert (ended.returncode, ended.stdout.splitlines()[-1]) == (0, "30"), ended.stderr


@pytest.mark.parametrize("queue", ["go", "python"])
def test_go_client_is_told_why_a_task_failed(go: GoPrograms, address: str, queue: str) -> None:
    ended = go.run_client(address, "-queue", queue, "fail", "Something went wrong!")

    assert ended.returncode == 1
    assert ended.stdout.split()[-1] == "FAILURE"
    assert "ValueError: Something went wrong!" in ended.stderr


def test_go_client_shows_the_lines_of_the_python_worker(go: GoPrograms, address: str) -> None:
    ended = go.run_client(address, "-queue", "python", "fail", "Something went wrong!")

    assert "raise ValueError(message)" in ended.stderr


def test_go_client_reads_the_reason_of_a_refusal(go: GoPrograms, address: str) -> None:
    first = go.run_client(address, "-queue", "go", "-id", "taken", "add", "1", "2")
    again = go.run_client(address, "-queue", "go", "-id", "taken", "add", "1", "2")
    other = go.run_client(address, "-queue", "go", "-id", "taken", "add", "3", "4")

    assert (first.returncode, again.returncode) == (0, 0)
    assert first.stdout == again.stdout
    assert other.returncode == 2
    assert "tailrace-reason [TASK_ID_CONFLICT]" in other.stderr


def test_go_client_is_refused_a_malformed_id(go: GoPrograms, address: str) -> None:
    ended = go.run_client(address, "-id", "{not an id}", "add", "1", "2")

    assert ended.returncode == 2
    assert "tailrace-reason [INVALID_REQUEST]" in ended.stderr


def test_python_client_gets_what_the_go_worker_returned(client: Client) -> None:
    assert client.options(queue="go").submit("add", 10, 20).get(timeout=WITHIN_S) == 30


def test_python_client_gets_many_results_of_the_go_worker(client: Client) -> None:
    results = client.options(queue="go").map("add", [(number, number) for number in range(200)])

    assert [result.get(timeout=WITHIN_S) for result in results] == [2 * number for number in range(200)]


def test_python_client_raises_what_the_go_worker_reported(client: Client) -> None:
    result = client.options(queue="go").submit("fail", "Something went wrong!")

    with pytest.raises(ValueError, match="Something went wrong!") as raised:
        result.get(timeout=WITHIN_S)
    assert isinstance(raised.value.__cause__, TaskFailedError)
    assert result.failed()


def test_go_worker_keeps_a_lease_that_is_shorter_than_the_task(client: Client, address: str) -> None:
    result = client.options(queue="go", lease_duration=timedelta(seconds=2)).submit("sleep", 3.5)

    assert result.get(timeout=WITHIN_S) == 3.5
    assert attempts_of(result.id, address) == 1


def test_go_worker_stops_a_task_that_is_revoked(client: Client, address: str) -> None:
    result = client.options(queue="go").submit("sleep", 60)
    wait_for_start(result.id, address)

    result.revoke()

    with pytest.raises(TaskRevokedError):
        result.get(timeout=WITHIN_S)


def test_go_worker_ends_an_attempt_that_runs_too_long(client: Client, address: str) -> None:
    spec = task_pb2.TaskSpec(task_type="sleep", queue="go")
    spec.input.content_type, spec.input.data = "application/json", b'{"args": [60], "kwargs": {}}'
    spec.execution_timeout.FromTimedelta(timedelta(seconds=1))
    with grpc.insecure_channel(address) as channel:
        stub = task_service_pb2_grpc.TaskServiceStub(channel)
        task_id = stub.Submit(task_service_pb2.SubmitRequest(spec=spec), timeout=10).task.task_id

    with pytest.raises(TaskFailedError, match="execution_timeout is over"):
        client.result(task_id).get(timeout=WITHIN_S)


def test_go_worker_finishes_its_task_before_it_stops(go: GoPrograms, client: Client, address: str) -> None:
    with go.worker(address, "stopping") as worker:
        result = client.options(queue="stopping").submit("sleep", 2)
        wait_for_start(result.id, address)
        worker.ask_to_stop()
        exit_code = worker.wait()

    assert exit_code == 0
    assert result.get(timeout=WITHIN_S) == 2
    assert attempts_of(result.id, address) == 1


def test_go_worker_keeps_its_task_through_a_crash_of_the_server(go: GoPrograms, processes: Processes) -> None:
    server = processes.server(f"sqlite:///{processes.directory}/crashing.db", name="crashing")
    with go.worker(server.address, "go") as worker, Client(server.address) as client:
        result = client.options(queue="go").submit("sleep", 3)
        wait_for_start(result.id, server.address)
        server.process.kill()
        worker.wait_for_line("coming back with 1 tasks in hand")
        server.start()

        assert result.get(timeout=WITHIN_S) == 3
        assert attempts_of(result.id, server.address) == 1


def wait_for_start(task_id: str, address: str) -> None:
    """Return once a worker has begun the task: a long poll for a revision after the first."""
    request = task_service_pb2.GetResultRequest(task_id=task_id, after_revision=1)
    request.wait_timeout.FromTimedelta(timedelta(seconds=WITHIN_S))
    with grpc.insecure_channel(address) as channel:
        stub = task_service_pb2_grpc.TaskServiceStub(channel)
        assert stub.GetResult(request, timeout=WITHIN_S + 5).task.revision > 1


def attempts_of(task_id: str, address: str) -> int:
    with grpc.insecure_channel(address) as channel:
        stub = task_service_pb2_grpc.TaskServiceStub(channel)
        return stub.GetResult(task_service_pb2.GetResultRequest(task_id=task_id), timeout=10).task.attempt

"""Workers and a real server: what tasks come to, and what becomes of them when one side goes away."""

import asyncio
import itertools
import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tailrace.client import Client, RetryPolicy, TaskFailedError, TaskState
from tailrace.testing import run_server
from tailrace.worker import RetryLater, Worker, current_task

WITHIN_S = 20.0


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with run_server() as server:
        yield server.address


@pytest.fixture
def client(address: str) -> Iterator[Client]:
    with Client(address) as client:
        yield client


@pytest.fixture
def queue(request: pytest.FixtureRequest) -> str:
    """A queue of the test's own on the server that all share."""
    return str(request.node.name).translate(str.maketrans("[]", "__"))[:64].rstrip("_")


def add(x: int, y: int) -> int:
    return x + y


async def add_later(x: int, y: int) -> int:
    return x + y


@pytest.mark.parametrize("function", [add, add_later])
def test_task_runs_on_either_executor(client: Client, address: str, queue: str, function: object) -> None:
    worker = Worker([queue])
    task = worker.task(queue=queue)(add if function is add else add_later)

    with worker.running(address):
        result = client.submit(task, 10, 20)

        assert result.get(timeout=WITHIN_S) == 30


def test_none_comes_back_as_none(client: Client, address: str, queue: str) -> None:
    worker = Worker([queue])
    task = worker.task(name="nothing", queue=queue)(lambda: None)

    with worker.running(address):
        assert client.submit(task).get(timeout=WITHIN_S) is None


def test_failure_comes_back_as_itself_with_the_workers_lines(client: Client, address: str, queue: str) -> None:
    worker = Worker([queue])

    @worker.task(queue=queue)
    def fail_sometimes() -> None:
        raise ValueError("Something went wrong!")

    with worker.running(address):
        result = client.submit(fail_sometimes)
        with pytest.raises(ValueError, match="Something went wrong!"):
            result.get(timeout=WITHIN_S)

    assert result.failed()
    assert result.traceback is not None
    assert 'raise ValueError("Something went wrong!")' in result.traceback
    assert "tailrace/worker" not in result.traceback


def test_retry_policy_of_the_task_decides_when_the_submitter_set_none(client: Client, address: str, queue: str) -> None:
    worker = Worker([queue])

    @worker.task(queue=queue, retry=RetryPolicy(max_attempts=3, initial_backoff=timedelta(milliseconds=10)))
    def succeed_at_third() -> int:
        attempt = current_task().attempt
        if attempt < 3:
            raise ValueError(f"attempt {attempt}")
        return attempt

    with worker.running(address):
        assert client.submit(succeed_at_third).get(timeout=WITHIN_S) == 3
        with pytest.raises(ValueError, match="attempt 1"):
            client.options(retry=RetryPolicy(max_attempts=1)).submit(succeed_at_third).get(timeout=WITHIN_S)


def test_task_that_asks_to_be_retried_later_is_run_again_then(client: Client, address: str, queue: str) -> None:
    worker = Worker([queue])
    begun_at: list[float] = []

    @worker.task(queue=queue, retry=RetryPolicy(max_attempts=2, initial_backoff=timedelta(hours=1)), retry_on=())
    def wait_for_the_shop_to_open() -> int:
        begun_at.append(time.monotonic())
        if current_task().attempt == 1:
            raise RetryLater("closed", delay=timedelta(milliseconds=300))
        return current_task().attempt

    with worker.running(address):
        assert client.submit(wait_for_the_shop_to_open).get(timeout=WITHIN_S) == 2

    assert begun_at[1] - begun_at[0] >= 0.3


def test_exception_that_the_task_calls_final_is_not_retried(client: Client, address: str, queue: str) -> None:
    worker = Worker([queue])

    @worker.task(queue=queue, retry=RetryPolicy(max_attempts=5), dont_retry_on=(LookupError,))
    def look_up() -> None:
        raise KeyError(f"attempt {current_task().attempt}")

    with worker.running(address), pytest.raises(KeyError, match="attempt 1"):
        client.submit(look_up).get(timeout=WITHIN_S)


def test_task_sees_what_it_runs_for(client: Client, address: str, queue: str) -> None:
    worker = Worker([queue])

    @worker.task(name="look", queue=queue)
    async def look() -> list[object]:
        task = await asyncio.to_thread(current_task)
        return [task.id, task.task_type, task.queue, task.attempt, task.parent_task_id]

    with worker.running(address):
        result = client.submit(look)

        assert result.get(timeout=WITHIN_S) == [result.id, "look", queue, 1, None]


def test_unknown_task_type_fails_and_the_worker_goes_on(client: Client, address: str, queue: str) -> None:
    worker = Worker([queue])
    known = worker.task(name="known", queue=queue)(lambda: "here")

    with worker.running(address):
        unknown = client.options(queue=queue, retry=RetryPolicy(max_attempts=1)).submit("unknown")
        with pytest.raises(TaskFailedError) as caught:
            unknown.get(timeout=WITHIN_S)
        assert (caught.value.remote_type, caught.value.kind) == ("UnknownTaskType", "SYSTEM")

        assert client.submit(known).get(timeout=WITHIN_S) == "here"


@pytest.mark.parametrize("mebibytes", [2, 20])
def test_result_that_is_too_large_fails_and_the_worker_goes_on(
    client: Client, address: str, queue: str, mebibytes: int
) -> None:
    worker = Worker([queue])
    task = worker.task(name="text", queue=queue)(lambda size: "x" * size)

    with worker.running(address):
        with pytest.raises(TaskFailedError) as caught:
            client.submit(task, mebibytes * 1024 * 1024).get(timeout=WITHIN_S)
        assert (caught.value.remote_type, caught.value.kind) == ("ResultTooLarge", "SYSTEM")

        assert client.submit(task, 3).get(timeout=WITHIN_S) == "xxx"


def test_result_that_json_cannot_carry_fails_naming_the_place(client: Client, address: str, queue: str) -> None:
    worker = Worker([queue])
    task = worker.task(name="odd", queue=queue, retry=RetryPolicy(max_attempts=5))(lambda: {"when": 1j})

    with worker.running(address):
        result = client.submit(task)
        result.wait(timeout=WITHIN_S)

    with pytest.raises(TaskFailedError, match=r"result\.when is a complex"):
        result.get(timeout=WITHIN_S)


def test_every_task_of_a_crowd_runs_once_on_two_workers(client: Client, address: str, queue: str) -> None:
    runs = itertools.count()
    workers = [Worker([queue], concurrency=8, name=f"worker-{number}") for number in range(2)]
    tasks = [worker.task(name="count", queue=queue)(lambda number: [number, next(runs)]) for worker in workers]

    with workers[0].running(address), workers[1].running(address):
        results = client.map(tasks[0], [(number,) for number in range(300)])
        outcomes = [result.get(timeout=WITHIN_S) for result in results]

    assert [outcome[0] for outcome in outcomes] == list(range(300))
    assert next(runs) == 300


def test_task_given_back_by_a_stopping_worker_is_run_by_another_as_the_same_attempt(
    client: Client, address: str, queue: str
) -> None:
    first, second = Worker([queue], grace_period=timedelta(0)), Worker([queue])
    entered, release = threading.Event(), threading.Event()

    @first.task(name="probe", queue=queue)
    def block() -> Any:
        entered.set()
        release.wait(WITHIN_S)

    second.task(name="probe")(lambda: current_task().attempt)

    try:
        with first.running(address):
            result = client.submit(block)
            assert entered.wait(WITHIN_S)
        assert result.state == TaskState.PENDING

        with second.running(address):
            assert result.get(timeout=WITHIN_S) == 1
    finally:
        release.set()


def test_stopping_worker_finishes_what_it_has_begun(client: Client, address: str, queue: str) -> None:
    worker = Worker([queue])
    entered, release = threading.Event(), threading.Event()

    @worker.task(queue=queue)
    def block() -> str:
        entered.set()
        assert release.wait(WITHIN_S)
        return "finished"

    worker.start(address)
    result = client.submit(block)
    assert entered.wait(WITHIN_S)
    stopping = threading.Thread(target=worker.stop)
    stopping.start()
    release.set()
    stopping.join(WITHIN_S)

    assert not stopping.is_alive()
    assert result.get(timeout=WITHIN_S) == "finished"


def test_task_outlives_a_restart_of_the_server(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    store = f"sqlite:///{tmp_path}/tailrace.db"
    worker = Worker()
    entered, release = threading.Event(), threading.Event()

    @worker.task
    def block() -> int:
        entered.set()
        assert release.wait(WITHIN_S)
        return current_task().attempt

    with worker.running(address), Client(address) as client:
        with run_server(store=store, listen=address):
            result = client.submit(block)
            assert entered.wait(WITHIN_S)

        with run_server(store=store, listen=address):
            assert result.state == TaskState.STARTED
            release.set()
            assert result.get(timeout=WITHIN_S) == 1


def test_result_made_while_the_server_is_away_arrives_when_it_is_back(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    store = f"sqlite:///{tmp_path}/tailrace.db"
    worker = Worker()
    entered, release, left = threading.Event(), threading.Event(), threading.Event()

    @worker.task
    def block() -> str:
        entered.set()
        assert release.wait(WITHIN_S)
        left.set()
        return "made alone"

    with worker.running(address), Client(address) as client:
        with run_server(store=store, listen=address):
            result = client.submit(block)
            assert entered.wait(WITHIN_S)
        release.set()
        assert left.wait(WITHIN_S)

        with run_server(store=store, listen=address):
            assert result.get(timeout=WITHIN_S) == "made alone"

"""What becomes of what tasks say of their progress."""

import asyncio
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import grpc
import pytest

from tailrace.client import Client
from tailrace.testing import run_server
from tailrace.v1 import task_pb2, task_service_pb2
from tailrace.v1.task_service_pb2_grpc import TaskServiceStub
from tailrace.worker import RetryPolicy, Worker, current_task
from tests.integration.scripted_server import ScriptedServer
from tests.unit.worker.messages import a_status, an_assignment, statuses
from tests.wait import eventually

WITHIN_S = 10.0
AT_ONCE = RetryPolicy(max_attempts=3, initial_backoff=timedelta(milliseconds=1))


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with run_server() as server:
        yield server.address


@pytest.fixture
def client(address: str) -> Iterator[Client]:
    with Client(address) as client:
        yield client


def progress_at(address: str, task_id: str) -> task_pb2.Progress:
    with grpc.insecure_channel(address) as channel:
        request = task_service_pb2.GetResultRequest(task_id=task_id)
        return TaskServiceStub(channel).GetResult(request, timeout=WITHIN_S).task.progress


@pytest.mark.parametrize("executor", ["thread", "asyncio"])
def test_whoever_asks_sees_how_far_a_running_task_has_come(client: Client, address: str, executor: str) -> None:
    worker = Worker([f"seen-{executor}"])
    seen = threading.Event()

    def count() -> None:
        for row in range(10_000):
            current_task().progress(row, 10_000, f"row {row}")

    def count_in_thread() -> bool:
        count()
        return seen.wait(WITHIN_S)

    async def count_on_loop() -> bool:
        count()
        return await asyncio.to_thread(seen.wait, WITHIN_S)

    task = worker.task(queue=f"seen-{executor}")(count_in_thread if executor == "thread" else count_on_loop)
    with worker.running(address):
        result = client.submit(task)
        try:
            found = eventually(
                lambda: (progress := progress_at(address, result.id)).current == 9_999 and progress,
                "the last that was said",
            )
        finally:
            seen.set()
        assert result.get(timeout=WITHIN_S) is True

    assert isinstance(found, task_pb2.Progress)
    assert (found.total, found.message) == (10_000, "row 9999")


@pytest.mark.parametrize("executor", ["thread", "asyncio"])
def test_next_attempt_goes_on_where_the_last_one_failed(client: Client, address: str, executor: str) -> None:
    worker = Worker([f"import-{executor}"])

    def import_rows() -> list[object]:
        task = current_task()
        begun_at = task.checkpoint or 0
        for row in range(begun_at, 9):
            task.progress(row, 9, checkpoint=row)
            if row == 3 * task.attempt:
                raise ConnectionError(f"lost at row {row}")
        assert task.last_progress is not None
        return [task.attempt, begun_at, task.last_progress.current, task.last_progress.total]

    async def import_later() -> list[object]:
        return import_rows()

    function = import_rows if executor == "thread" else import_later
    task = worker.task(name="import", queue=f"import-{executor}", retry=AT_ONCE)(function)
    with worker.running(address):
        assert client.submit(task).get(timeout=WITHIN_S) == [3, 6, 6, 9]


def test_task_given_back_by_a_stopping_worker_goes_on_at_another(client: Client, address: str) -> None:
    first, second = Worker(["moved"], grace_period=timedelta(0)), Worker(["moved"])
    said = threading.Event()

    @first.task(name="move", queue="moved")
    async def move() -> Any:
        for row in range(5):
            current_task().progress(row, checkpoint=row)
        said.set()
        await asyncio.Event().wait()

    second.task(name="move")(lambda: current_task().checkpoint)
    with first.running(address):
        result = client.submit(move)
        assert said.wait(WITHIN_S)

    with second.running(address):
        assert result.get(timeout=WITHIN_S) == 4


def test_task_that_says_much_sends_little_and_is_not_stopped_by_a_server_that_refuses_it() -> None:
    worker = Worker(grace_period=timedelta(0))
    heard = threading.Event()

    @worker.task
    def speak() -> bool:
        for row in range(1000):
            current_task().progress(row)
        assert heard.wait(WITHIN_S)
        return current_task().revoked.is_set()

    with ScriptedServer() as server, worker.running(server.address):
        stream = server.greeted_stream()
        stream.assign(an_assignment(task_type="speak"))
        told = [0]
        while told[-1] < 999:
            told.append(stream.await_frame("beats").beats.beats[0].progress.current)
        refused = task_pb2.ItemError(code=3, reason="LIMIT_EXCEEDED", message="too large")
        stream.send(statuses(a_status(held=True, error=refused)))
        heard.set()
        outcome = stream.result()

    assert len(told) < 100
    assert outcome.success.data == b"false"

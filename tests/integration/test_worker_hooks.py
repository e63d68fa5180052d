"""What a program has done before its worker's first task and after the last."""

import asyncio
import logging
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from tailrace.worker import Worker
from tailrace.worker._runtime import Runtime
from tailrace.worker._settings import WorkerSettings
from tailrace.worker._task import TaskRegistry
from tests.integration.scripted_server import PATIENCE_S, ScriptedServer
from tests.unit.worker.messages import an_assignment


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@pytest.fixture
def worker() -> Worker:
    return Worker(grace_period=timedelta(seconds=PATIENCE_S))


def test_functions_are_called_in_order_around_all_tasks(server: ScriptedServer, worker: Worker) -> None:
    calls: list[str] = []

    @worker.on_start
    def open_first() -> None:
        calls.append("open first")

    @worker.on_start
    async def open_second() -> None:
        calls.append("open second")

    @worker.on_stop
    async def close_first() -> None:
        calls.append("close first")

    @worker.on_stop
    def close_second() -> None:
        calls.append("close second")

    @worker.task
    def work() -> None:
        calls.append("work")

    with worker.running(server.address):
        stream = server.greeted_stream()
        stream.assign(an_assignment(task_type="work"))
        stream.result()

    assert calls == ["open first", "open second", "work", "close second", "close first"]
    open_first()
    assert calls[-1] == "open first"


def test_server_is_not_asked_for_anything_before_the_functions_are_done(server: ScriptedServer, worker: Worker) -> None:
    entered, may_end = threading.Event(), threading.Event()

    @worker.on_start
    def open_slowly() -> None:
        entered.set()
        assert may_end.wait(PATIENCE_S)

    running = threading.Thread(target=worker.start, args=(server.address,))
    running.start()
    try:
        assert entered.wait(PATIENCE_S)
        assert server.is_unvisited()
        may_end.set()
        server.greeted_stream()
    finally:
        may_end.set()
        running.join(PATIENCE_S)
        worker.stop()


def test_what_a_coroutine_function_opens_is_of_the_tasks_own_loop(server: ScriptedServer, worker: Worker) -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    @worker.on_start
    @worker.on_stop
    @worker.task
    async def note_loop() -> None:
        loops.append(asyncio.get_running_loop())

    with worker.running(server.address):
        stream = server.greeted_stream()
        stream.assign(an_assignment(task_type="note_loop"))
        stream.result()

    assert len(loops) == 3
    assert len(set(loops)) == 1


@pytest.mark.parametrize("way", ["run", "start", "running"])
@pytest.mark.parametrize("error", [ValueError("no database"), SystemExit(3)])
@pytest.mark.parametrize("is_coroutine", [False, True])
def test_start_that_fails_ends_the_run_with_what_was_raised(
    server: ScriptedServer, worker: Worker, way: str, error: BaseException, is_coroutine: bool
) -> None:
    calls: list[str] = []

    def fail() -> None:
        raise error

    async def fail_later() -> None:
        raise error

    worker.on_start(fail_later if is_coroutine else fail)
    worker.on_start(lambda: calls.append("start"))
    worker.on_stop(lambda: calls.append("stop"))

    with pytest.raises(type(error)) as caught:
        _begin(worker, way, server.address)

    assert caught.value is error
    assert calls == []
    assert server.is_unvisited()


def _begin(worker: Worker, way: str, address: str) -> None:
    if way == "running":
        with worker.running(address):
            raise AssertionError("it was run all the same")
    getattr(worker, way)(address)


def test_functions_are_called_once_for_every_run(server: ScriptedServer, worker: Worker) -> None:
    calls: list[str] = []

    @worker.on_start
    def fail_at_first() -> None:
        calls.append("start")
        if len(calls) == 1:
            raise ValueError("not yet")

    worker.on_stop(lambda: calls.append("stop"))

    with pytest.raises(ValueError, match="not yet"):
        worker.start(server.address)
    for _ in range(2):
        with worker.running(server.address):
            worker.start(server.address)
            server.greeted_stream()

    assert calls == ["start", "start", "stop", "start", "stop"]


def test_stop_that_fails_is_logged_and_keeps_no_other_from_being_called(
    server: ScriptedServer, worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[str] = []
    worker.on_stop(lambda: calls.append("stop"))

    @worker.on_stop
    async def fail() -> None:
        raise ValueError("cannot be closed")

    with caplog.at_level(logging.ERROR), worker.running(server.address):
        server.greeted_stream()

    assert calls == ["stop"]
    (record,) = caplog.records
    assert "on_stop" in record.message
    assert "fail" in record.message
    assert "cannot be closed" in str(record.exc_info)


def test_worker_that_is_told_to_stop_while_it_starts_asks_for_nothing(server: ScriptedServer, worker: Worker) -> None:
    entered, may_end, stopped = threading.Event(), threading.Event(), threading.Event()

    @worker.on_start
    def open_slowly() -> None:
        entered.set()
        assert may_end.wait(PATIENCE_S)

    worker.on_stop(stopped.set)
    starting = threading.Thread(target=worker.start, args=(server.address,))
    starting.start()
    assert entered.wait(PATIENCE_S)
    stopping = threading.Thread(target=worker.stop)
    stopping.start()
    while stopping.is_alive() and not _is_stopping(worker):
        stopping.join(0.01)
    may_end.set()
    stopping.join(PATIENCE_S)
    starting.join(PATIENCE_S)

    assert stopped.is_set()
    assert server.is_unvisited()


def _is_stopping(worker: Worker) -> bool:
    runtime = worker._runtime
    return runtime is not None and runtime._stopping


@pytest.mark.parametrize("moment", ["on_start", "on_stop"])
@pytest.mark.parametrize("is_coroutine", [False, True])
def test_function_that_hangs_is_left_behind_when_the_end_is_hurried(
    server: ScriptedServer, moment: str, is_coroutine: bool
) -> None:
    entered, for_ever = threading.Event(), threading.Event()

    def hang() -> None:
        entered.set()
        assert for_ever.wait(PATIENCE_S)

    async def hang_on_loop() -> None:
        entered.set()
        await asyncio.Event().wait()

    hooks: dict[str, Any] = {moment: [hang_on_loop if is_coroutine else hang]}
    runtime = Runtime(WorkerSettings(address=server.address), TaskRegistry(), **hooks)
    runtime.start()
    if moment == "on_stop":
        server.greeted_stream()
    runtime.stop()
    assert entered.wait(PATIENCE_S)
    runtime.hurry()
    runtime.join()
    for_ever.set()

    assert runtime.ended
    assert runtime.failure is None


def test_what_cannot_be_called_is_refused(worker: Worker) -> None:
    for register in (worker.on_start, worker.on_stop):
        with pytest.raises(TypeError, match="not 3"):
            register(3)  # type: ignore[type-var]

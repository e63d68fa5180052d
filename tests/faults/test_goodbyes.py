"""Those who leave: servers and workers that are told to stop, and clients that wait no longer."""

import asyncio
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tailrace.client import AsyncClient, Client, WaitTimeoutError
from tailrace.testing import RunningServer, run_server_async
from tests.faults import journal
from tests.faults.gates import Gate
from tests.faults.processes import Processes
from tests.wait import eventually_async

WAITS = 100
CALL_S = 20.0
IDLE_EXIT_WITHIN_S = 4.0


@pytest.fixture
def store_url(tmp_path: Path) -> str:
    """The embedded store alone: what happens here is the same on any."""
    return f"sqlite:///{tmp_path}/tailrace.db"


@pytest.fixture
async def running() -> AsyncIterator[RunningServer]:
    async with run_server_async() as running:
        yield running


def test_worker_that_is_told_to_stop_finishes_its_task_and_exits_with_0(processes: Processes, store_url: str) -> None:
    server = processes.server(store_url)
    worker = processes.worker(server.address)
    with Client(server.address) as client, Gate(processes.directory, "work-1") as gate:
        result = client.submit("linger", "work")
        worker.wait_for_line("execution_began: attempt 1")

        worker.ask_to_stop()
        worker.wait_for_line("worker_draining")
        later = client.submit("square", 7)
        gate.open()
        exit_code = worker.wait(CALL_S)
        execution_id = result.get(timeout=CALL_S)
        is_later_ready = later.ready()

    (execution,) = journal.executions(processes.directory)
    assert (exit_code, execution_id, execution.attempt) == (0, execution.execution_id, 1)
    assert not is_later_ready


def test_server_that_is_told_to_stop_waits_for_nobody_who_is_idle(processes: Processes, store_url: str) -> None:
    server = processes.server(store_url)
    processes.worker(server.address)
    with Client(server.address) as client, ThreadPoolExecutor(max_workers=1) as threads:
        result = client.submit("square", 7)
        assert result.get(timeout=CALL_S)["value"] == 49
        wait = threads.submit(client.options(queue="nobody").submit("square", 8).wait, 1)

        began_at = time.monotonic()
        server.process.ask_to_stop()
        exit_code = server.process.wait(CALL_S)
        took_s = time.monotonic() - began_at

        assert isinstance(wait.exception(), WaitTimeoutError)
    assert exit_code == 0
    assert took_s < IDLE_EXIT_WITHIN_S


def test_server_that_is_told_to_stop_stores_the_results_of_what_runs(processes: Processes, store_url: str) -> None:
    server = processes.server(store_url)
    worker = processes.worker(server.address)
    with Client(server.address) as client, Gate(processes.directory, "work-1") as gate:
        result = client.submit("linger", "work")
        worker.wait_for_line("execution_began: attempt 1")

        server.process.ask_to_stop()
        server.process.wait_for_line("server_draining")
        gate.open()
        exit_code = server.process.wait(CALL_S)
        server.start()
        execution_id = result.get(timeout=CALL_S)

    (execution,) = journal.executions(processes.directory)
    assert (exit_code, execution_id, execution.attempt) == (0, execution.execution_id, 1)
    assert not worker.lines_with("lease_lost")


async def test_waits_that_are_cancelled_leave_nothing_behind(running: RunningServer) -> None:
    waiting = running.server.waiting
    async with AsyncClient(running.address) as submitter:
        results = await submitter.map("never", [(number,) for number in range(WAITS)])
    await eventually_async(lambda: waiting.task_count == 0, "whoever submitted them follows them no longer")
    async with AsyncClient(running.address) as client:
        waits = [asyncio.create_task(client.result(result.id).get()) for result in results]
        await eventually_async(lambda: waiting.task_count == WAITS, "every wait is open")

        for wait in waits:
            wait.cancel()
        ends = await asyncio.gather(*waits, return_exceptions=True)
        await eventually_async(lambda: waiting.task_count == 0, "nobody is waited for any more")

    assert all(isinstance(end, asyncio.CancelledError) for end in ends)


async def test_client_that_is_killed_leaves_nothing_behind(running: RunningServer, processes: Processes) -> None:
    waiting = running.server.waiting
    async with AsyncClient(running.address) as client:
        result = await client.submit("never")
    await eventually_async(lambda: waiting.task_count == 0, "whoever submitted it follows it no longer")
    process = processes.python("client", "-m", "tests.faults.waiting_client", running.address, result.id)
    await eventually_async(lambda: waiting.task_count == 1, "the client waits")

    process.kill()

    await eventually_async(lambda: waiting.task_count == 0, "nobody is waited for any more")
    assert process.wait() < 0

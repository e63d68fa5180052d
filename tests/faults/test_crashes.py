"""Crashes of the server and of Redis, and stops of the server, under a crowd of waits and a long queue."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta

import pytest

from tailrace.client import AsyncClient
from tests.faults import journal
from tests.faults.crowd import Crowd
from tests.faults.extent import FAULTS
from tests.faults.figures import Figures
from tests.faults.ledger import Ledger
from tests.faults.processes import Processes, ServerProcess
from tests.faults.raw_worker import RawWorker
from tests.faults.tasks import Square
from tests.redis_server import RedisServer
from tests.wait import eventually_async

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

WAITS = 200
QUEUED = 2_000
QUEUED_AT_STOP = 500
RUN_BETWEEN_FAULTS = 100
RUN_AT_MOST = 300
"""How far the workers may get until the next fault has happened."""
LEASE = timedelta(seconds=5)
WITHIN_S = 90.0
EXIT_WITHIN_S = 12.0
"""The server's default grace, and the two seconds that gRPC has on top of it."""


class Scene:
    """A server with workers, a long queue, and a crowd that waits for the last of its tasks."""

    def __init__(self, processes: Processes, server: ServerProcess, task_ids: Sequence[str]) -> None:
        self.server = server
        self.task_ids = task_ids
        self.ledger = Ledger(server.address)
        self.raw_worker = RawWorker(server.address, "default")
        self.crowd = Crowd(server.address, task_ids[-WAITS:], within_s=WITHIN_S)
        self._processes = processes

    @property
    def executions(self) -> int:
        """How many executions there were so far."""
        return journal.count(self._processes.directory) + len(self.raw_worker.executions)

    @asynccontextmanager
    async def workers(self) -> AsyncIterator[None]:
        """Have workers of both kinds at work until the block ends."""
        await asyncio.gather(*(asyncio.to_thread(self._processes.worker, self.server.address) for _ in range(2)))
        with self.raw_worker:
            yield

    async def strike(self, fault: Callable[[ServerProcess], None], *, queued: int) -> None:
        """Let a fault happen in the thick of it, with a look at all tasks right before and right after."""
        wanted = self.executions + RUN_BETWEEN_FAULTS
        await eventually_async(lambda: self.executions >= wanted, f"{wanted} executions", within_s=WITHIN_S)
        await asyncio.to_thread(self.ledger.read, self.task_ids)
        assert (self.crowd.open_count, len(self.task_ids) - self.executions >= queued) == (WAITS, True)
        await asyncio.to_thread(fault, self.server)
        await asyncio.to_thread(self.ledger.read, self.task_ids)

    async def check(self, told: Mapping[str, Square]) -> None:
        """Check the books when all is over: every task has the one end that everybody was told."""
        done = await asyncio.to_thread(self.ledger.read, self.task_ids)
        squares = {task_id: self.ledger.square(task_id) for task_id in self.task_ids}

        assert done == len(self.task_ids)
        assert [square["value"] for square in squares.values()] == [number * number for number in range(done)]
        assert {task_id: squares[task_id] for task_id in told} == told
        accepted = self.raw_worker.accepted
        assert {task_id: squares[task_id]["execution_id"] for task_id in accepted} == accepted
        self.ledger.check_executions(journal.executions(self._processes.directory), self.raw_worker.executions)


async def _hold_to_the_truth(
    processes: Processes,
    store_url: str,
    fault: Callable[[ServerProcess], None],
    figures: Figures,
    *,
    queued: int = QUEUED,
) -> None:
    server = await asyncio.to_thread(processes.server, store_url)
    task_count = queued + RUN_AT_MOST * FAULTS
    async with AsyncClient(server.address) as client:
        numbers = [(number,) for number in range(task_count)]
        results = await client.options(lease_duration=LEASE).map("square", numbers)
        scene = Scene(processes, server, [result.id for result in results])
        async with scene.crowd, scene.workers():
            began_at = time.monotonic()
            for _ in range(FAULTS):
                await scene.strike(fault, queued=queued)
            told = await scene.crowd.squares()
            async with aclosing(client.as_completed(results, timeout=WITHIN_S)) as completed:
                finished = Counter([result.id async for result in completed])
            took_s = time.monotonic() - began_at
    await scene.check(told)
    assert finished == Counter(scene.task_ids)
    figures.add(f"{task_count} tasks in {took_s:.1f} s, {scene.executions - task_count} executions more than tasks")


async def test_nothing_is_lost_when_the_server_is_killed(
    processes: Processes, store_url: str, figures: Figures, caplog: pytest.LogCaptureFixture
) -> None:
    def kill_server(server: ServerProcess) -> None:
        server.process.kill()
        server.start()

    await _hold_to_the_truth(processes, store_url, kill_server, figures)

    interrupted = [record for record in caplog.records if record.getMessage().startswith("wait_interrupted")]
    assert len(interrupted) >= WAITS


async def test_nothing_is_lost_when_redis_is_killed(processes: Processes, redis: RedisServer, figures: Figures) -> None:
    def kill_redis(server: ServerProcess) -> None:
        failures = len(server.process.lines_with("_failed"))
        redis.kill()
        # Long enough away that nobody gets by without trying again.
        server.process.wait_for_line("_failed", count=failures + 6)
        redis.start()

    await _hold_to_the_truth(processes, redis.url, kill_redis, figures)


async def test_server_that_is_told_to_stop_under_load_exits_in_time_and_loses_nothing(
    processes: Processes, store_url: str, figures: Figures
) -> None:
    def stop_server(server: ServerProcess) -> None:
        began_at = time.monotonic()
        server.process.ask_to_stop()
        assert server.process.wait(EXIT_WITHIN_S) == 0
        figures.add(f"the server stopped after {time.monotonic() - began_at:.1f} s")
        server.start()

    await _hold_to_the_truth(processes, store_url, stop_server, figures, queued=QUEUED_AT_STOP)

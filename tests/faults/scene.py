"""A server under load, a fault in the thick of it, and the books that must balance afterwards."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta

from tailrace.client import AsyncClient, AsyncioResult
from tests.faults import journal
from tests.faults.crowd import Crowd
from tests.faults.extent import FAULTS
from tests.faults.figures import Figures
from tests.faults.ledger import Ledger
from tests.faults.processes import Processes, ServerProcess
from tests.faults.raw_worker import RawWorker
from tests.faults.tasks import Square
from tests.wait import eventually_async

WAITS = 200
QUEUED = 2_000
CALLERS = 4
RUN_BETWEEN_FAULTS = 100
RUN_AT_MOST = 300
"""How far the workers may get until the next fault has happened."""
LEASE = timedelta(seconds=5)
WITHIN_S = 90.0


class Scene:
    """A server with workers, a long queue, a crowd that waits for the last of its tasks, and callers who add to it."""

    def __init__(self, processes: Processes, server: ServerProcess, client: AsyncClient) -> None:
        self.server = server
        self.results: list[AsyncioResult] = []
        """Everything that was accepted."""
        self.crowd = Crowd(server.address, within_s=WITHIN_S)
        self._processes = processes
        self._submitter = client.options(lease_duration=LEASE)
        self._raw_worker = RawWorker(server.address, "default")
        self._ledger = Ledger(server.address)
        self._numbers = itertools.count()
        self._values: dict[str, int] = {}

    @property
    def executions(self) -> int:
        """How many executions there were so far."""
        return journal.count(self._processes.directory) + len(self._raw_worker.executions)

    async def fill_queue(self, count: int) -> None:
        """Submit tasks, and have the crowd wait for the last of them."""
        numbers = list(itertools.islice(self._numbers, count))
        for number, result in zip(numbers, await self._submitter.map("square", [(n,) for n in numbers]), strict=True):
            self._accept(number, result)
        self.crowd.wait_for([result.id for result in self.results[-WAITS:]])

    @asynccontextmanager
    async def workers(self) -> AsyncIterator[None]:
        """Have workers of both kinds at work until the block ends."""
        await asyncio.gather(*(asyncio.to_thread(self._processes.worker, self.server.address) for _ in range(2)))
        with self._raw_worker:
            yield

    async def strike(self, fault: Callable[[ServerProcess], None], *, queued: int) -> None:
        """Let a fault happen in the thick of it, with a look at all tasks right before and right after."""
        wanted = self.executions + RUN_BETWEEN_FAULTS
        await eventually_async(lambda: self.executions >= wanted, f"{wanted} executions", within_s=WITHIN_S)
        async with self._callers():
            await self._read_all()
            assert (self.crowd.open_count, len(self.results) - self.executions >= queued) == (WAITS, True)
            await asyncio.to_thread(fault, self.server)
            await self._read_all()

    async def check(self, told: Mapping[str, Square]) -> None:
        """Check the books when all is over: every task has the one end that everybody was told."""
        done = await self._read_all()
        squares = {result.id: self._ledger.square(result.id) for result in self.results}

        assert done == len(self.results)
        assert {task_id: square["value"] for task_id, square in squares.items()} == self._values
        assert {task_id: squares[task_id] for task_id in told} == told
        accepted = self._raw_worker.accepted
        assert {task_id: squares[task_id]["execution_id"] for task_id in accepted} == accepted
        executions = journal.executions(self._processes.directory)
        self._ledger.check_executions(executions, self._raw_worker.executions)

    def _accept(self, number: int, result: AsyncioResult) -> None:
        self._values[result.id] = number * number
        self.results.append(result)

    async def _read_all(self) -> int:
        return await asyncio.to_thread(self._ledger.read, [result.id for result in self.results])

    @asynccontextmanager
    async def _callers(self) -> AsyncIterator[None]:
        """Have callers submit one task after the other until the block ends; it begins when some were accepted."""
        is_over = asyncio.Event()

        async def submit_until_over() -> None:
            while not is_over.is_set():
                number = next(self._numbers)
                self._accept(number, await self._submitter.submit("square", number))

        wanted = len(self.results) + CALLERS
        callers = [asyncio.create_task(submit_until_over()) for _ in range(CALLERS)]
        try:
            await eventually_async(lambda: len(self.results) >= wanted, "the callers are at work")
            yield
            is_over.set()
            await asyncio.gather(*callers)
        finally:
            for caller in callers:
                caller.cancel()


async def hold_to_the_truth(
    processes: Processes,
    store_url: str,
    fault: Callable[[ServerProcess], None],
    figures: Figures,
    *,
    queued: int = QUEUED,
) -> None:
    """Let a server with workers, waits and callers suffer a fault, and check that nobody was told an untruth.

    Args:
        processes: Where to start them.
        store_url: The server's store.
        fault: Happens in a thread, and is over when it returns.
        figures: Where to put how long it took.
        queued: How many tasks wait in the queue when the fault happens, at least.
    """
    server = await asyncio.to_thread(processes.server, store_url)
    async with AsyncClient(server.address) as client:
        scene = Scene(processes, server, client)
        async with scene.crowd:
            await scene.fill_queue(queued + RUN_AT_MOST * FAULTS)
            async with scene.workers():
                began_at = time.monotonic()
                for _ in range(FAULTS):
                    await scene.strike(fault, queued=queued)
                told = await scene.crowd.squares()
                async with aclosing(client.as_completed(scene.results, timeout=WITHIN_S)) as completed:
                    finished = Counter([result.id async for result in completed])
                took_s = time.monotonic() - began_at
    await scene.check(told)
    task_count = len(scene.results)
    assert finished == Counter(result.id for result in scene.results)
    figures.add(f"{task_count} tasks in {took_s:.1f} s, {scene.executions - task_count} executions more than tasks")

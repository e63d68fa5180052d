"""Two hundred callers that wait for a task each: half of them in threads, half on an event loop."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from tailrace.client import AsyncClient, Client
from tests.faults.tasks import Square


class Crowd:
    """Waits that begin when the block does. What they return is ``squares``; they are cut off when the block ends."""

    def __init__(self, address: str, task_ids: Sequence[str], *, within_s: float) -> None:
        self._address = address
        self._task_ids = task_ids
        self._within_s = within_s
        self._open = AsyncExitStack()
        self._waits: dict[str, asyncio.Future[Square]] = {}

    async def __aenter__(self) -> Self:
        half = len(self._task_ids) // 2
        client = self._open.enter_context(Client(self._address))
        async_client = await self._open.enter_async_context(AsyncClient(self._address))
        threads = ThreadPoolExecutor(max_workers=half, thread_name_prefix="waiting")
        self._open.callback(threads.shutdown)
        # Closed before the threads are waited for: it ends what they wait for.
        self._open.callback(client.close)
        for task_id in self._task_ids[:half]:
            wait = client.result(task_id).get
            self._waits[task_id] = asyncio.get_running_loop().run_in_executor(threads, wait, self._within_s)
        for task_id in self._task_ids[half:]:
            self._waits[task_id] = asyncio.create_task(async_client.result(task_id).get(self._within_s))
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for wait in self._waits.values():
            wait.cancel()
        await self._open.aclose()
        await asyncio.gather(*self._waits.values(), return_exceptions=True)

    @property
    def open_count(self) -> int:
        """How many still wait."""
        return sum(not wait.done() for wait in self._waits.values())

    async def squares(self) -> dict[str, Square]:
        """Wait for all of them, and return what each was told; raises what the first of them raises."""
        answers = await asyncio.gather(*self._waits.values())
        return dict(zip(self._waits, answers, strict=True))

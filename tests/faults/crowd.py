"""Two hundred callers that wait for a task each: half of them in threads, half on an event loop."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from tailrace.client import AsyncClient, Client
from tests.faults.tasks import Square


class Crowd:
    """Waits of a block: they begin with ``wait_for``, and what is left of them is cut off when the block ends."""

    def __init__(self, address: str, *, within_s: float) -> None:
        self._client = Client(address)
        self._async_client = AsyncClient(address)
        self._within_s = within_s
        self._threads: ThreadPoolExecutor | None = None
        self._waits: dict[str, asyncio.Future[Square]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for wait in self._waits.values():
            wait.cancel()
        # Closed before the threads are waited for: it ends what they wait for.
        self._client.close()
        await self._async_client.close()
        if self._threads is not None:
            await asyncio.to_thread(self._threads.shutdown)
        await asyncio.gather(*self._waits.values(), return_exceptions=True)

    def wait_for(self, task_ids: Sequence[str]) -> None:
        """Begin to wait for tasks. Called once."""
        half = len(task_ids) // 2
        self._threads = ThreadPoolExecutor(max_workers=half, thread_name_prefix="waiting")
        for task_id in task_ids[:half]:
            wait = self._client.result(task_id).get
            self._waits[task_id] = asyncio.get_running_loop().run_in_executor(self._threads, wait, self._within_s)
        for task_id in task_ids[half:]:
            self._waits[task_id] = asyncio.create_task(self._async_client.result(task_id).get(self._within_s))

    @property
    def open_count(self) -> int:
        """How many still wait."""
        return sum(not wait.done() for wait in self._waits.values())

    async def squares(self) -> dict[str, Square]:
        """Wait for all of them, and return what each was told; raises what the first of them raises."""
        answers = await asyncio.gather(*self._waits.values())
        return dict(zip(self._waits, answers, strict=True))

"""AsyncInbox: where one task waits for the ends of tasks on the Watch stream."""

import asyncio
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from tailrace.client._async_watch import AsyncWatch
from tailrace.client._errors import TailraceError
from tailrace.client._targets import Listener, Notice
from tailrace.client._waiting import Finished


class AsyncInbox:
    """Where one task waits for the ends of tasks."""

    def __init__(self, watch: AsyncWatch, timeout_s: float | None) -> None:
        self._watch = watch
        self._timeout_s = timeout_s
        self._deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        self._notices: asyncio.Queue[Notice] = asyncio.Queue()
        self._taken = 0
        self.listener = Listener(self._notices.put_nowait)

    @property
    def left_s(self) -> float | None:
        """The time left; None without a limit."""
        return None if self._deadline_s is None else self._deadline_s - time.monotonic()

    @property
    def is_open(self) -> bool:
        """Whether there is anything to take still, now or later."""
        return self._taken < self.listener.count

    @contextmanager
    def following(self, task_ids: Sequence[str]) -> Generator[bool, None, None]:
        """Follow tasks until the block ends; gives False where there are too many for one stream."""
        try:
            yield self._watch.follow(task_ids, self.listener)
        finally:
            self._watch.leave(self.listener)

    def add(self, task_ids: Sequence[str]) -> bool:
        """Follow more tasks; False where there are too many for one stream."""
        return self._watch.follow(task_ids, self.listener)

    def time_is_up(self) -> TailraceError:
        """Make the error of a wait whose time is up."""
        assert self._timeout_s is not None
        return self._watch.timeout_error(self.listener, self._timeout_s)

    async def take(self) -> list[Finished] | None:
        """Return tasks that are done or unknown; None when the others have to be waited for by calls of their own.

        Raises:
            WaitTimeoutError: The time is up.
            TailraceError: Nothing more will come.
        """
        left_s = self.left_s
        try:
            async with asyncio.timeout(None if left_s is None else max(0.0, left_s)):
                notice = await self._notices.get()
        except TimeoutError:
            notice = self.time_is_up
        if callable(notice):
            raise notice()
        self._taken += len(notice or ())
        return notice

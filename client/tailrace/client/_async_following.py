"""AsyncFollowing: the ends of tasks that become known over time, on an event loop."""

from collections.abc import AsyncGenerator, Callable, Sequence

from tailrace.client._async_inbox import AsyncInbox
from tailrace.client._errors import TailraceError
from tailrace.client._targets import are_followable
from tailrace.client._waiting import News

FollowAlone = Callable[[Sequence[str], float | None], AsyncGenerator[News, None]]


class AsyncFollowing:
    """Waits on the Watch stream, and for what that does not take on streams of its own, one after the other."""

    def __init__(self, inbox: AsyncInbox, follow_alone: FollowAlone, *, is_off: bool) -> None:
        self._inbox = inbox
        self._follow_alone = follow_alone
        self._aside: dict[str, None] = {}
        self._rest: AsyncGenerator[News, None] | None = None
        """Of those that were aside, what is still to come."""
        self._is_off = is_off

    def add(self, task_id: str) -> None:
        """Follow one more."""
        if self._is_off or not are_followable([task_id]) or not self._inbox.add([task_id]):
            self._aside[task_id] = None

    @property
    def left_s(self) -> float | None:
        """The time left; None without a limit."""
        return self._inbox.left_s

    def time_is_up(self) -> TailraceError:
        """Make the error of a wait whose time is up."""
        return self._inbox.time_is_up()

    async def next(self) -> list[News]:
        """Wait for the next ends; to be called only while something is followed.

        Raises:
            WaitTimeoutError: The time is up.
            TailraceError: The server refused to be waited on.
        """
        if self._inbox.is_open and not self._is_off:
            ends = await self._inbox.take()
            if ends is not None:
                return list(ends)
            self._is_off = True
            self._aside |= self._inbox.listener.open
        if self._rest is None:
            task_ids, self._aside = list(self._aside), {}
            if not task_ids:
                return []
            self._rest = self._follow_alone(task_ids, self._inbox.left_s)
        news = await anext(self._rest, None)
        if news is None:
            self._rest = None
            return []
        return [news]

    async def aclose(self) -> None:
        """End what is under way."""
        if self._rest is not None:
            await self._rest.aclose()

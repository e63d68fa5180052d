"""Following: the ends of tasks that become known over time, in one blocking thread."""

from collections.abc import Callable, Generator, Sequence

from tailrace.client._inbox import Inbox
from tailrace.client._targets import are_followable
from tailrace.client._waiting import News

FollowAlone = Callable[[Sequence[str], float | None], Generator[News, None, None]]


class Following:
    """Waits on the Watch stream, and for what that does not take on streams of its own, one after the other."""

    def __init__(self, inbox: Inbox, follow_alone: FollowAlone, *, is_off: bool) -> None:
        self._inbox = inbox
        self._follow_alone = follow_alone
        self._aside: dict[str, None] = {}
        self._rest: Generator[News, None, None] | None = None
        """Of those that were aside, what is still to come."""
        self._is_off = is_off

    def add(self, task_id: str) -> None:
        """Follow one more."""
        if self._is_off or not are_followable([task_id]) or not self._inbox.add([task_id]):
            self._aside[task_id] = None

    def arrived(self) -> list[News]:
        """Return what is there already.

        Raises:
            WaitTimeoutError: Nothing is, and the time is up: a source that goes on and on must not keep it from ending.
        """
        ends = self._take(waits=False) if self._inbox.is_open and not self._is_off else []
        if not ends:
            self._inbox.check_time()
        return ends

    def next(self) -> list[News]:
        """Wait for the next ends; to be called only while something is followed.

        Raises:
            WaitTimeoutError: The time is up.
            TailraceError: The server refused to be waited on.
        """
        if self._inbox.is_open and not self._is_off:
            return self._take(waits=True)
        if self._rest is None:
            task_ids, self._aside = list(self._aside), {}
            if not task_ids:
                return []
            self._rest = self._follow_alone(task_ids, self._inbox.left_s)
        news = next(self._rest, None)
        if news is None:
            self._rest = None
            return []
        return [news]

    def close(self) -> None:
        """End what is under way."""
        if self._rest is not None:
            self._rest.close()

    def _take(self, *, waits: bool) -> list[News]:
        ends = self._inbox.take(waits=waits)
        if ends is None:
            self._is_off = True
            self._aside |= self._inbox.listener.open
        return list(ends or ())

"""DrawnResults: results drawn from a source while the ends of those drawn before are waited for."""

import asyncio
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Generic

from tailrace.client._async_drawing import cancel_all
from tailrace.client._async_following import AsyncFollowing
from tailrace.client._async_result import AsyncioResult
from tailrace.client._completion import LOOK_AHEAD, Completion
from tailrace.client._type_variables import R

if TYPE_CHECKING:
    from tailrace.client._waiting import News


class DrawnResults(Generic[R]):
    """Waits for the source and for the tasks at once, so that neither holds up the other."""

    def __init__(self, source: AsyncGenerator[AsyncioResult[R], None], following: AsyncFollowing) -> None:
        self._source = source
        self._following = following
        self._completion: Completion[AsyncioResult[R]] = Completion(())
        self._drawing: asyncio.Future[AsyncioResult[R]] | None = asyncio.ensure_future(anext(source))
        self._hearing: asyncio.Future[list[News]] | None = None

    @property
    def is_over(self) -> bool:
        """Whether the source is empty and everything drawn from it is done."""
        return self._drawing is None and not self._completion.awaited_count

    async def next(self) -> list[AsyncioResult[R]]:
        """Return what is done next; perhaps nothing yet.

        Raises:
            WaitTimeoutError: The time is up.
            TailraceError: The server refused to be waited on.
        """
        if self._hearing is None and self._completion.awaited_count:
            self._hearing = asyncio.ensure_future(self._following.next())
        has_room = self._completion.awaited_count < LOOK_AHEAD
        drawing = self._drawing if has_room else None
        waited_for: list[asyncio.Future[AsyncioResult[R]] | asyncio.Future[list[News]]] = [
            future for future in (self._hearing, drawing) if future is not None
        ]
        done, _ = await asyncio.wait(waited_for, timeout=self._source_timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            raise self._following.time_is_up()
        return [*(self._take_drawn(drawing) if drawing is not None else ()), *self._take_heard()]

    @property
    def _source_timeout_s(self) -> float | None:
        """How long to wait for the source alone; what is followed keeps its own time."""
        left_s = self._following.left_s
        return None if left_s is None or self._hearing is not None else max(0.0, left_s)

    async def close(self) -> None:
        """End what is under way, and the source."""
        await cancel_all([future for future in (self._hearing, self._drawing) if future is not None])
        await self._source.aclose()

    def _take_drawn(self, drawing: "asyncio.Future[AsyncioResult[R]]") -> list[AsyncioResult[R]]:
        if not drawing.done():
            return []
        try:
            result = drawing.result()
        except StopAsyncIteration:
            self._drawing = None
            return []
        self._drawing = asyncio.ensure_future(anext(self._source))
        if not self._completion.add(result):
            return [result]
        self._following.add(result.id)
        return []

    def _take_heard(self) -> list[AsyncioResult[R]]:
        if self._hearing is None or not self._hearing.done():
            return []
        heard, self._hearing = self._hearing.result(), None
        return [result for news in heard for result in self._completion.finish(news)]

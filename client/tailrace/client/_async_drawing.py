"""Drawing from iterables of either kind, at a pace: no more ahead of what was asked for than is wanted."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeAlias, TypeVar

ItemT = TypeVar("ItemT")
DoneT = TypeVar("DoneT")

AnyIterable: TypeAlias = Iterable[ItemT] | AsyncIterable[ItemT]


async def each_of(source: AnyIterable[ItemT]) -> AsyncGenerator[ItemT, None]:
    """Yield what an iterable has, of either kind. A generator is closed with this one."""
    if isinstance(source, AsyncIterable):
        try:
            async for item in source:
                yield item
        finally:
            if isinstance(source, AsyncGenerator):
                await source.aclose()
    else:
        for item in source:
            yield item


async def done_in_order(
    source: AsyncGenerator[ItemT, None], work: Callable[[ItemT], Awaitable[DoneT]], look_ahead: int
) -> AsyncGenerator[DoneT, None]:
    """Yield what ``work`` makes of each item, in order, with so many of them under way at most.

    What is done is yielded while the source lets us wait. Closing it cancels what is under way.
    """
    under_way: deque[asyncio.Future[DoneT]] = deque()
    drawing: asyncio.Future[ItemT] | None = asyncio.ensure_future(anext(source))
    try:
        while drawing is not None or under_way:
            if drawing is not None and len(under_way) < look_ahead:
                waited_for: list[asyncio.Future[Any]] = [drawing, *([under_way[0]] if under_way else [])]
                await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
            else:
                await asyncio.wait([under_way[0]])
            if drawing is not None and drawing.done() and len(under_way) < look_ahead:
                drawing = _draw_next(source, drawing, work, under_way)
            while under_way and under_way[0].done():
                yield under_way.popleft().result()
    finally:
        await cancel_all([*under_way, *([drawing] if drawing is not None else [])])
        await source.aclose()


def _draw_next(
    source: AsyncGenerator[ItemT, None],
    drawn: "asyncio.Future[ItemT]",
    work: Callable[[ItemT], Awaitable[DoneT]],
    under_way: "deque[asyncio.Future[DoneT]]",
) -> "asyncio.Future[ItemT] | None":
    """Begin the work on what was drawn, and to draw the next; None at the end."""
    try:
        item = drawn.result()
    except StopAsyncIteration:
        return None
    under_way.append(asyncio.ensure_future(work(item)))
    return asyncio.ensure_future(anext(source))


async def cancel_all(futures: "Sequence[asyncio.Future[Any]]") -> None:
    """End what is under way, and wait until it has ended."""
    for future in futures:
        future.cancel()
    await asyncio.gather(*futures, return_exceptions=True)

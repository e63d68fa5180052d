"""async_fan_in: several asynchronous iterators as one, in the order in which they bring something."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final, TypeVar

ItemT = TypeVar("ItemT")

# What has been read and not yet asked for; beyond it the streams wait, and the server merges what happens meanwhile.
_MAX_WAITING: Final = 256


class _End:
    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


async def async_fan_in(sources: Sequence[AsyncGenerator[ItemT, None]]) -> AsyncGenerator[ItemT, None]:
    """Yield what the sources yield; raise what the first of them raises. Ending it ends them."""
    queue: asyncio.Queue[ItemT | _End] = asyncio.Queue(_MAX_WAITING)
    # No TaskGroup: a generator that yields inside one would be cancelled in whatever its caller is doing.
    pumps = [asyncio.create_task(_pump(source, queue)) for source in sources]
    try:
        running = len(pumps)
        while running:
            item = await queue.get()
            if not isinstance(item, _End):
                yield item
                continue
            if item.error is not None:
                raise item.error
            running -= 1
    finally:
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


async def _pump(source: AsyncGenerator[ItemT, None], queue: "asyncio.Queue[ItemT | _End]") -> None:
    async with aclosing(source):
        try:
            async for item in source:
                await queue.put(item)
        except Exception as error:  # noqa: BLE001 (raised again where the items are read)
            await queue.put(_End(error))
        else:
            await queue.put(_End())

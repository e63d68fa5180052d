"""The bounded line of frames that a stream's peer sent and nobody has acted on yet."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

MAX_WAITING_FRAMES = 64
MAX_WAITING_BYTES = 4 << 20

Frame = TypeVar("Frame")


class Inbox(Generic[Frame]):
    """Filled by the stream's reader, emptied in bursts. When it is full the reader waits, and with it the peer."""

    def __init__(self) -> None:
        self._frames: deque[Frame] = deque()
        self._waiting_bytes = 0
        self._arrived = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._is_closed = False
        self._error: Exception | None = None

    async def fill(self, requests: AsyncIterator[tuple[Frame, int]]) -> None:
        """Read frames, each with its size, until the peer closes its side.

        A frame that does not parse ends the line with its error.
        """
        try:
            async for request, size_bytes in requests:
                self._frames.append(request)
                self._waiting_bytes += size_bytes
                self._arrived.set()
                if len(self._frames) >= MAX_WAITING_FRAMES or self._waiting_bytes >= MAX_WAITING_BYTES:
                    self._has_room.clear()
                    await self._has_room.wait()
        except Exception as error:  # noqa: BLE001 - raised again where the frames are taken
            self._error = error
        finally:
            self.close()

    def close(self) -> None:
        """End the line after the frames that are in it."""
        self._is_closed = True
        self._arrived.set()

    async def first(self, timeout_s: float) -> Frame | None:
        """Take one frame; None at the end.

        Raises:
            TimeoutError: None came in time.
        """
        async with asyncio.timeout(timeout_s):
            await self._wait()
        if self._frames:
            frame = self._frames.popleft()
            # Whatever its size was, the reader goes on: only what comes after it is a burst.
            self._waiting_bytes = 0
            self._has_room.set()
            return frame
        self._raise_error()
        return None

    async def take(self, timeout_s: float | None) -> list[Frame]:
        """Take all frames that have gathered, waiting for the first as long as it takes without a timeout.

        Empty at the end.

        Raises:
            TimeoutError: None came in time.
        """
        async with asyncio.timeout(timeout_s):
            await self._wait()
        frames = list(self._frames)
        self._frames.clear()
        self._waiting_bytes = 0
        self._has_room.set()
        if not frames:
            self._raise_error()
        return frames

    async def _wait(self) -> None:
        while not self._frames and not self._is_closed:
            self._arrived.clear()
            await self._arrived.wait()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

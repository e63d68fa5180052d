"""Coalescing: what arrives while a store call is under way goes into the next one, whoever sent it."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Generic, TypeVar

from tailrace.server.domain.errors import StoreUnavailableError, TailraceError
from tailrace.server.store.base import MAX_CALL_BYTES, MAX_ITEMS

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

CALL_DEADLINE_S = 10.0
MAX_WAITING_ITEMS = 50_000
MAX_WAITING_BYTES = 256 << 20


class _Chunk(Generic[Item, Outcome]):
    """Some items of one caller that go into the same store call, and where their outcomes come back."""

    __slots__ = ("answer", "items", "size_bytes")

    def __init__(self, items: Sequence[Item], size_bytes: int) -> None:
        self.items = items
        self.size_bytes = size_bytes
        self.answer: asyncio.Future[Sequence[Outcome]] = asyncio.get_running_loop().create_future()


class Batcher(Generic[Item, Outcome]):
    """Turns calls with a few items each into store calls with many.

    One store call is under way at a time; the first item goes at once, so nothing is added to the latency of an idle
    server. A caller that is cancelled leaves its items in the batch: whether they took effect is unknown to it.

    Args:
        call: The store call.
        size_of: How large an item is, in bytes.
        deadline_s: How long one store call may take.
        is_last_first: Whether of items that take several calls the last go first: what the store puts to the head of a
            queue ends up in front of what the calls before have put there.
    """

    def __init__(
        self,
        call: Callable[[Sequence[Item]], Awaitable[Sequence[Outcome]]],
        *,
        size_of: Callable[[Item], int] = lambda _: 0,
        deadline_s: float = CALL_DEADLINE_S,
        is_last_first: bool = False,
    ) -> None:
        self._call = call
        self._is_last_first = is_last_first
        self._size_of = size_of
        self._deadline_s = deadline_s
        self._chunks: deque[_Chunk[Item, Outcome]] = deque()
        self._waiting_items = 0
        self._waiting_bytes = 0
        self._pump: asyncio.Task[None] | None = None

    async def run(self, items: Sequence[Item]) -> list[Outcome | TailraceError]:
        """Have the store do something for each item; outcomes come in the order of the items.

        Where items take several store calls, each succeeds or fails by itself: those of one that failed are answered
        with its error.

        Raises:
            StoreUnavailableError: Too much is waiting for the store already; nothing was done.
        """
        chunks = list(self._cut(items))
        size_bytes = sum(chunk.size_bytes for chunk in chunks)
        self._check_room(len(items), size_bytes)
        self._chunks.extend(reversed(chunks) if self._is_last_first else chunks)
        self._waiting_items += len(items)
        self._waiting_bytes += size_bytes
        if self._pump is None and chunks:
            self._pump = asyncio.create_task(self._pump_chunks())
        answers = await asyncio.gather(*(chunk.answer for chunk in chunks), return_exceptions=True)
        outcomes: list[Outcome | TailraceError] = []
        for chunk, answer in zip(chunks, answers, strict=True):
            if isinstance(answer, BaseException) and not isinstance(answer, TailraceError):
                raise answer
            outcomes += [answer] * len(chunk.items) if isinstance(answer, TailraceError) else answer
        return outcomes

    def _check_room(self, count: int, size_bytes: int) -> None:
        """Refuse to add to a line that is too long; one caller alone never makes it so."""
        is_too_long = self._waiting_items + count > MAX_WAITING_ITEMS
        is_too_large = self._waiting_bytes + size_bytes > MAX_WAITING_BYTES
        if self._waiting_items and (is_too_long or is_too_large):
            raise StoreUnavailableError("the store is too slow for what is asked of it; try again")

    def _cut(self, items: Sequence[Item]) -> Iterator[_Chunk[Item, Outcome]]:
        begin = size_bytes = 0
        for end, item in enumerate(items):
            item_bytes = self._size_of(item)
            if end > begin and (end - begin >= MAX_ITEMS or size_bytes + item_bytes > MAX_CALL_BYTES):
                yield _Chunk(items[begin:end], size_bytes)
                begin, size_bytes = end, 0
            size_bytes += item_bytes
        if begin < len(items):
            yield _Chunk(items[begin:], size_bytes)

    async def _pump_chunks(self) -> None:
        try:
            while self._chunks:
                await self._run_batch(self._take_batch())
        finally:
            self._pump = None

    def _take_batch(self) -> list[_Chunk[Item, Outcome]]:
        batch = [self._chunks.popleft()]
        count, size_bytes = len(batch[0].items), batch[0].size_bytes
        while self._chunks:
            chunk = self._chunks[0]
            count += len(chunk.items)
            size_bytes += chunk.size_bytes
            if count > MAX_ITEMS or size_bytes > MAX_CALL_BYTES:
                break
            batch.append(self._chunks.popleft())
        return batch

    async def _run_batch(self, batch: list[_Chunk[Item, Outcome]]) -> None:
        items = [item for chunk in batch for item in chunk.items]
        try:
            async with asyncio.timeout(self._deadline_s):
                outcomes = _checked(await self._call(items), len(items))
        except TimeoutError:
            _fail(batch, StoreUnavailableError(f"the store did not answer within {self._deadline_s:.0f} s"))
        except asyncio.CancelledError:
            _fail(batch, StoreUnavailableError("the server stopped before the store answered"))
            raise
        except Exception as error:  # noqa: BLE001 - every caller of this batch gets it, none is left waiting
            _fail(batch, error)
        else:
            _answer(batch, outcomes)
        finally:
            self._waiting_items -= len(items)
            self._waiting_bytes -= sum(chunk.size_bytes for chunk in batch)


def _checked(outcomes: Sequence[Outcome], count: int) -> Sequence[Outcome]:
    """Keep answers that do not match the items from being handed to callers that they were not meant for."""
    if len(outcomes) != count:
        raise RuntimeError(f"the store gave {len(outcomes)} answers to {count} items")
    return outcomes


def _fail(batch: list[_Chunk[Item, Outcome]], error: Exception) -> None:
    for chunk in batch:
        if not chunk.answer.done():
            chunk.answer.set_exception(error)


def _answer(batch: list[_Chunk[Item, Outcome]], outcomes: Sequence[Outcome]) -> None:
    begin = 0
    for chunk in batch:
        end = begin + len(chunk.items)
        if not chunk.answer.done():
            chunk.answer.set_result(outcomes[begin:end])
        begin = end

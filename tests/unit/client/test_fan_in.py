"""Several iterators as one."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterator

import pytest

from tailrace.client._async_fan_in import async_fan_in
from tailrace.client._fan_in import Stop, fan_in


class Call:
    """Blocks a reader until it is cancelled."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()

    def cancel(self) -> None:
        self.cancelled.set()


def blocked(stop: Stop, *items: str) -> Iterator[str]:
    call = Call()
    stop.attach(call)
    yield from items
    call.cancelled.wait(30)


def test_everything_the_sources_bring_is_yielded() -> None:
    merged = sorted(fan_in([iter(range(1000)), iter(range(1000, 2000)), iter([])], Stop()))

    assert merged == list(range(2000))


def test_what_comes_first_is_yielded_first() -> None:
    stop = Stop()
    merged = fan_in([blocked(stop), iter(["quick"])], stop)

    assert next(merged) == "quick"
    merged.close()


def test_leaving_early_ends_sources_that_block() -> None:
    before = set(threading.enumerate())
    stop = Stop()
    merged = fan_in([blocked(stop, "a"), blocked(stop)], stop)
    next(merged)

    merged.close()

    assert stop.is_set()
    assert set(threading.enumerate()) <= before


def test_leaving_early_ends_sources_that_have_more_than_anyone_read() -> None:
    before = set(threading.enumerate())
    merged = fan_in([iter(range(100_000)), iter(range(100_000))], Stop())
    next(merged)

    merged.close()

    assert set(threading.enumerate()) <= before


def test_what_a_source_raises_is_raised() -> None:
    def failing() -> Iterator[str]:
        yield "fine"
        raise LookupError("no more")

    stop = Stop()
    merged = fan_in([failing(), blocked(stop)], stop)

    with pytest.raises(LookupError, match="no more"):
        list(merged)


def test_a_call_attached_after_the_stop_is_cancelled_at_once() -> None:
    stop, call = Stop(), Call()
    stop.set()

    stop.attach(call)

    assert call.cancelled.is_set()


def test_a_call_that_ended_is_left_alone() -> None:
    stop, call = Stop(), Call()
    stop.attach(call)
    stop.detach(call)

    stop.set()

    assert not call.cancelled.is_set()


async def numbers(start: int, stop: int) -> AsyncGenerator[int, None]:
    for number in range(start, stop):
        await asyncio.sleep(0)
        yield number


async def never() -> AsyncGenerator[int, None]:
    await asyncio.get_running_loop().create_future()
    yield 0


async def test_everything_the_asynchronous_sources_bring_is_yielded() -> None:
    merged = [number async for number in async_fan_in([numbers(0, 500), numbers(500, 1000)])]

    assert sorted(merged) == list(range(1000))


async def test_leaving_early_ends_asynchronous_sources() -> None:
    before = len(asyncio.all_tasks())
    merged = async_fan_in([never(), numbers(0, 100_000)])
    assert await anext(merged) == 0

    await merged.aclose()

    assert len(asyncio.all_tasks()) == before


async def test_what_an_asynchronous_source_raises_is_raised() -> None:
    async def failing() -> AsyncGenerator[int, None]:
        yield 1
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        [item async for item in async_fan_in([failing(), never()])]

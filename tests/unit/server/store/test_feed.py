"""The line of changes from a store to whoever listens: bounded, and nothing in it goes unannounced."""

import pytest

from tailrace.server.store.changes import Change, DrainRequested, EpochBreak, QueueReady, StoreEmptied
from tailrace.server.store.feed import ChangeFeed


async def read_all(feed: ChangeFeed) -> list[Change]:
    feed.close()
    return [change async for change in feed.changes()]


async def test_changes_come_in_the_order_in_which_they_were_put() -> None:
    feed = ChangeFeed()
    for name in ("a", "b", "c"):
        feed.put(QueueReady(name))

    assert await read_all(feed) == [QueueReady("a"), QueueReady("b"), QueueReady("c")]


async def test_what_overflows_becomes_one_epoch_break() -> None:
    feed = ChangeFeed(capacity=3)
    for name in ("a", "b", "c", "d"):
        feed.put(QueueReady(name))

    assert await read_all(feed) == [EpochBreak(), QueueReady("d")]


@pytest.mark.parametrize("change", [StoreEmptied(), DrainRequested("worker-1")])
async def test_what_an_epoch_break_does_not_say_survives_an_overflow(change: Change) -> None:
    feed = ChangeFeed(capacity=3)
    for put in (QueueReady("a"), change, QueueReady("b"), QueueReady("c")):
        feed.put(put)

    assert await read_all(feed) == [change, EpochBreak(), QueueReady("c")]


async def test_a_mark_is_set_once_all_before_it_has_been_dealt_with() -> None:
    feed = ChangeFeed()
    feed.put(QueueReady("a"))
    mark = feed.mark()
    feed.put(QueueReady("b"))
    feed.close()

    assert [mark.is_set() async for _ in feed.changes()] == [False, True]
    assert mark.is_set()

"""Leasing no more than a worker has room for, in bytes of input."""

import pytest

from tests.store.builders import a_submission
from tests.store.steps import Steps


async def submit(steps: Steps, **sizes: int) -> None:
    await steps.submit(*(a_submission(task_id, payload=b"x" * size) for task_id, size in sizes.items()))


async def test_a_delivery_says_how_large_its_input_is(steps: Steps) -> None:
    await submit(steps, empty=0, large=100_000)

    leased = await steps.lease(count=2)

    assert [(d.task_id, d.input_bytes) for d in leased.deliveries] == [("empty", 0), ("large", 100_000)]


async def test_no_more_inputs_than_fit_are_delivered_and_the_next_one_is_said_to_be_held_back(steps: Steps) -> None:
    await submit(steps, a=60, b=40, c=1)

    leased = await steps.lease(count=5, max_bytes=100)

    assert [d.task_id for d in leased.deliveries] == ["a", "b"]
    assert (leased.is_blocked, leased.is_drained) == (True, False)
    assert await steps.drain() == ["c"]


async def test_a_task_that_does_not_fit_holds_back_those_behind_it(steps: Steps) -> None:
    await submit(steps, large=101, small=1)
    await steps.submit(a_submission("elsewhere", queue="other", payload=b"x"))

    leased = await steps.lease("default", "other", count=5, max_bytes=100)

    assert (leased.deliveries, leased.is_blocked, leased.is_drained) == ((), True, False)
    assert await steps.drain() == ["large", "small"]


async def test_the_first_may_be_larger_where_that_is_allowed_and_uses_up_the_room(steps: Steps) -> None:
    await submit(steps, large=101, small=1)

    leased = await steps.lease(count=5, max_bytes=100, is_first_free=True)

    assert [d.task_id for d in leased.deliveries] == ["large"]
    assert leased.is_blocked
    assert await steps.drain() == ["small"]


async def test_only_the_first_may_be_larger(steps: Steps) -> None:
    await submit(steps, a=10, large=101)

    leased = await steps.lease(count=5, max_bytes=100, is_first_free=True)

    assert [d.task_id for d in leased.deliveries] == ["a"]
    assert leased.is_blocked


async def test_an_input_of_nothing_fits_where_there_is_no_room(steps: Steps) -> None:
    await submit(steps, empty=0, small=1)

    leased = await steps.lease(count=5, max_bytes=0)

    assert [d.task_id for d in leased.deliveries] == ["empty"]
    assert leased.is_blocked


@pytest.mark.parametrize("max_bytes", [None, 10**9])
async def test_with_room_enough_nothing_is_held_back(steps: Steps, max_bytes: int | None) -> None:
    await submit(steps, a=1_000, b=2_000)

    leased = await steps.lease(count=5, max_bytes=max_bytes)

    assert [d.task_id for d in leased.deliveries] == ["a", "b"]
    assert (leased.is_blocked, leased.is_drained) == (False, True)


async def test_a_task_is_held_back_in_its_place_and_keeps_it(steps: Steps) -> None:
    await steps.submit(a_submission("urgent", priority=9, payload=b"x" * 50), a_submission("other", payload=b"x"))
    assert (await steps.lease(count=1, max_bytes=49)).is_blocked

    leased = await steps.lease(count=2, max_bytes=51)

    assert [d.task_id for d in leased.deliveries] == ["urgent", "other"]


async def test_neither_paused_queues_nor_late_nor_revoked_tasks_hold_anything_back(steps: Steps) -> None:
    large = b"x" * 1_000
    await steps.submit(a_submission("paused", queue="paused", payload=large))
    await steps.submit(a_submission("late", payload=large, start_within_ms=10))
    await steps.submit(a_submission("revoked", payload=large), a_submission("small", payload=b"x"))
    await steps.pause("paused")
    await steps.revoke("revoked")
    await steps.harness.advance(10)

    leased = await steps.lease("paused", "default", count=5, max_bytes=1)

    assert [d.task_id for d in leased.deliveries] == ["small"]
    assert (leased.is_blocked, leased.is_drained) == (False, True)

"""Handing tasks out: which, in which order, under which lease."""

from dataclasses import replace

import pytest

from tailrace.server.domain.lease import DELIVERY_LEASE_MS, lease_token
from tailrace.server.domain.retry import RetryPolicy
from tailrace.server.domain.task import Place, TaskState
from tailrace.server.store.base import MAX_CALL_BYTES
from tailrace.server.store.values import Delivery
from tests.store.builders import a_failure, a_lease_request, a_submission, nonces
from tests.store.harness import START_MS
from tests.store.steps import Steps


async def test_a_delivery_carries_all_that_a_worker_needs(steps: Steps) -> None:
    await steps.submit(a_submission(lease_ms=45_000))
    await steps.harness.advance(7)

    leased = await steps.store.lease_tasks(0, a_lease_request(count=1, first_nonce=99))

    assert leased.deliveries == (
        Delivery(
            task_id="task-1",
            lease_token=lease_token(1, nonces(1, 99)[0]),
            request=a_submission().request,
            attempt=1,
            lease_ms=45_000,
            lease_expire_ms=START_MS + 7 + DELIVERY_LEASE_MS,
            create_ms=START_MS,
            last_failure=None,
            input_bytes=6,
        ),
    )


async def test_a_delivered_task_is_still_pending_and_its_revision_has_not_moved(steps: Steps) -> None:
    submitted = await steps.submit_one()

    await steps.deliver()

    assert await steps.read() == replace(submitted.snapshot, place=Place.LEASE)


async def test_a_task_is_delivered_once(steps: Steps) -> None:
    await steps.submit_one()

    assert await steps.drain() == ["task-1"]
    assert await steps.drain() == []


async def test_tasks_come_in_the_order_of_their_submission(steps: Steps) -> None:
    await steps.submit(a_submission("c"), a_submission("a"))
    await steps.submit(a_submission("b"))

    assert await steps.drain() == ["c", "a", "b"]


async def test_higher_priority_goes_first_and_within_one_it_is_first_in_first_out(steps: Steps) -> None:
    for task_id, priority in [("low-1", 0), ("high-1", 9), ("mid", 4), ("low-2", 0), ("high-2", 9)]:
        await steps.submit(a_submission(task_id, priority=priority))

    assert await steps.drain() == ["high-1", "high-2", "mid", "low-1", "low-2"]


async def test_queues_are_drawn_from_in_the_order_of_the_request_whatever_the_priorities(steps: Steps) -> None:
    await steps.submit(
        a_submission("slow", queue="slow", priority=9),
        a_submission("fast-1", queue="fast"),
        a_submission("fast-2", queue="fast"),
        a_submission("other", queue="other"),
    )

    leased = await steps.lease("fast", "none", "slow", count=10)

    assert [delivery.task_id for delivery in leased.deliveries] == ["fast-1", "fast-2", "slow"]
    assert leased.is_drained
    assert await steps.drain("other") == ["other"]


async def test_a_queue_named_twice_is_drawn_from_once(steps: Steps) -> None:
    await steps.submit(a_submission("a"), a_submission("b"))

    assert await steps.drain("default", "default") == ["a", "b"]


async def test_no_more_are_delivered_than_were_asked_for(steps: Steps) -> None:
    await steps.submit(*(a_submission(f"task-{number}") for number in range(5)))

    first = await steps.lease(count=3)
    second = await steps.lease(count=2)

    assert [d.task_id for d in first.deliveries] == ["task-0", "task-1", "task-2"]
    assert not first.is_drained
    assert [d.task_id for d in second.deliveries] == ["task-3", "task-4"]
    assert second.is_drained


async def test_drained_means_all_the_queues_asked_for_and_no_others(steps: Steps) -> None:
    await steps.submit(a_submission("a", queue="one"), a_submission("b", queue="two"))

    assert not (await steps.lease("one", "two", count=1)).is_drained
    assert (await steps.lease("one", count=1)).is_drained
    assert (await steps.lease("two", count=1)).is_drained


async def test_an_empty_queue_delivers_nothing_and_is_drained(steps: Steps) -> None:
    leased = await steps.lease("nobody-submits-here", count=5)

    assert leased.deliveries == ()
    assert leased.is_drained


async def test_payloads_end_a_call_once_they_reach_its_budget(steps: Steps) -> None:
    half = b"x" * (MAX_CALL_BYTES // 2)
    await steps.submit(*(a_submission(f"task-{number}", payload=half) for number in range(3)))

    first = await steps.lease(count=10)
    second = await steps.lease(count=10)

    assert [d.task_id for d in first.deliveries] == ["task-0", "task-1"]
    assert not first.is_drained
    assert [d.task_id for d in second.deliveries] == ["task-2"]
    assert second.is_drained


@pytest.mark.parametrize("carried", ["failure", "progress"])
async def test_what_earlier_attempts_left_counts_towards_the_budget(steps: Steps, carried: str) -> None:
    policy = RetryPolicy(max_attempts=2, initial_backoff_ms=0)
    half = b"x" * (MAX_CALL_BYTES // 2)
    for number in range(3):
        delivery = await steps.submit_and_start(a_submission(f"task-{number}", retry_policy=policy))
        if carried == "progress":
            await steps.beat(delivery, progress=half)
            await steps.release(delivery, delay_ms=1)
        else:
            await steps.end(a_failure(delivery.task_id, delivery.lease_token, failure=half, next_retry_delay_ms=1))
    await steps.harness.advance(1)
    await steps.promote()

    first = await steps.lease(count=10)
    second = await steps.lease(count=10)

    assert [d.task_id for d in first.deliveries] == ["task-0", "task-1"]
    assert not first.is_drained
    assert [d.task_id for d in second.deliveries] == ["task-2"]


async def test_one_payload_over_the_budget_is_delivered_alone(steps: Steps) -> None:
    await steps.submit(a_submission("large", payload=b"x" * (2 * MAX_CALL_BYTES)), a_submission("small"))

    assert [d.task_id for d in (await steps.lease(count=10)).deliveries] == ["large"]


async def test_a_task_may_be_started_on_delivery(steps: Steps) -> None:
    await steps.submit(a_submission(lease_ms=60_000))

    delivery = await steps.deliver(start_immediately=True)

    assert (delivery.attempt, delivery.lease_expire_ms) == (1, START_MS + 60_000)
    started = await steps.read()
    assert (started.state, started.place, started.attempt, started.revision) == (TaskState.STARTED, Place.LEASE, 1, 2)


async def test_the_next_attempt_is_told_how_the_one_before_ended(steps: Steps) -> None:
    policy = RetryPolicy(max_attempts=2)
    first = await steps.submit_and_start(a_submission(retry_policy=policy))
    await steps.end(a_failure("task-1", first.lease_token, failure=b"broken", next_retry_delay_ms=0))

    second = await steps.deliver()

    assert (second.attempt, second.last_failure) == (2, b"broken")
    assert second.lease_token[:4] == (2).to_bytes(4, "big")

"""Signs of life: the first starts an attempt, the others keep the lease."""

from dataclasses import replace

from tailrace.server.domain.lease import DELIVERY_LEASE_MS
from tailrace.server.domain.task import Place, TaskState
from tailrace.server.store.values import Beat, LeaseHeld
from tests.store.builders import a_submission, a_success
from tests.store.harness import START_MS
from tests.store.steps import Steps


async def test_the_first_beat_starts_the_attempt_and_gives_the_lease_its_full_length(steps: Steps) -> None:
    await steps.submit(a_submission(lease_ms=45_000))
    delivery = await steps.deliver()
    await steps.harness.advance(3_000)

    expire_ms = await steps.beat(delivery)

    assert expire_ms == START_MS + 3_000 + 45_000
    started = await steps.read()
    assert (started.state, started.place, started.attempt) == (TaskState.STARTED, Place.LEASE, 1)
    assert (started.revision, started.update_ms) == (2, START_MS + 3_000)


async def test_later_beats_extend_the_lease_and_change_nothing_else(steps: Steps) -> None:
    delivery = await steps.submit_and_start(a_submission(lease_ms=30_000))
    started = await steps.read()
    await steps.harness.advance(20_000)

    assert await steps.beat(delivery) == START_MS + 20_000 + 30_000
    assert await steps.read() == started


async def test_a_waiting_beat_extends_the_delivery_and_starts_nothing(steps: Steps) -> None:
    await steps.submit_one()
    delivery = await steps.deliver()
    delivered = await steps.read()
    await steps.harness.advance(8_000)

    assert await steps.beat(delivery, is_waiting=True) == START_MS + 8_000 + DELIVERY_LEASE_MS
    assert await steps.read() == delivered


async def test_a_waiting_beat_that_comes_after_the_start_extends_the_lease(steps: Steps) -> None:
    delivery = await steps.submit_and_start(a_submission(lease_ms=30_000))
    await steps.harness.advance(5_000)

    assert await steps.beat(delivery, is_waiting=True) == START_MS + 5_000 + 30_000
    assert (await steps.read()).state is TaskState.STARTED


async def test_a_lease_past_its_end_is_kept_by_a_beat_as_long_as_nobody_took_it(steps: Steps) -> None:
    delivery = await steps.submit_and_start(a_submission(lease_ms=2_000))
    await steps.harness.advance(60_000)

    assert await steps.beat(delivery) == START_MS + 60_000 + 2_000
    assert (await steps.reap()).count == 0


async def test_a_beat_with_another_token_is_told_that_the_lease_is_lost(steps: Steps) -> None:
    delivery = await steps.submit_and_start()
    foreign = replace(delivery, lease_token=delivery.lease_token[:4] + b"foreign!")

    assert await steps.beat(foreign) is None
    assert await steps.beat(replace(delivery, lease_token=b"")) is None
    assert await steps.beat(delivery) is not None


async def test_beats_of_one_call_are_judged_one_by_one(steps: Steps) -> None:
    await steps.submit(a_submission("a"), a_submission("b"), a_submission("c"))
    a, b, c = (await steps.lease(count=3)).deliveries
    await steps.end(a_success("b", b.lease_token))

    answers = await steps.store.beat_leases(
        0,
        [
            Beat(task_id="a", lease_token=a.lease_token, is_waiting=True),
            Beat(task_id="b", lease_token=b.lease_token),
            Beat(task_id="unknown", lease_token=a.lease_token),
            Beat(task_id="c", lease_token=c.lease_token),
            Beat(task_id="a", lease_token=a.lease_token),
        ],
    )

    waiting, started = LeaseHeld(expire_ms=START_MS + DELIVERY_LEASE_MS), LeaseHeld(expire_ms=START_MS + 30_000)
    assert answers == [waiting, None, None, started, started]
    assert (await steps.read("a")).state is TaskState.STARTED


async def test_a_ready_task_has_no_lease_to_beat(steps: Steps) -> None:
    await steps.submit_one()
    delivery = await steps.deliver()
    await steps.release(delivery)

    assert await steps.beat(delivery) is None
    assert (await steps.read()).state is TaskState.PENDING

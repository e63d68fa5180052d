"""Leases that run out: the task goes to another worker, and what kills its workers is stopped."""

from tailrace.server.domain.lease import DELIVERY_LEASE_MS, RELEASES_PER_LOST_LEASE
from tailrace.server.domain.task import Place, TaskState
from tailrace.server.store.base import REAP_GAP_MS, REAP_GRACE_MS
from tailrace.server.store.values import Tick
from tests.store.builders import LOST, a_failure, a_policy, a_submission
from tests.store.harness import START_MS
from tests.store.steps import Steps

LEASE_MS = 2_000


async def test_a_lease_that_ran_out_is_taken_and_the_task_goes_to_the_head_of_its_queue(steps: Steps) -> None:
    await steps.submit_and_start(a_submission("lost", lease_ms=LEASE_MS))
    await steps.submit(a_submission("waiting"))
    await steps.harness.advance(LEASE_MS)

    assert await steps.reap() == Tick(count=1, next_due_ms=None)

    lost = await steps.read("lost")
    assert (lost.state, lost.place, lost.attempt, lost.revision) == (TaskState.RETRY, Place.READY, 1, 3)
    assert (lost.last_failure, lost.update_ms) == (LOST, START_MS + LEASE_MS)
    assert await steps.drain() == ["lost", "waiting"]


async def test_a_lease_is_left_alone_until_its_last_millisecond_is_over(steps: Steps) -> None:
    await steps.submit_and_start(a_submission(lease_ms=LEASE_MS))
    await steps.harness.advance(LEASE_MS - 1)

    assert await steps.reap() == Tick(count=0, next_due_ms=1)
    assert (await steps.read()).state is TaskState.STARTED


async def test_a_delivery_that_nobody_confirmed_goes_back_without_a_trace(steps: Steps) -> None:
    submitted = await steps.submit_one()
    await steps.submit(a_submission("waiting"))
    await steps.deliver()
    await steps.harness.advance(DELIVERY_LEASE_MS)

    assert (await steps.reap()).count == 1

    assert await steps.read() == submitted.snapshot
    assert await steps.drain() == ["task-1", "waiting"]


async def test_a_delivery_that_nobody_confirmed_is_never_a_lost_lease(steps: Steps) -> None:
    await steps.submit(a_submission(max_lost_leases=1))
    for _ in range(5):
        await steps.deliver()
        assert await steps.pass_time(DELIVERY_LEASE_MS) == 1

    assert (await steps.read()).state is TaskState.PENDING
    assert (await steps.deliver()).attempt == 1


async def test_a_lost_lease_is_no_failed_attempt_and_knows_no_backoff(steps: Steps) -> None:
    await steps.submit_and_start(a_submission(lease_ms=LEASE_MS, retry_policy=a_policy(1)))
    await steps.pass_time(LEASE_MS)

    holder = await steps.start()

    assert holder.attempt == 2
    stored = await steps.end(a_failure("task-1", holder.lease_token))
    assert stored is not None
    assert stored.state is TaskState.FAILURE


async def test_a_task_that_was_lost_three_times_in_a_row_fails(steps: Steps) -> None:
    await steps.submit(a_submission(lease_ms=LEASE_MS, retry_policy=a_policy(100)))
    states = []

    for _ in range(3):
        await steps.start()
        await steps.pass_time(LEASE_MS)
        states.append((await steps.read()).state)

    assert states == [TaskState.RETRY, TaskState.RETRY, TaskState.FAILURE]
    failed = await steps.read()
    assert (failed.place, failed.failure, failed.last_failure, failed.attempt) == (Place.DONE, LOST, None, 3)
    assert await steps.drain() == []


async def test_the_submitter_may_say_how_often_a_task_may_be_lost(steps: Steps) -> None:
    await steps.submit_and_start(a_submission(lease_ms=LEASE_MS, max_lost_leases=1))

    await steps.pass_time(LEASE_MS)

    assert (await steps.read()).state is TaskState.FAILURE


async def test_an_attempt_that_a_worker_ended_makes_the_count_of_losses_begin_anew(steps: Steps) -> None:
    await steps.submit(a_submission(lease_ms=LEASE_MS, retry_policy=a_policy(100)))
    for _ in range(2):
        await steps.start()
        await steps.pass_time(LEASE_MS)
    ended = await steps.start()
    await steps.end(a_failure("task-1", ended.lease_token, next_retry_delay_ms=0))

    for _ in range(2):
        await steps.start()
        await steps.pass_time(LEASE_MS)

    assert (await steps.read()).state is TaskState.RETRY


async def test_a_release_does_not_make_the_count_of_losses_begin_anew(steps: Steps) -> None:
    await steps.submit(a_submission(lease_ms=LEASE_MS, max_lost_leases=2))
    await steps.start()
    await steps.pass_time(LEASE_MS)
    await steps.release(await steps.start())

    await steps.start()
    await steps.pass_time(LEASE_MS)

    assert (await steps.read()).state is TaskState.FAILURE


async def test_a_lost_lease_makes_the_count_of_releases_begin_anew(steps: Steps) -> None:
    await steps.submit(a_submission(lease_ms=LEASE_MS, max_lost_leases=2))
    for _ in range(RELEASES_PER_LOST_LEASE - 1):
        await steps.release(await steps.deliver())
    await steps.start()
    await steps.pass_time(LEASE_MS)

    await steps.release(await steps.deliver())

    assert (await steps.read()).state is TaskState.RETRY


async def test_the_earliest_expiry_ends_foremost_and_ties_are_broken_by_id(steps: Steps) -> None:
    leases = {"late": 4_000, "tie-b": 3_000, "first": 2_000, "tie-a": 3_000}
    for task_id, lease_ms in leases.items():
        await steps.submit_and_start(a_submission(task_id, lease_ms=lease_ms))
    await steps.harness.advance(4_000)

    assert (await steps.reap()).count == 4

    assert await steps.drain() == ["first", "tie-a", "tie-b", "late"]


async def test_a_reap_takes_no_more_than_its_limit_the_earliest_first(steps: Steps) -> None:
    for task_id, lease_ms in {"c": 4_000, "a": 2_000, "b": 3_000}.items():
        await steps.submit_and_start(a_submission(task_id, lease_ms=lease_ms))
    await steps.harness.advance(3_500)

    assert await steps.reap(limit=1) == Tick(count=1, next_due_ms=0)
    assert await steps.reap(limit=5) == Tick(count=1, next_due_ms=500)
    assert await steps.drain() == ["b", "a"]  # two calls: the later one goes before the earlier


async def test_reaping_tells_when_the_next_lease_runs_out(steps: Steps) -> None:
    await steps.submit_and_start(a_submission("one", lease_ms=9_000))
    await steps.submit_and_start(a_submission("two", lease_ms=7_000))

    assert await steps.reap() == Tick(count=0, next_due_ms=7_000)
    assert await steps.drain() == []


async def test_after_a_gap_between_reaps_workers_get_time_to_come_back(steps: Steps) -> None:
    delivery = await steps.submit_and_start(a_submission(lease_ms=LEASE_MS))
    await steps.reap()
    await steps.harness.advance(REAP_GAP_MS + 1)

    assert await steps.reap() == Tick(count=0, next_due_ms=REAP_GRACE_MS)
    await steps.harness.advance(1_000)
    assert await steps.reap() == Tick(count=0, next_due_ms=REAP_GRACE_MS - 1_000)
    assert await steps.beat(delivery) is not None


async def test_a_gap_of_just_the_allowed_length_is_none(steps: Steps) -> None:
    await steps.submit_and_start(a_submission(lease_ms=LEASE_MS))
    await steps.reap()
    await steps.harness.advance(REAP_GAP_MS)

    assert (await steps.reap()).count == 1


async def test_the_grace_ends_and_what_was_not_kept_is_reaped(steps: Steps) -> None:
    await steps.submit_and_start(a_submission("kept", lease_ms=60_000))
    await steps.submit_and_start(a_submission("lost", lease_ms=LEASE_MS))
    await steps.reap()
    await steps.harness.advance(REAP_GAP_MS + 1)
    await steps.reap()

    assert await steps.pass_time(REAP_GRACE_MS - 1) == 0
    assert await steps.pass_time(1) == 1
    assert (await steps.read("lost")).state is TaskState.RETRY
    assert (await steps.read("kept")).state is TaskState.STARTED


async def test_a_clock_that_went_backwards_counts_as_a_gap(steps: Steps) -> None:
    await steps.submit_and_start(a_submission(lease_ms=LEASE_MS))
    await steps.harness.advance(LEASE_MS + 10)
    await steps.submit(a_submission("other"))
    assert (await steps.reap()).count == 1
    await steps.start()

    await steps.harness.advance(-1)

    assert await steps.reap() == Tick(count=0, next_due_ms=REAP_GRACE_MS)


async def test_a_second_gap_within_the_grace_makes_it_begin_anew(steps: Steps) -> None:
    await steps.submit_and_start(a_submission(lease_ms=LEASE_MS))
    await steps.reap()
    await steps.harness.advance(REAP_GAP_MS + 1)
    await steps.reap()
    await steps.harness.advance(REAP_GAP_MS + 1)

    assert await steps.reap() == Tick(count=0, next_due_ms=REAP_GRACE_MS)


async def test_in_the_grace_nothing_is_due_where_no_lease_is_out(steps: Steps) -> None:
    await steps.reap()
    await steps.harness.advance(REAP_GAP_MS + 1)

    assert await steps.reap() == Tick(count=0, next_due_ms=None)


async def test_a_restart_of_the_server_does_not_forget_the_gap_or_the_grace(steps: Steps) -> None:
    await steps.submit_and_start(a_submission(lease_ms=LEASE_MS))
    await steps.reap()
    await steps.harness.advance(60_000)
    await steps.harness.reopen()

    assert await steps.reap() == Tick(count=0, next_due_ms=REAP_GRACE_MS)
    await steps.harness.reopen()
    assert await steps.reap() == Tick(count=0, next_due_ms=REAP_GRACE_MS)
    assert await steps.pass_time(REAP_GRACE_MS) == 1

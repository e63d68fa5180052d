"""Attempts that a worker should have ended by itself: the store does, some time after the limit."""

from tailrace.server.domain.deadline import EXECUTION_GRACE_MS
from tailrace.server.domain.lease import EXECUTION_TIMEOUT_TYPE
from tailrace.server.domain.retry import RetryPolicy
from tailrace.server.domain.task import Place, Submission, TaskState
from tailrace.server.store.base import REAP_GAP_MS, REAP_GRACE_MS
from tailrace.server.store.changes import LeaseNews
from tailrace.server.store.values import ResultStored, Tick
from tests.store.builders import MISSED, STOP, a_failure, a_policy, a_submission, a_success
from tests.store.redis_listener import listening_to
from tests.store.steps import Steps

LIMIT_MS = 5_000
PATIENCE_MS = LIMIT_MS + EXECUTION_GRACE_MS
AT_ONCE = RetryPolicy(max_attempts=3, initial_backoff_ms=0)


def limited(task_id: str = "task-1", **fields: object) -> Submission:
    return a_submission(task_id, execution_timeout_ms=LIMIT_MS, lease_ms=3_600_000, **fields)  # type: ignore[arg-type]


async def test_an_attempt_is_left_to_its_worker_for_the_grace_and_fails_then(steps: Steps) -> None:
    await steps.submit(limited())
    await steps.harness.advance(60_000)
    await steps.start()
    await steps.harness.advance(PATIENCE_MS - 1)
    assert await steps.end_overdue() == Tick(count=0, next_due_ms=1)
    await steps.harness.advance(1)

    assert await steps.end_overdue() == Tick(count=1, next_due_ms=None)

    snapshot = await steps.read()
    assert (snapshot.state, snapshot.failure, snapshot.attempt) == (TaskState.FAILURE, MISSED.execution, 1)
    assert snapshot.revision == 3


async def test_nothing_is_due_before_the_attempt_has_started(steps: Steps) -> None:
    await steps.submit(limited())
    assert await steps.end_overdue() == Tick(count=0, next_due_ms=None)
    delivery = await steps.deliver()
    assert await steps.end_overdue() == Tick(count=0, next_due_ms=None)
    await steps.beat(delivery, is_waiting=True)
    assert await steps.end_overdue() == Tick(count=0, next_due_ms=None)
    await steps.beat(delivery)

    assert await steps.end_overdue() == Tick(count=0, next_due_ms=PATIENCE_MS)


async def test_what_is_tried_again_is_due_by_its_next_deadline(steps: Steps) -> None:
    await steps.submit_and_start(limited(retry_policy=AT_ONCE, total_timeout_ms=PATIENCE_MS + 700))
    await steps.harness.advance(PATIENCE_MS)
    assert await steps.end_overdue() == Tick(count=1, next_due_ms=700)
    await steps.submit(a_submission("earlier", start_within_ms=300))

    assert await steps.end_overdue() == Tick(count=0, next_due_ms=300)


async def test_beats_do_not_put_the_limit_off(steps: Steps) -> None:
    delivery = await steps.submit_and_start(limited())
    await steps.harness.advance(1_000)

    await steps.beat(delivery)

    assert await steps.end_overdue() == Tick(count=0, next_due_ms=PATIENCE_MS - 1_000)


async def test_a_start_on_delivery_is_limited_too(steps: Steps) -> None:
    await steps.submit(limited())
    await steps.deliver(start_immediately=True)

    assert await steps.end_overdue() == Tick(count=0, next_due_ms=PATIENCE_MS)


async def test_the_submitters_policy_decides_about_another_attempt(steps: Steps) -> None:
    policy = RetryPolicy(max_attempts=2, initial_backoff_ms=1_000)
    delivery = await steps.submit_and_start(limited(retry_policy=policy))
    await steps.harness.advance(PATIENCE_MS)

    await steps.end_overdue(jitters=[40_000])

    snapshot = await steps.read()
    assert (snapshot.state, snapshot.place, snapshot.last_failure) == (
        TaskState.RETRY,
        Place.SCHEDULE,
        MISSED.execution,
    )
    backoff_ms = policy.backoff_ms(failed_attempts=1, jitter=40_000)
    assert await steps.promote() == Tick(count=0, next_due_ms=backoff_ms)
    assert await steps.beat(delivery) is None
    await steps.harness.advance(backoff_ms)
    await steps.promote()
    await steps.start()
    await steps.harness.advance(PATIENCE_MS)
    await steps.end_overdue()
    assert (await steps.read()).state is TaskState.FAILURE


async def test_every_attempt_has_the_whole_time(steps: Steps) -> None:
    delivery = await steps.submit_and_start(limited(retry_policy=AT_ONCE))
    await steps.harness.advance(LIMIT_MS - 1)
    await steps.end(a_failure("task-1", delivery.lease_token))
    assert await steps.end_overdue() == Tick(count=0, next_due_ms=None)

    await steps.start()

    assert await steps.end_overdue() == Tick(count=0, next_due_ms=PATIENCE_MS)


async def test_a_release_takes_the_limit_along(steps: Steps) -> None:
    delivery = await steps.submit_and_start(limited())

    await steps.release(delivery)

    assert await steps.end_overdue() == Tick(count=0, next_due_ms=None)
    await steps.harness.advance(PATIENCE_MS)
    assert await steps.drain() == ["task-1"]


async def test_it_counts_as_a_failed_attempt_and_ends_a_row_of_lost_leases(steps: Steps) -> None:
    await steps.submit(limited(retry_policy=a_policy(2), max_lost_leases=1))
    await steps.start()
    await steps.harness.advance(PATIENCE_MS)
    await steps.end_overdue()
    await steps.harness.advance(1_000)
    await steps.promote()
    second = await steps.start()

    await steps.end(a_failure("task-1", second.lease_token, failure=b"second"))

    snapshot = await steps.read()
    assert (snapshot.state, snapshot.failure) == (TaskState.FAILURE, b"second")


async def test_a_policy_may_exclude_it(steps: Steps) -> None:
    policy = RetryPolicy(max_attempts=9, non_retryable_types=("ValueError", EXECUTION_TIMEOUT_TYPE))
    await steps.submit_and_start(limited(retry_policy=policy))
    await steps.harness.advance(PATIENCE_MS)

    await steps.end_overdue()

    assert (await steps.read()).state is TaskState.FAILURE


async def test_a_task_that_was_asked_to_stop_ends_as_it_was_asked_to(steps: Steps) -> None:
    await steps.submit_and_start(limited(retry_policy=AT_ONCE))
    await steps.revoke()
    await steps.harness.advance(PATIENCE_MS)

    await steps.end_overdue()

    snapshot = await steps.read()
    assert (snapshot.state, snapshot.failure) == (TaskState.REVOKED, STOP)


async def test_a_retry_that_would_come_after_the_total_timeout_is_not_waited_for(steps: Steps) -> None:
    policy = RetryPolicy(max_attempts=9, initial_backoff_ms=60_000)
    await steps.submit_and_start(limited(retry_policy=policy, total_timeout_ms=PATIENCE_MS + 10_000))
    await steps.harness.advance(PATIENCE_MS)

    await steps.end_overdue()

    snapshot = await steps.read()
    assert (snapshot.state, snapshot.failure) == (TaskState.FAILURE, MISSED.execution)


async def test_without_a_backoff_it_goes_to_the_tail_of_its_queue(steps: Steps) -> None:
    await steps.submit(limited("task-1", retry_policy=AT_ONCE))
    await steps.start()
    await steps.submit(a_submission("waiting"))
    await steps.harness.advance(PATIENCE_MS)

    await steps.end_overdue()

    assert await steps.drain() == ["waiting", "task-1"]


async def test_each_has_its_own_jitter_in_the_order_in_which_they_were_due(steps: Steps) -> None:
    policy = RetryPolicy(max_attempts=9, initial_backoff_ms=10_000)
    for task_id in ("b", "a"):
        await steps.submit(limited(task_id, retry_policy=policy))
    await steps.lease(count=2, start_immediately=True)
    await steps.harness.advance(PATIENCE_MS)

    assert await steps.end_overdue(jitters=[0, 65_535]) == Tick(count=2, next_due_ms=None)

    assert await steps.promote() == Tick(count=0, next_due_ms=5_000)
    await steps.harness.advance(5_000)
    assert await steps.promote() == Tick(count=1, next_due_ms=5_000)
    assert await steps.drain() == ["a"]


async def test_the_holder_and_those_who_wait_are_told(steps: Steps) -> None:
    async with listening_to(steps.store) as listener:
        delivery = await steps.submit_and_start(limited(retry_policy=a_policy(2)))
        await steps.harness.advance(PATIENCE_MS)
        await listener.hears_of("task-1")
        listener.changes.clear()

        await steps.end_overdue()

        await listener.hears_of("task-1")
        await listener.hears_exactly(LeaseNews(task_id="task-1", lease_token=delivery.lease_token, revocation=None))


async def test_a_result_that_comes_before_anybody_acted_is_accepted(steps: Steps) -> None:
    delivery = await steps.submit_and_start(limited())
    await steps.harness.advance(PATIENCE_MS * 2)

    assert await steps.end(a_success("task-1", delivery.lease_token)) == ResultStored(
        state=TaskState.SUCCESS, is_duplicate=False
    )
    assert await steps.end_overdue() == Tick(count=0, next_due_ms=None)


async def test_the_limit_is_kept_over_a_restart(steps: Steps) -> None:
    await steps.submit_and_start(limited())

    await steps.harness.reopen()
    await steps.harness.advance(PATIENCE_MS)

    assert (await steps.end_overdue()).count == 1
    assert (await steps.read()).failure == MISSED.execution


async def test_whoever_was_cut_off_past_the_limit_may_still_bring_the_result(steps: Steps) -> None:
    delivery = await steps.submit_and_start(limited())
    await steps.reap()
    await steps.harness.advance(PATIENCE_MS + 1)

    assert await steps.end_overdue() == Tick(count=0, next_due_ms=REAP_GRACE_MS)

    stored = await steps.end(a_success("task-1", delivery.lease_token))
    assert stored == ResultStored(state=TaskState.SUCCESS, is_duplicate=False)


async def test_the_grace_after_a_gap_ends_with_that_of_the_lease(steps: Steps) -> None:
    await steps.submit_and_start(limited())
    await steps.reap()
    await steps.harness.advance(PATIENCE_MS + 1)
    await steps.reap()
    for waited_ms in range(REAP_GAP_MS, REAP_GRACE_MS, REAP_GAP_MS):
        await steps.harness.advance(REAP_GAP_MS)
        await steps.reap()
        assert await steps.end_overdue() == Tick(count=0, next_due_ms=REAP_GRACE_MS - waited_ms)
    await steps.harness.advance(REAP_GAP_MS)

    assert await steps.end_overdue() == Tick(count=1, next_due_ms=None)

    assert (await steps.read()).failure == MISSED.execution


async def test_after_a_gap_every_other_deadline_holds_at_once(steps: Steps) -> None:
    await steps.submit_and_start(limited())
    await steps.submit_and_start(limited("total", total_timeout_ms=PATIENCE_MS + 1))
    await steps.submit(a_submission("start", start_within_ms=PATIENCE_MS), a_submission("next", start_within_ms=20_000))
    await steps.reap()
    await steps.harness.advance(PATIENCE_MS + 1)

    assert await steps.end_overdue() == Tick(count=2, next_due_ms=20_000 - PATIENCE_MS - 1)

    assert (await steps.read()).state is TaskState.STARTED
    assert (await steps.read("total")).failure == MISSED.total
    assert (await steps.read("start")).failure == MISSED.start


async def test_a_clock_that_went_back_gives_time_too(steps: Steps) -> None:
    await steps.submit_and_start(limited())
    await steps.harness.advance(PATIENCE_MS + 1)
    await steps.reap()
    await steps.harness.advance(-1)

    assert await steps.end_overdue() == Tick(count=0, next_due_ms=REAP_GRACE_MS)

"""Revoking: what has not started ends at once, what runs is asked to stop, by force it ends too."""

import pytest

from tailrace.server.domain.task import Place, TaskState
from tailrace.server.store.base import MAX_ITEMS
from tailrace.server.store.values import Delivery, ResultStored, Revocation
from tests.store.builders import STOP, a_failure, a_policy, a_revocation, a_submission, a_success
from tests.store.harness import START_MS
from tests.store.steps import Steps

BOTH = pytest.mark.parametrize("is_forced", [False, True], ids=["request", "force"])


async def ended(steps: Steps, task_id: str = "task-1") -> tuple[TaskState, bytes | None]:
    snapshot = await steps.read(task_id)
    return snapshot.state, snapshot.failure


async def started_and_asked_to_stop(steps: Steps, **fields: object) -> Delivery:
    delivery = await steps.submit_and_start(a_submission(**fields))  # type: ignore[arg-type]  # any of its fields
    await steps.revoke()
    return delivery


@BOTH
async def test_a_ready_task_ends_at_once_and_is_never_delivered(steps: Steps, is_forced: bool) -> None:
    await steps.submit(a_submission("task-1"), a_submission("task-2"))
    await steps.harness.advance(7)

    (answer,) = await steps.revoke(is_forced=is_forced)

    assert answer is not None
    assert (answer.state, answer.place, answer.revision, answer.failure) == (TaskState.REVOKED, Place.DONE, 2, None)
    snapshot = await steps.read()
    assert (snapshot.failure, snapshot.attempt, snapshot.update_ms) == (STOP, 0, START_MS + 7)
    assert await steps.drain() == ["task-2"]


@BOTH
async def test_a_task_on_the_schedule_ends_at_once(steps: Steps, is_forced: bool) -> None:
    await steps.submit(a_submission(start_delay_ms=5_000))

    await steps.revoke(is_forced=is_forced)
    await steps.harness.advance(5_000)

    assert (await steps.promote()).count == 0
    assert await ended(steps) == (TaskState.REVOKED, STOP)


@BOTH
async def test_a_task_in_its_backoff_ends_at_once(steps: Steps, is_forced: bool) -> None:
    delivery = await steps.submit_and_start(a_submission(retry_policy=a_policy(3)))
    await steps.end(a_failure("task-1", delivery.lease_token))

    await steps.revoke(is_forced=is_forced)

    snapshot = await steps.read()
    assert (snapshot.state, snapshot.failure, snapshot.last_failure) == (TaskState.REVOKED, STOP, None)


@BOTH
async def test_a_merely_delivered_task_ends_at_once_and_its_token_is_void(steps: Steps, is_forced: bool) -> None:
    await steps.submit_one()
    delivery = await steps.deliver()

    await steps.revoke(is_forced=is_forced)

    assert await ended(steps) == (TaskState.REVOKED, STOP)
    assert await steps.beat(delivery) is None
    assert await steps.end(a_success("task-1", delivery.lease_token)) is None
    assert await steps.release(delivery) == [False]


async def test_a_started_task_that_is_asked_to_stop_goes_on_and_its_beats_say_so(steps: Steps) -> None:
    delivery = await steps.submit_and_start()
    before = await steps.read()

    (answer,) = await steps.revoke()

    assert answer == before
    assert await steps.read() == before
    held = await steps.beat_for_news(delivery)
    assert held is not None
    assert held.revocation == STOP
    assert (await steps.find()) == before


async def test_a_beat_of_a_task_that_nobody_revoked_says_nothing_of_it(steps: Steps) -> None:
    delivery = await steps.submit_and_start()

    held = await steps.beat_for_news(delivery)

    assert held is not None
    assert held.revocation is None


async def test_asked_twice_the_first_reason_stays(steps: Steps) -> None:
    delivery = await started_and_asked_to_stop(steps)

    await steps.revoke(failure=b"another reason")

    held = await steps.beat_for_news(delivery)
    assert held is not None
    assert held.revocation == STOP


async def test_a_started_task_that_is_asked_to_stop_may_still_succeed(steps: Steps) -> None:
    delivery = await started_and_asked_to_stop(steps)

    stored = await steps.end(a_success("task-1", delivery.lease_token, result=b"5"))

    assert stored == ResultStored(state=TaskState.SUCCESS, is_duplicate=False)
    snapshot = await steps.read()
    assert (snapshot.state, snapshot.result, snapshot.failure) == (TaskState.SUCCESS, b"5", None)


async def test_a_failure_ends_a_task_that_was_asked_to_stop_though_attempts_are_left(steps: Steps) -> None:
    delivery = await started_and_asked_to_stop(steps, retry_policy=a_policy(5))
    failure = a_failure("task-1", delivery.lease_token, next_retry_delay_ms=0)

    stored = await steps.end(failure)
    again = await steps.end(failure)

    assert stored == ResultStored(state=TaskState.REVOKED, is_duplicate=False)
    assert again == ResultStored(state=TaskState.REVOKED, is_duplicate=True)
    assert await ended(steps) == (TaskState.REVOKED, STOP)


async def test_a_failure_that_is_final_ends_a_task_that_was_asked_to_stop_as_revoked(steps: Steps) -> None:
    delivery = await started_and_asked_to_stop(steps)

    await steps.end(a_failure("task-1", delivery.lease_token, failure_type="ResultTooLarge", is_non_retryable=True))

    assert await ended(steps) == (TaskState.REVOKED, STOP)


async def test_a_worker_that_stopped_as_asked_ends_the_task_with_the_reason_of_who_asked(steps: Steps) -> None:
    delivery = await started_and_asked_to_stop(steps)

    await steps.end(a_revocation("task-1", delivery.lease_token, failure=b"the worker's words"))

    assert await ended(steps) == (TaskState.REVOKED, STOP)


async def test_a_lost_lease_ends_a_task_that_was_asked_to_stop(steps: Steps) -> None:
    await started_and_asked_to_stop(steps, lease_ms=2_000)

    assert await steps.pass_time(2_000) == 1

    assert await ended(steps) == (TaskState.REVOKED, STOP)
    assert await steps.drain() == []


@pytest.mark.parametrize("delay_ms", [0, 60_000])
async def test_a_release_ends_a_task_that_was_asked_to_stop(steps: Steps, delay_ms: int) -> None:
    delivery = await started_and_asked_to_stop(steps)

    assert await steps.release(delivery, delay_ms=delay_ms) == [True]

    assert await ended(steps) == (TaskState.REVOKED, STOP)
    assert (await steps.read()).attempt == 0


async def test_force_ends_a_started_task_and_its_late_result_is_refused(steps: Steps) -> None:
    delivery = await steps.submit_and_start()

    (answer,) = await steps.revoke(is_forced=True)

    assert answer is not None
    assert answer.state is TaskState.REVOKED
    assert await steps.end(a_success("task-1", delivery.lease_token)) is None
    assert await steps.beat(delivery) is None
    assert await ended(steps) == (TaskState.REVOKED, STOP)


async def test_force_ends_a_task_that_was_asked_to_stop_before(steps: Steps) -> None:
    delivery = await started_and_asked_to_stop(steps)

    await steps.revoke(is_forced=True, failure=b"now")

    assert await ended(steps) == (TaskState.REVOKED, b"now")
    assert await steps.beat(delivery) is None


@BOTH
async def test_a_task_that_is_done_stays_as_it_is(steps: Steps, is_forced: bool) -> None:
    delivery = await steps.submit_and_start()
    await steps.end(a_success("task-1", delivery.lease_token, result=b"5"))
    done = await steps.read()

    (answer,) = await steps.revoke(is_forced=is_forced)

    assert answer is not None
    assert (answer.state, answer.revision, answer.result) == (TaskState.SUCCESS, done.revision, None)
    assert await steps.read() == done


async def test_revoking_again_changes_nothing(steps: Steps) -> None:
    await steps.submit_one()
    await steps.revoke()
    revoked = await steps.read()
    await steps.harness.advance(9)

    await steps.revoke(is_forced=True, failure=b"another reason")

    assert await steps.read() == revoked


async def test_an_unknown_task_and_one_whose_record_is_over_are_not_found(steps: Steps) -> None:
    await steps.submit(a_submission(result_ttl_ms=1_000))
    await steps.revoke()
    await steps.harness.advance(1_000)

    assert await steps.revoke("task-1", "unknown") == [None, None]


async def test_tasks_of_one_call_are_judged_one_by_one(steps: Steps) -> None:
    await steps.submit(a_submission("a"), a_submission("b"))
    await steps.start()

    a, unknown, b, again = await steps.store.revoke_tasks(
        0,
        [
            Revocation(task_id="a", failure=STOP),
            Revocation(task_id="unknown", failure=STOP),
            Revocation(task_id="b", failure=STOP),
            Revocation(task_id="a", failure=b"now", is_forced=True),
        ],
    )

    assert a is not None
    assert b is not None
    assert again is not None
    assert [unknown, a.state, b.state] == [None, TaskState.STARTED, TaskState.REVOKED]
    assert again.state is TaskState.REVOKED
    assert await ended(steps, "a") == (TaskState.REVOKED, b"now")


async def test_a_revoked_task_keeps_its_input_and_counts_as_revoked_for_its_result_ttl(steps: Steps) -> None:
    await steps.submit(a_submission(result_ttl_ms=4_000))

    await steps.revoke()

    assert (await steps.read()).expire_ms == START_MS + 4_000


async def test_a_queue_with_nothing_but_revoked_tasks_is_drained(steps: Steps) -> None:
    await steps.submit(a_submission("a"), a_submission("b"), a_submission("c"))
    await steps.revoke("b", "c")

    leased = await steps.lease()

    assert [delivery.task_id for delivery in leased.deliveries] == ["a"]
    assert leased.is_drained


async def test_a_queue_is_drained_however_many_tasks_were_revoked_in_it(steps: Steps) -> None:
    revoked = [f"revoked-{number}" for number in range(1_200)]
    await steps.submit(a_submission("first"))
    for begin in range(0, len(revoked), MAX_ITEMS):
        await steps.submit(*map(a_submission, revoked[begin : begin + MAX_ITEMS]))
        await steps.revoke(*revoked[begin : begin + MAX_ITEMS])

    leased = await steps.lease()

    assert [delivery.task_id for delivery in leased.deliveries] == ["first"]
    assert leased.is_drained


async def test_an_id_that_comes_back_takes_no_place_that_it_left(steps: Steps) -> None:
    await steps.submit(a_submission("first"), a_submission("a", result_ttl_ms=1_000), a_submission("b"))
    await steps.revoke("a")
    await steps.harness.advance(1_000)
    await steps.expire()
    await steps.submit(a_submission("a"))

    assert await steps.drain() == ["first", "b", "a"]
    assert await steps.drain() == []


async def test_an_id_that_left_its_place_twice_is_delivered_once(steps: Steps) -> None:
    await steps.submit(a_submission("first"))
    for _ in range(2):
        await steps.submit(a_submission("a", result_ttl_ms=1_000))
        await steps.revoke("a")
        await steps.harness.advance(1_000)
    await steps.submit(a_submission("b"), a_submission("a"))

    leased = await steps.lease(count=2)
    await steps.submit(a_submission("c"))

    assert [delivery.task_id for delivery in leased.deliveries] == ["first", "b"]
    assert await steps.drain() == ["a", "c"]

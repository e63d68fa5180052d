"""Failed attempts: who decides whether another one follows, and when."""

from typing import Any

import pytest

from tailrace.server.domain.retry import JITTER_STEPS, RetryPolicy
from tailrace.server.domain.task import Place, TaskState
from tailrace.server.store.values import Delivery
from tests.store.builders import a_failure, a_policy, a_submission, a_success
from tests.store.harness import START_MS
from tests.store.steps import Steps


async def fail(steps: Steps, delivery: Delivery, **how: Any) -> TaskState:
    stored = await steps.end(a_failure(delivery.task_id, delivery.lease_token, **how))
    assert stored is not None
    return stored.state


async def test_the_submitters_policy_says_how_often_a_task_may_fail(steps: Steps) -> None:
    delivery = await steps.submit_and_start(a_submission(retry_policy=a_policy(3)))

    assert await fail(steps, delivery, next_retry_delay_ms=0) is TaskState.RETRY
    assert await fail(steps, await steps.start(), next_retry_delay_ms=0) is TaskState.RETRY
    assert await fail(steps, await steps.start(), next_retry_delay_ms=0) is TaskState.FAILURE

    assert (await steps.read()).attempt == 3


async def test_where_the_submitter_has_none_the_workers_policy_holds(steps: Steps) -> None:
    delivery = await steps.submit_and_start()

    assert await fail(steps, delivery, default_retry_policy=a_policy(2), next_retry_delay_ms=0) is TaskState.RETRY
    assert await fail(steps, await steps.start(), default_retry_policy=a_policy(2)) is TaskState.FAILURE


async def test_the_submitters_policy_goes_before_the_workers(steps: Steps) -> None:
    delivery = await steps.submit_and_start(a_submission(retry_policy=a_policy(1)))

    assert await fail(steps, delivery, default_retry_policy=a_policy(10)) is TaskState.FAILURE


async def test_a_retry_rests_on_the_schedule_and_tells_why(steps: Steps) -> None:
    policy = RetryPolicy(max_attempts=2, initial_backoff_ms=1_000)
    delivery = await steps.submit_and_start(a_submission(retry_policy=policy))
    await steps.harness.advance(10)

    await fail(steps, delivery, failure=b"broken", jitter=JITTER_STEPS)

    resting = await steps.read()
    assert (resting.state, resting.place, resting.revision) == (TaskState.RETRY, Place.SCHEDULE, 3)
    assert (resting.last_failure, resting.failure, resting.update_ms) == (b"broken", None, START_MS + 10)
    assert (await steps.promote()).next_due_ms == 1_000


@pytest.mark.parametrize(("jitter", "backoff_ms"), [(0, 500), (JITTER_STEPS, 1_000), (32_768, 750), (1, 500)])
async def test_the_backoff_is_drawn_between_half_of_it_and_all(steps: Steps, jitter: int, backoff_ms: int) -> None:
    delivery = await steps.submit_and_start(a_submission(retry_policy=a_policy(2)))

    await fail(steps, delivery, jitter=jitter)

    assert (await steps.promote()).next_due_ms == backoff_ms


async def test_the_backoff_grows_by_its_multiplier_up_to_its_cap(steps: Steps) -> None:
    policy = RetryPolicy(max_attempts=9, initial_backoff_ms=1_000, max_backoff_ms=5_000, backoff_multiplier=1.5)
    await steps.submit(a_submission(retry_policy=policy))
    backoffs = []

    for _ in range(5):
        await fail(steps, await steps.start(), jitter=JITTER_STEPS)
        backoff_ms = (await steps.promote()).next_due_ms
        assert backoff_ms is not None
        backoffs.append(backoff_ms)
        await steps.harness.advance(backoff_ms)
        assert (await steps.promote()).count == 1

    assert backoffs == [1_000, 1_500, 2_250, 3_375, 5_000]


async def test_the_failures_own_delay_goes_before_the_policys(steps: Steps) -> None:
    delivery = await steps.submit_and_start(a_submission(retry_policy=a_policy(2)))

    await fail(steps, delivery, next_retry_delay_ms=77_777)

    assert (await steps.promote()).next_due_ms == 77_777


async def test_a_delay_of_nothing_sends_the_task_to_the_tail_of_its_queue(steps: Steps) -> None:
    delivery = await steps.submit_and_start(a_submission("failing", retry_policy=a_policy(2)))
    await steps.submit(a_submission("waiting"))

    await fail(steps, delivery, next_retry_delay_ms=0)

    assert (await steps.read("failing")).place is Place.READY
    assert await steps.drain() == ["waiting", "failing"]


async def test_a_delay_of_its_own_does_not_add_an_attempt(steps: Steps) -> None:
    delivery = await steps.submit_and_start()

    assert await fail(steps, delivery, next_retry_delay_ms=10) is TaskState.FAILURE


async def test_a_failure_that_says_so_is_not_tried_again(steps: Steps) -> None:
    delivery = await steps.submit_and_start(a_submission(retry_policy=a_policy(5)))

    assert await fail(steps, delivery, is_non_retryable=True) is TaskState.FAILURE


@pytest.mark.parametrize("failure_type", ["ValueError", "com.acme.Declined", "Fehler: ü", ""])
async def test_a_type_that_the_policy_names_is_not_tried_again(steps: Steps, failure_type: str) -> None:
    policy = RetryPolicy(max_attempts=5, non_retryable_types=("KeyError", failure_type))
    delivery = await steps.submit_and_start(a_submission(retry_policy=policy))

    assert await fail(steps, delivery, failure_type=failure_type) is TaskState.FAILURE


@pytest.mark.parametrize("failure_type", ["Value", "ValueErrors", "valueerror", "KeyErrorValueError", "Key"])
async def test_types_are_matched_whole_and_exactly(steps: Steps, failure_type: str) -> None:
    policy = RetryPolicy(max_attempts=5, non_retryable_types=("KeyError", "ValueError"))
    delivery = await steps.submit_and_start(a_submission(retry_policy=policy))

    assert await fail(steps, delivery, failure_type=failure_type) is TaskState.RETRY


async def test_the_workers_policy_may_name_types_too(steps: Steps) -> None:
    policy = RetryPolicy(max_attempts=5, non_retryable_types=("ValueError",))
    await steps.submit(a_submission("one"), a_submission("two"))

    assert await fail(steps, await steps.start(), default_retry_policy=policy) is TaskState.FAILURE
    other = await steps.start()
    assert await fail(steps, other, default_retry_policy=policy, failure_type="OSError") is TaskState.RETRY


async def test_the_last_failure_goes_once_the_task_ends(steps: Steps) -> None:
    delivery = await steps.submit_and_start(a_submission(retry_policy=a_policy(3)))
    await fail(steps, delivery, failure=b"first", next_retry_delay_ms=0)
    running = await steps.start()
    assert (await steps.read()).last_failure == b"first"

    await steps.end(a_success("task-1", running.lease_token))

    done = await steps.read()
    assert (done.result, done.failure, done.last_failure) == (b"3", None, None)


async def test_an_attempt_that_failed_before_its_first_beat_counts(steps: Steps) -> None:
    await steps.submit(a_submission(retry_policy=a_policy(2)))

    assert await fail(steps, await steps.deliver(), next_retry_delay_ms=0) is TaskState.RETRY
    assert await fail(steps, await steps.deliver(), next_retry_delay_ms=0) is TaskState.FAILURE
    assert (await steps.read()).attempt == 2

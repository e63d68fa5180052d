"""When a failed attempt is tried again, and when never."""

import pytest

from tailrace.v1 import task_pb2
from tests.integration.api.serving import Api, a_failure, seconds

BACKOFFS = task_pb2.RetryPolicy(
    max_attempts=9, initial_backoff=seconds(8), max_backoff=seconds(20), backoff_multiplier=2
)


@pytest.mark.parametrize(("failures", "longest_ms"), [(1, 8_000), (2, 16_000), (3, 20_000), (4, 20_000)])
async def test_backoff_is_from_half_of_its_span_to_all_of_it(api: Api, failures: int, longest_ms: int) -> None:
    names = {f"task-{number:02}" for number in range(20)}
    await api.submit_many(*sorted(names), retry_policy=BACKOFFS)
    for failure in range(failures):
        leased = await api.lease_many(100, start=True)
        assert len(leased) == len(names)
        await api.store_many(*[a_failure(assignment.lease) for assignment in leased])
        if failure < failures - 1:
            await api.pass_time(20_000)

    await api.pass_time(longest_ms // 2 - 1)
    early = await api.lease_many(100)
    await api.pass_time(longest_ms // 4)
    middle = await api.lease_many(100)
    await api.pass_time(longest_ms // 4 + 1)
    late = await api.lease_many(100)

    assert early == []
    # Spread over the range: that all of them fall into one half happens once in half a million.
    assert 0 < len(middle) < len(names)
    assert {assignment.lease.task_id for assignment in [*middle, *late]} >= names


async def test_failure_of_a_type_that_the_policy_names_is_final(api: Api) -> None:
    await api.submit(retry_policy=task_pb2.RetryPolicy(max_attempts=9, non_retryable_types=["KeyError", "ValueError"]))

    response = await api.store(a_failure((await api.lease(start=True)).lease))

    assert response.state == task_pb2.TASK_STATE_FAILURE


async def test_failure_of_another_type_is_tried_again(api: Api) -> None:
    await api.submit(retry_policy=task_pb2.RetryPolicy(max_attempts=9, non_retryable_types=["KeyError", "Value"]))

    response = await api.store(a_failure((await api.lease(start=True)).lease))

    assert response.state == task_pb2.TASK_STATE_RETRY


async def test_failure_that_the_worker_calls_non_retryable_is_final(api: Api) -> None:
    await api.submit(retry_policy=task_pb2.RetryPolicy(max_attempts=9))

    response = await api.store(a_failure((await api.lease(start=True)).lease, non_retryable=True))

    task = await api.result()
    assert (response.state, task.failure.non_retryable) == (task_pb2.TASK_STATE_FAILURE, True)


async def test_delay_that_the_worker_asks_for_goes_before_the_backoff_once(api: Api) -> None:
    await api.submit(retry_policy=BACKOFFS)
    await api.store(a_failure((await api.lease(start=True)).lease, next_retry_delay=seconds(1)))

    await api.pass_time(1_000)
    again = await api.lease(start=True)
    await api.store(a_failure(again.lease))
    await api.pass_time(7_999)

    # The second failure: the policy's 8 to 16 seconds.
    assert (again.attempt, await api.state()) == (2, "RETRY/DELAYED")
    await api.pass_time(8_001)
    assert (await api.lease()).attempt == 3

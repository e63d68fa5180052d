"""Results: taken from the holder of the lease alone, once, and for good."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tailrace.server.domain.lease import AttemptEnd
from tailrace.server.domain.task import DEFAULT_RESULT_TTL_MS, Place, TaskSnapshot, TaskState
from tailrace.server.store.values import ResultStored
from tests.store.builders import HEAD, a_failure, a_policy, a_revocation, a_submission, a_success
from tests.store.harness import START_MS
from tests.store.steps import Steps

EndOf = Callable[[str, bytes], AttemptEnd]

ENDS = [a_success, a_failure, a_revocation]


async def test_a_success_is_kept_with_its_result(steps: Steps) -> None:
    delivery = await steps.submit_and_start()
    await steps.harness.advance(40)

    stored = await steps.end(a_success("task-1", delivery.lease_token, result=b"3"))

    assert stored == ResultStored(state=TaskState.SUCCESS, is_duplicate=False)
    assert await steps.read() == TaskSnapshot(
        task_id="task-1",
        state=TaskState.SUCCESS,
        place=Place.DONE,
        revision=3,
        attempt=1,
        update_ms=START_MS + 40,
        expire_ms=START_MS + 40 + DEFAULT_RESULT_TTL_MS,
        result=b"3",
    )


async def test_a_failure_without_a_policy_is_final(steps: Steps) -> None:
    delivery = await steps.submit_and_start()

    stored = await steps.end(a_failure("task-1", delivery.lease_token, failure=b"broken"))

    failed = await steps.read()
    assert stored == ResultStored(state=TaskState.FAILURE, is_duplicate=False)
    assert (failed.state, failed.place, failed.failure) == (TaskState.FAILURE, Place.DONE, b"broken")
    assert (failed.last_failure, failed.result) == (None, None)


async def test_a_worker_may_end_a_task_as_revoked(steps: Steps) -> None:
    delivery = await steps.submit_and_start()

    stored = await steps.end(a_revocation("task-1", delivery.lease_token, failure=b"on request"))

    revoked = await steps.read()
    assert stored == ResultStored(state=TaskState.REVOKED, is_duplicate=False)
    assert (revoked.state, revoked.place, revoked.failure) == (TaskState.REVOKED, Place.DONE, b"on request")


@pytest.mark.parametrize("result", [None, b"", b"\x00\xff" * 500])
async def test_no_value_an_empty_value_and_any_bytes_are_told_apart(steps: Steps, result: bytes | None) -> None:
    delivery = await steps.submit_and_start()

    await steps.end(a_success("task-1", delivery.lease_token, result=result))

    assert (await steps.read()).result == result


async def test_a_result_without_a_beat_counts_as_started_and_ended(steps: Steps) -> None:
    await steps.submit_one()
    delivery = await steps.deliver()

    await steps.end(a_success("task-1", delivery.lease_token))

    done = await steps.read()
    assert (done.state, done.attempt, done.revision) == (TaskState.SUCCESS, 1, 3)


async def test_a_result_past_the_lease_counts_as_long_as_nobody_took_it(steps: Steps) -> None:
    delivery = await steps.submit_and_start(a_submission(lease_ms=2_000))
    await steps.harness.advance(3_600_000)

    stored = await steps.end(a_success("task-1", delivery.lease_token))

    assert stored == ResultStored(state=TaskState.SUCCESS, is_duplicate=False)


@pytest.mark.parametrize("end", ENDS)
async def test_the_same_token_again_is_told_what_it_led_to_and_changes_nothing(steps: Steps, end: EndOf) -> None:
    delivery = await steps.submit_and_start()
    first = await steps.end(end("task-1", delivery.lease_token))
    assert first is not None
    before = await steps.read()
    await steps.harness.advance(1_000)

    again = await steps.end(end("task-1", delivery.lease_token))
    contrary = await steps.end(a_success("task-1", delivery.lease_token, result=b"something else"))

    assert again == contrary == ResultStored(state=first.state, is_duplicate=True)
    assert await steps.read() == before


async def test_a_repeated_failure_is_known_while_the_task_waits_runs_again_and_until_that_attempt_ends(
    steps: Steps,
) -> None:
    first = await steps.submit_and_start()
    failure = a_failure("task-1", first.lease_token, next_retry_delay_ms=0, default_retry_policy=a_policy(3))
    retry = ResultStored(state=TaskState.RETRY, is_duplicate=False)
    duplicate = replace(retry, is_duplicate=True)

    assert await steps.end(failure) == retry
    assert await steps.end(failure) == duplicate
    second = await steps.start()
    assert await steps.end(failure) == duplicate
    assert (await steps.read()).attempt == 2
    await steps.end(a_success("task-1", second.lease_token))
    assert await steps.end(failure) is None


@pytest.mark.parametrize("end", ENDS)
async def test_a_foreign_token_ends_nothing(steps: Steps, end: EndOf) -> None:
    delivery = await steps.submit_and_start()
    before = await steps.read()

    for token in (delivery.lease_token[:4] + b"foreign!", b"\0\0\0\2" + delivery.lease_token[4:], b""):
        assert await steps.end(end("task-1", token)) is None

    assert await steps.read() == before


@pytest.mark.parametrize("end", ENDS)
async def test_a_late_result_is_refused_while_the_new_holder_runs_and_after(steps: Steps, end: EndOf) -> None:
    late = await steps.submit_and_start(a_submission(lease_ms=2_000))
    await steps.harness.advance(2_000)
    await steps.reap()

    assert await steps.end(end("task-1", late.lease_token)) is None
    holder = await steps.start()
    before = await steps.read()
    assert await steps.end(end("task-1", late.lease_token)) is None
    assert await steps.beat(late) is None
    assert await steps.release(late) == [False]
    assert await steps.read() == before
    await steps.end(a_success("task-1", holder.lease_token, result=b"the holder's"))
    assert await steps.end(end("task-1", late.lease_token)) is None
    assert (await steps.read()).result == b"the holder's"


async def test_nothing_but_its_expiry_moves_a_task_that_is_done(steps: Steps) -> None:
    delivery = await steps.submit_and_start()
    await steps.end(a_success("task-1", delivery.lease_token))
    done = await steps.read()

    assert await steps.beat(delivery) is None
    assert await steps.release(delivery) == [False]
    assert await steps.pass_time(60_000) == 0
    assert (await steps.promote()).count == 0
    assert await steps.drain() == []
    assert await steps.read() == done


async def test_results_of_one_call_are_judged_one_by_one_and_in_order(steps: Steps) -> None:
    await steps.submit(a_submission("a"), a_submission("b"), a_submission("c"))
    a, b, c = (await steps.lease(count=3)).deliveries
    stale = replace(b, lease_token=c.lease_token)

    outcomes = await steps.store.store_results(
        0,
        [
            a_success("a", a.lease_token),
            a_failure("b", stale.lease_token),
            a_success("unknown", a.lease_token),
            a_failure("c", c.lease_token),
            a_failure("a", a.lease_token),
            a_success("b", b.lease_token),
        ],
    )

    assert outcomes == [
        ResultStored(state=TaskState.SUCCESS, is_duplicate=False),
        None,
        None,
        ResultStored(state=TaskState.FAILURE, is_duplicate=False),
        ResultStored(state=TaskState.SUCCESS, is_duplicate=True),
        ResultStored(state=TaskState.SUCCESS, is_duplicate=False),
    ]


@pytest.mark.parametrize("payload", [b"[1, 2]", b"", b"x" * 500_000])
async def test_success_drops_the_input(steps: Steps, payload: bytes) -> None:
    delivery = await steps.submit_and_start(a_submission(payload=payload))

    await steps.end(a_success("task-1", delivery.lease_token))

    assert (await steps.detail()).request == HEAD


@pytest.mark.parametrize("end", [a_failure, a_revocation])
async def test_what_ended_without_success_keeps_its_input_to_be_run_again(steps: Steps, end: EndOf) -> None:
    delivery = await steps.submit_and_start()

    await steps.end(end("task-1", delivery.lease_token))

    assert (await steps.detail()).request == a_submission().request

"""Reading many outcomes at once: payloads as far as one answer has room, and a word where there was none."""

from collections.abc import Awaitable, Callable, Sequence

import pytest

from tailrace.server.domain.task import TaskSnapshot, TaskState
from tailrace.server.store.base import MAX_CALL_BYTES, Store
from tests.store.builders import a_failure, a_policy, a_submission, a_success
from tests.store.steps import Steps

LARGE = MAX_CALL_BYTES // 2 - 1
Read = Callable[[Store, Sequence[str]], Awaitable[list[TaskSnapshot | None]]]


@pytest.fixture(params=["read_tasks", "register_waits"])
def read(request: pytest.FixtureRequest) -> Read:
    async def read(store: Store, task_ids: Sequence[str]) -> list[TaskSnapshot | None]:
        call = store.read_tasks if request.param == "read_tasks" else store.register_waits
        return await call(0, task_ids)

    return read


async def run(steps: Steps, task_id: str, result: bytes | None) -> None:
    delivery = await steps.submit_and_start(a_submission(task_id))
    await steps.end(a_success(task_id, delivery.lease_token, result=result))


async def test_payloads_are_left_out_once_there_are_enough_and_that_is_said(steps: Steps, read: Read) -> None:
    names = ["a", "b", "c", "d"]
    for name in names:
        await run(steps, name, name.encode() * LARGE)

    snapshots = await read(steps.store, names)

    assert [(s.task_id, s.state, s.is_whole, s.result and s.result[:1]) for s in snapshots if s] == [
        ("a", TaskState.SUCCESS, True, b"a"),
        ("b", TaskState.SUCCESS, True, b"b"),
        ("c", TaskState.SUCCESS, True, b"c"),
        ("d", TaskState.SUCCESS, False, None),
    ]
    (alone,) = await read(steps.store, ["d"])
    assert alone is not None
    assert (alone.is_whole, alone.result) == (True, b"d" * LARGE)


async def test_first_outcome_is_whole_however_large_it_is(steps: Steps, read: Read) -> None:
    await run(steps, "a", b"a" * (2 * MAX_CALL_BYTES))
    await run(steps, "b", b"b")

    first, second = await read(steps.store, ["a", "b"])

    assert first is not None
    assert second is not None
    assert (first.is_whole, len(first.result or b"")) == (True, 2 * MAX_CALL_BYTES)
    assert (second.is_whole, second.result) == (False, None)


async def test_what_carries_nothing_is_whole_wherever_it_stands(steps: Steps, read: Read) -> None:
    await run(steps, "large", b"x" * MAX_CALL_BYTES)
    delivery = await steps.submit_and_start(a_submission("empty", retry_policy=a_policy(3)))
    await steps.end(a_failure("empty", delivery.lease_token, next_retry_delay_ms=0))
    again = await steps.start()
    await steps.end(a_success("empty", again.lease_token, result=None))
    await steps.submit(a_submission("pending"))

    snapshots = await read(steps.store, ["large", "empty", "pending", "unknown"])

    assert [s and s.is_whole for s in snapshots] == [True, True, True, None]


async def test_failures_count_too_and_an_id_named_twice_counts_twice(steps: Steps, read: Read) -> None:
    failing = await steps.submit_and_start(a_submission("failing", retry_policy=a_policy(2)))
    await steps.end(a_failure("failing", failing.lease_token, failure=b"f" * MAX_CALL_BYTES))
    failed = await steps.submit_and_start(a_submission("failed"))
    await steps.end(a_failure("failed", failed.lease_token, failure=b"f" * LARGE))

    snapshots = await read(steps.store, ["failed", "failed", "failed", "failed", "failing"])
    backwards = await read(steps.store, ["failing", "failed"])

    assert [s and s.is_whole for s in snapshots] == [True, True, True, False, False]
    assert [s and (s.failure, s.last_failure) for s in snapshots[3:]] == [(None, None), (None, None)]
    assert [s and s.is_whole for s in backwards] == [True, False]

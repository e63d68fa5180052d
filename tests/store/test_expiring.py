"""Records whose time is over: gone for everybody from that moment, removed a little later."""

import pytest

from tailrace.server.domain.task import UNKEPT_RESULT_TTL_MS, Place, TaskState
from tailrace.server.store.values import Tick
from tests.store.builders import a_failure, a_submission, a_success
from tests.store.harness import START_MS
from tests.store.steps import Steps

TTL_MS = 5_000


async def finish(steps: Steps, task_id: str = "task-1", *, result_ttl_ms: int = TTL_MS) -> bytes:
    """Run a task to its success; tells the token that ended it."""
    delivery = await steps.submit_and_start(a_submission(task_id, result_ttl_ms=result_ttl_ms))
    await steps.end(a_success(task_id, delivery.lease_token))
    return delivery.lease_token


async def test_a_record_is_there_until_its_result_ttl_is_over(steps: Steps) -> None:
    await finish(steps)

    assert (await steps.read()).expire_ms == START_MS + TTL_MS
    await steps.harness.advance(TTL_MS - 1)
    assert (await steps.read()).result == b"3"
    await steps.harness.advance(1)
    assert await steps.find() is None


@pytest.mark.parametrize("is_removed", [False, True])
async def test_an_expired_id_is_unknown_to_every_operation_whether_removed_or_not(
    steps: Steps, is_removed: bool
) -> None:
    token = await finish(steps)
    await steps.harness.advance(TTL_MS)
    if is_removed:
        assert await steps.expire() == Tick(count=1, next_due_ms=None)

    assert await steps.store.read_tasks(0, ["task-1"]) == [None]
    assert await steps.store.register_waits(0, ["task-1"]) == [None]
    assert await steps.end(a_success("task-1", token)) is None
    assert await steps.drain() == []


@pytest.mark.parametrize("is_removed", [False, True])
async def test_an_expired_id_can_be_submitted_anew_and_begins_anew(steps: Steps, is_removed: bool) -> None:
    await finish(steps)
    await steps.harness.advance(TTL_MS)
    if is_removed:
        await steps.expire()

    submitted = await steps.submit_one(a_submission(payload=b"something else", priority=3))

    assert (submitted.is_created, submitted.is_conflict) == (True, False)
    assert (submitted.snapshot.state, submitted.snapshot.revision) == (TaskState.PENDING, 1)
    assert await steps.read() == submitted.snapshot
    delivery = await steps.deliver()
    assert (delivery.attempt, delivery.request) == (1, a_submission(payload=b"something else").request)
    assert await steps.expire() == Tick(count=0, next_due_ms=None)


async def test_nothing_of_the_former_task_shows_in_the_one_that_took_its_id(steps: Steps) -> None:
    former = await steps.submit_and_start(a_submission(result_ttl_ms=TTL_MS))
    await steps.end(a_failure("task-1", former.lease_token, failure=b"old"))
    await steps.harness.advance(TTL_MS)

    delivery = await steps.submit_and_start(a_submission())

    assert await steps.end(a_success("task-1", former.lease_token)) is None
    await steps.end(a_success("task-1", delivery.lease_token, result=None))
    done = await steps.read()
    assert (done.result, done.failure, done.last_failure, done.attempt) == (None, None, None, 1)


async def test_a_result_that_nobody_wants_is_not_kept_but_the_record_is_for_a_minute(steps: Steps) -> None:
    token = await finish(steps, result_ttl_ms=0)

    done = await steps.read()
    assert (done.state, done.result, done.expire_ms) == (TaskState.SUCCESS, None, START_MS + UNKEPT_RESULT_TTL_MS)
    assert (await steps.end(a_success("task-1", token))) is not None
    await steps.harness.advance(UNKEPT_RESULT_TTL_MS)
    assert await steps.find() is None


async def test_a_failure_is_kept_for_that_minute_even_where_no_result_is_wanted(steps: Steps) -> None:
    delivery = await steps.submit_and_start(a_submission(result_ttl_ms=0))

    await steps.end(a_failure("task-1", delivery.lease_token, failure=b"broken"))

    failed = await steps.read()
    assert (failed.failure, failed.expire_ms) == (b"broken", START_MS + UNKEPT_RESULT_TTL_MS)


async def test_expiry_removes_no_more_than_its_limit_the_earliest_first(steps: Steps) -> None:
    for task_id, ttl_ms in {"c": 3_000, "a": 1_000, "b": 2_000, "d": 9_000}.items():
        await finish(steps, task_id, result_ttl_ms=ttl_ms)
    await steps.harness.advance(4_000)

    assert await steps.expire(limit=2) == Tick(count=2, next_due_ms=0)
    assert await steps.expire(limit=2) == Tick(count=1, next_due_ms=5_000)
    assert await steps.store.read_tasks(0, ["a", "b", "c"]) == [None, None, None]
    assert (await steps.read("d")).place is Place.DONE


async def test_tasks_that_are_not_done_never_expire(steps: Steps) -> None:
    await steps.submit(a_submission("ready", result_ttl_ms=1), a_submission("later", start_delay_ms=10**9))
    await steps.submit_and_start(a_submission("running", queue="other", result_ttl_ms=1))
    await steps.harness.advance(10**8)

    assert await steps.expire() == Tick(count=0, next_due_ms=None)
    assert None not in await steps.store.read_tasks(0, ["ready", "later", "running"])

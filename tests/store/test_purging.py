"""Revoking all that waits in a queue."""

import pytest

from tailrace.server.coordinator.operators import Operators
from tailrace.server.domain import limits
from tailrace.server.domain.task import Place, TaskState
from tailrace.server.store.operators import Purged
from tailrace.server.store.values import Tick
from tests.store.builders import PURGED, a_failure, a_policy, a_submission
from tests.store.harness import START_MS
from tests.store.redis_listener import listening_to
from tests.store.steps import Steps


async def purge_all(steps: Steps, queue: str = "default", *, limit: int) -> tuple[int, list[int]]:
    """Purge to the end; tell how many were revoked, and what remained after each step."""
    count, remaining, cursor = 0, list[int](), ""
    while True:
        purged = await steps.purge(queue, cursor=cursor, limit=limit)
        assert purged.count <= limit
        count += purged.count
        remaining.append(purged.remaining)
        cursor = purged.cursor
        if not cursor:
            return count, remaining


async def submit_many(steps: Steps) -> None:
    await steps.submit(*(a_submission(f"ready-{number}", priority=number) for number in range(4)))
    await steps.submit(*(a_submission(f"delayed-{number}", start_delay_ms=number) for number in range(1, 4)))
    await steps.submit(*(a_submission(f"other-{number}", queue="other", start_delay_ms=number) for number in range(3)))


async def test_what_waits_is_revoked(steps: Steps) -> None:
    await submit_many(steps)
    await steps.harness.advance(1)

    assert await steps.purge() == Purged(count=7, remaining=0, cursor="")

    for task_id in ("ready-0", "ready-3", "delayed-1", "delayed-3"):
        snapshot = await steps.read(task_id)
        assert (snapshot.state, snapshot.place, snapshot.failure) == (TaskState.REVOKED, Place.DONE, PURGED)
        assert (snapshot.revision, snapshot.update_ms) == (2, START_MS + 1)
    assert await steps.drain() == []
    queue = await steps.queue()
    assert (queue.ready_count, queue.schedule_count, queue.oldest_age_ms) == (0, 0, None)


async def test_other_queues_keep_their_tasks(steps: Steps) -> None:
    await submit_many(steps)

    await steps.purge()

    other = await steps.queue("other")
    assert (other.ready_count, other.schedule_count) == (1, 2)
    await steps.harness.advance(5)
    assert await steps.promote() == Tick(count=2, next_due_ms=None)
    assert await steps.drain("other") == ["other-0", "other-1", "other-2"]


@pytest.mark.parametrize("limit", [1, 2, 3, 5])
async def test_a_purge_goes_step_by_step_and_says_what_remains(steps: Steps, limit: int) -> None:
    await submit_many(steps)

    count, remaining = await purge_all(steps, limit=limit)

    assert count == 7
    assert remaining == sorted(remaining, reverse=True)
    assert remaining[-1] == 0
    assert (await steps.queue("other")).schedule_count == 2


async def test_ready_tasks_go_first(steps: Steps) -> None:
    await submit_many(steps)

    first = await steps.purge(limit=4)

    assert (first.count, first.remaining) == (4, 3)
    assert first.cursor != ""
    queue = await steps.queue()
    assert (queue.ready_count, queue.schedule_count) == (0, 3)


async def test_what_workers_have_they_keep(steps: Steps) -> None:
    await steps.submit(a_submission("delivered"), a_submission("started"), a_submission("waiting"))
    delivered = await steps.deliver()
    started = await steps.start()

    assert await steps.purge() == Purged(count=1, remaining=0, cursor="")

    assert await steps.beat(delivered) is not None
    assert await steps.beat(started) is not None


async def test_tasks_that_would_be_tried_again_are_revoked(steps: Steps) -> None:
    delivery = await steps.submit_and_start(a_submission(retry_policy=a_policy(2)))
    await steps.end(a_failure("task-1", delivery.lease_token))

    assert (await steps.purge()).count == 1

    snapshot = await steps.read()
    assert (snapshot.state, snapshot.failure, snapshot.last_failure) == (TaskState.REVOKED, PURGED, None)


async def test_a_queue_without_tasks_has_nothing_to_purge(steps: Steps) -> None:
    await steps.submit(a_submission("elsewhere", queue="other", start_delay_ms=9))

    assert await purge_all(steps, limit=10) == (0, [0])


async def test_a_paused_queue_is_purged_and_stays_paused(steps: Steps) -> None:
    await steps.submit_one()
    await steps.pause()

    assert (await steps.purge()).count == 1
    assert (await steps.queue()).is_paused


async def test_tasks_revoked_by_hand_before_do_not_count(steps: Steps) -> None:
    await steps.submit(*(a_submission(task_id) for task_id in "abc"))
    await steps.revoke("a", "b")

    count, remaining = await purge_all(steps, limit=1)

    assert (count, remaining[-1]) == (1, 0)
    assert (await steps.read("c")).failure == PURGED
    assert (await steps.queue()).ready_count == 0


async def test_the_same_ids_may_be_submitted_again_later(steps: Steps) -> None:
    await steps.submit(*(a_submission(task_id, result_ttl_ms=5) for task_id in "ab"))
    await steps.purge()
    await steps.harness.advance(5)

    await steps.submit(*(a_submission(task_id) for task_id in "ba"))

    assert await steps.drain() == ["b", "a"]


async def test_those_who_wait_are_told(steps: Steps) -> None:
    async with listening_to(steps.store) as listener:
        await steps.submit(a_submission("ready"), a_submission("delayed", start_delay_ms=9))
        await listener.hears_of("delayed")
        listener.changes.clear()

        await steps.purge()

        assert (await listener.hears_of("ready")).is_done is not False
        assert (await listener.hears_of("delayed")).is_done is not False


@pytest.mark.parametrize("cursor", ["nonsense", "\x00", "-1:", "{}"])
async def test_a_malformed_cursor_is_refused(steps: Steps, cursor: str) -> None:
    await steps.submit_one()

    with pytest.raises(ValueError, match=r".*"):
        await steps.purge(cursor=cursor)
    assert (await steps.queue()).ready_count == 1


async def test_calls_that_run_out_of_time_get_past_the_tasks_of_other_queues(
    steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PURGE_BUDGET_S", 0.0)
    others = 3 * limits.MAX_PURGE_STEP
    await steps.submit(*(a_submission(f"other-{n}", queue="other", start_delay_ms=1) for n in range(others)))
    await steps.submit(a_submission("delayed", start_delay_ms=2))
    operators = Operators(steps.store, 1)

    purged = [await operators.purge_queue("default", is_forced=True) for _ in range(4)]

    assert sum(totals.count for totals in purged) == 1
    assert purged[-1].remaining == 0
    assert (await steps.queue("other")).schedule_count == others

"""Looking through what is in Redis, whatever stands in the way: entries left behind, many queues, ids used again."""

from collections.abc import AsyncIterator

import pytest

from tailrace.server.domain.detail import TaskDetail
from tailrace.server.store.values import Revocation
from tests.store.builders import LOST, PURGED, STOP, a_lease_request, a_submission
from tests.store.redis_harness import RedisHarness, open_redis
from tests.store.steps import Steps

MANY_QUEUES = 501
"""One more than a call looks at."""


@pytest.fixture
async def harness(redis_url: str) -> AsyncIterator[RedisHarness]:
    async with open_redis(redis_url) as harness:
        yield harness


@pytest.fixture
async def steps(harness: RedisHarness) -> Steps:
    return Steps(harness)


def ids(details: list[TaskDetail]) -> list[str]:
    return [detail.snapshot.task_id for detail in details]


async def revoke_all(steps: Steps, task_ids: list[str]) -> None:
    for first in range(0, len(task_ids), 256):
        some = task_ids[first : first + 256]
        await steps.store.revoke_tasks(0, [Revocation(task_id=task_id, failure=STOP) for task_id in some])


async def test_more_queues_than_a_call_looks_at_are_walked_through(steps: Steps, harness: RedisHarness) -> None:
    names = {f"queue-{number:03}": 0.0 for number in range(MANY_QUEUES)}
    await harness.admin.zadd(f"{harness.prefix()}queues", names)
    await steps.submit(a_submission("z", queue="z"), a_submission("delayed", start_delay_ms=1))

    first = await steps.store.list_tasks(0, "", 500, with_payloads=False)

    assert (first.details, first.cursor) == ((), "ready queue-498 -1 0")
    assert ids(await steps.walk()) == ["z", "delayed"]


async def test_an_entry_that_its_record_contradicts_is_passed_over(steps: Steps, harness: RedisHarness) -> None:
    await steps.submit(a_submission("ready"), a_submission("delayed", start_delay_ms=1))
    await harness.admin.lpush(f"{harness.prefix()}q:default:0", "unknown", "delayed")
    await harness.admin.zadd(f"{harness.prefix()}lease", {"unknown": 1, "delayed": 1})
    for index in ("sched", "done"):
        await harness.admin.zadd(f"{harness.prefix()}{index}", {"unknown": 1, "ready": 1})

    walked = await steps.walk()

    assert ids(walked) == ["ready", "delayed"]
    assert [detail.lease_expire_ms for detail in walked] == [None, None]
    assert (await steps.queue()).oldest_age_ms == 0


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_a_walk_through_a_list_keeps_its_place_while_tasks_leave_and_come_back(steps: Steps, limit: int) -> None:
    await steps.submit(*(a_submission(f"task-{number}") for number in range(12)))
    await steps.submit(a_submission("first", priority=1))
    walked: list[str] = []
    cursor, turn = "", 0
    moved: set[str] = set()
    while True:
        listed = await steps.store.list_tasks(0, cursor, limit, with_payloads=False)
        walked += ids(list(listed.details))
        cursor, turn = listed.cursor, turn + 1
        if not cursor:
            break
        if turn < 4:
            deliveries = (await steps.lease(count=2)).deliveries
            moved |= {delivery.task_id for delivery in deliveries}
            await steps.release(deliveries[0])

    stayed = [f"task-{number}" for number in range(12) if f"task-{number}" not in moved]
    assert [task_id for task_id in walked if task_id in stayed] == stayed


async def test_an_id_used_again_behind_what_it_left_is_listed_in_every_walk(steps: Steps) -> None:
    await steps.submit(*(a_submission(task_id) for task_id in ("first", "again", "b", "c")))
    await steps.revoke("again")
    await steps.delete("again")
    await steps.submit(a_submission("again"), a_submission("d"))

    assert ids(await steps.walk(limit=100)) == ["first", "b", "c", "again", "d"]
    assert sorted(ids(await steps.walk(limit=2))) == ["again", "b", "c", "d", "first"]


async def test_in_a_very_long_list_an_id_used_again_is_listed_without_a_search(
    steps: Steps, harness: RedisHarness
) -> None:
    await steps.submit(a_submission("first"), a_submission("again"), a_submission("b"))
    await steps.revoke("again")
    await steps.delete("again")
    await steps.submit(a_submission("again"))
    await harness.admin.rpush(f"{harness.prefix()}q:default:0", *["x"] * 100_000)

    listed = await steps.store.list_tasks(0, "", 4, with_payloads=False)

    assert ids(list(listed.details)) == ["first", "again", "b"]


async def test_the_oldest_is_found_behind_entries_that_were_left(steps: Steps, harness: RedisHarness) -> None:
    await steps.submit(a_submission("first"), *(a_submission(f"revoked-{number}") for number in range(120)))
    await harness.advance(10)
    await steps.submit(a_submission("oldest"))
    await harness.advance(10)
    await revoke_all(steps, [f"revoked-{number}" for number in range(120)])
    await steps.store.purge_queue(0, "default", "", 1, PURGED)
    assert await harness.admin.lindex(f"{harness.prefix()}q:default:0", 0) == b"revoked-0"
    await steps.submit(a_submission("younger", priority=9))
    await harness.advance(5)

    queue = await steps.queue()

    assert (queue.ready_count, queue.oldest_age_ms) == (2, 15)


async def test_the_oldest_is_found_behind_any_number_of_entries_that_were_left_once_tasks_are_drawn(
    steps: Steps, harness: RedisHarness
) -> None:
    names = [f"revoked-{number:03}" for number in range(900)]
    await steps.submit(a_submission("first"))
    for first in range(0, 900, 100):
        await steps.submit(*map(a_submission, names[first : first + 100]))
    await steps.submit(*map(a_submission, "abc"))
    await revoke_all(steps, names)
    await harness.advance(5)
    before = await steps.walk()

    assert (await steps.deliver()).task_id == "first"

    queue = await steps.queue()
    assert (queue.ready_count, queue.oldest_age_ms) == (3, 5)
    assert await harness.admin.lrange(f"{harness.prefix()}q:default:0", 0, -1) == [b"a", b"b", b"c"]
    assert await harness.admin.exists(f"{harness.prefix()}left") == 0
    assert await harness.admin.hget(f"{harness.prefix()}qm:default", "h0") == b"901"
    assert sorted(ids(await steps.walk())) == sorted(ids(before))
    assert await steps.drain() == ["a", "b", "c"]


async def test_what_was_left_goes_once_it_is_foremost(steps: Steps, harness: RedisHarness) -> None:
    """Where nobody draws from a queue it would stay for ever."""
    await steps.submit(*(a_submission(f"task-{number}") for number in range(30)))
    await steps.submit(*(a_submission(f"late-{number}", priority=3, start_within_ms=5) for number in range(15)))

    await revoke_all(steps, [f"task-{number}" for number in (25, *range(1, 20))])
    assert await harness.admin.llen(f"{harness.prefix()}q:default:0") == 30
    assert await harness.admin.hlen(f"{harness.prefix()}left") == 20
    await steps.revoke("task-0")
    await harness.advance(5)
    await steps.end_overdue()

    assert await harness.admin.lindex(f"{harness.prefix()}q:default:0", 0) == b"task-20"
    assert await harness.admin.hgetall(f"{harness.prefix()}left") == {b"default:0 task-25": b"1"}
    assert await harness.admin.exists(f"{harness.prefix()}q:default:3") == 0
    assert await steps.drain() == [f"task-{number}" for number in range(20, 30) if number != 25]


async def test_a_purge_takes_what_was_left_along(steps: Steps, harness: RedisHarness) -> None:
    await steps.submit(*(a_submission(task_id) for task_id in "abc"))
    await steps.revoke("b", "c")
    await steps.store.purge_queue(0, "default", "", 10, PURGED)

    assert await harness.admin.exists(f"{harness.prefix()}left", f"{harness.prefix()}q:default:0") == 0
    counters = await harness.admin.hgetall(f"{harness.prefix()}qm:default")
    assert counters == {b"mask": b"0", b"ready": b"0", b"h0": b"3"}


async def test_a_purge_that_passes_over_what_was_left_takes_all_the_same(steps: Steps) -> None:
    names = [f"task-{number:03}" for number in range(400)]
    for first in range(0, 400, 100):
        await steps.submit(*map(a_submission, names[first : first + 100]))
    await revoke_all(steps, names[1:130])

    opening = await steps.store.purge_queue(0, "default", "", 500, PURGED)
    second = await steps.store.purge_queue(0, "default", opening.cursor, 500, PURGED)

    assert (opening.count, opening.remaining, opening.cursor) == (150, 121, "ready")
    assert (second.count, second.remaining, second.cursor) == (121, 0, "")


async def test_a_purge_mends_a_schedule_in_passing(steps: Steps, harness: RedisHarness) -> None:
    await steps.submit(a_submission("ready", queue="other"), a_submission("delayed", start_delay_ms=9))
    await harness.admin.zadd(f"{harness.prefix()}sched", {"unknown": 1, "ready": 1})

    assert (await steps.purge()).count == 1

    assert await harness.admin.exists(f"{harness.prefix()}sched") == 0


async def test_a_purge_that_has_taken_all_does_not_walk_through_the_tasks_of_others(
    steps: Steps, harness: RedisHarness
) -> None:
    await steps.submit(*(a_submission(f"other-{number}", queue="other", start_delay_ms=9) for number in range(5)))
    await steps.submit(a_submission("delayed", start_delay_ms=1))

    purged = await steps.purge(limit=2)

    assert (purged.count, purged.remaining, purged.cursor) == (1, 0, "")


async def test_ties_in_an_index_go_by_bytes_and_not_by_language(steps: Steps) -> None:
    names = ["Z", "a", "B", "a:", "a-", "_", "0"]
    await steps.submit(*(a_submission(name, start_delay_ms=1) for name in names if name != "_"))

    assert ids(await steps.walk(limit=1)) == sorted(name for name in names if name != "_")


async def test_a_walk_goes_on_behind_an_entry_that_has_gone(steps: Steps, harness: RedisHarness) -> None:
    await steps.submit(*(a_submission(f"tie-{number}", start_delay_ms=5) for number in range(5)))
    listed = await steps.store.list_tasks(0, "", 2, with_payloads=False)
    await harness.admin.zrem(f"{harness.prefix()}sched", "tie-0", "tie-1")

    rest = await steps.store.list_tasks(0, listed.cursor, 10, with_payloads=False)

    assert ids(list(rest.details)) == ["tie-2", "tie-3", "tie-4"]


async def test_the_place_in_a_list_counts_what_comes_to_its_head_too(harness: RedisHarness) -> None:
    store = harness.store
    await store.submit_tasks(0, [a_submission(task_id, priority=2) for task_id in "abcd"])
    await store.lease_tasks(0, a_lease_request(count=3))
    after_lease = await harness.admin.hget(f"{harness.prefix()}qm:default", "h2")
    await harness.advance(60_000)
    await store.reap_leases(0, 10, LOST)
    await harness.advance(5_000)
    await store.reap_leases(0, 10, LOST)

    after_reaping = await harness.admin.hget(f"{harness.prefix()}qm:default", "h2")

    assert (after_lease, after_reaping) == (b"3", b"0")

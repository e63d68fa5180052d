"""Indexes in Redis that differ from the records: how that is noticed, and that life goes on afterwards."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tailrace.server.domain.lease import DELIVERY_LEASE_MS
from tailrace.server.store.changes import QueueReady
from tailrace.server.store.operators import Audited
from tests.store.builders import MISSED, a_submission, a_success
from tests.store.redis_harness import RedisHarness, open_redis
from tests.store.redis_listener import listening_to
from tests.store.steps import Steps

LEASE_MS = 20_000
TTL_MS = 50_000
DEADLINE_MS = 90_000
MANY = 1_000
"""Entries of a ready list up to which a task is looked for in it."""


@pytest.fixture
async def harness(redis_url: str) -> AsyncIterator[RedisHarness]:
    async with open_redis(redis_url) as harness:
        yield harness


@pytest.fixture
async def steps(harness: RedisHarness) -> Steps:
    """Drive a partition in which one task stands in each place."""
    steps = Steps(harness)
    ended = await steps.submit_and_start(a_submission("done", result_ttl_ms=TTL_MS))
    await steps.end(a_success("done", ended.lease_token))
    await steps.submit_and_start(a_submission("started", lease_ms=LEASE_MS, total_timeout_ms=DEADLINE_MS))
    await steps.submit(a_submission("delivered"))
    await steps.deliver()
    await steps.submit(a_submission("delayed", start_delay_ms=70_000))
    await steps.submit(a_submission("ready", priority=3, total_timeout_ms=DEADLINE_MS))
    await steps.submit(a_submission("revoked"))
    await steps.revoke("revoked")
    return steps


Break = Callable[[RedisHarness], Awaitable[object]]


def removed(index: str, task_id: str) -> Break:
    return lambda harness: harness.admin.zrem(f"{harness.prefix()}{index}", task_id)


def entered(index: str, task_id: str, score: int) -> Break:
    return lambda harness: harness.admin.zadd(f"{harness.prefix()}{index}", {task_id: score})


async def put_out_of_its_list(harness: RedisHarness) -> None:
    assert await harness.admin.lrem(f"{harness.prefix()}q:default:3", 1, "ready") == 1


async def say_that_it_was_left_behind(harness: RedisHarness) -> None:
    await harness.admin.hset(f"{harness.prefix()}left", "default:3 ready", "1")


async def forget_its_level(harness: RedisHarness) -> None:
    await harness.admin.hset(f"{harness.prefix()}qm:default", "mask", "1")


@pytest.mark.parametrize(
    ("break_it", "repair"),
    [
        (removed("lease", "started"), "lease_missing"),
        (removed("lease", "delivered"), "lease_missing"),
        (entered("lease", "ready", 1), "lease_extra"),
        (removed("sched", "delayed"), "schedule_missing"),
        (entered("sched", "ready", 1), "schedule_extra"),
        (removed("done", "done"), "done_missing"),
        (entered("done", "done", 1), "done_wrong"),
        (entered("done", "ready", 1), "done_extra"),
        (removed("dl", "ready"), "deadline_missing"),
        (entered("dl", "started", 1), "deadline_wrong"),
        (entered("dl", "done", 1), "deadline_extra"),
        (removed("queues", "default"), "queue_missing"),
        (put_out_of_its_list, "ready_missing"),
        (say_that_it_was_left_behind, "ready_missing"),
        (forget_its_level, "mask_wrong"),
    ],
)
async def test_what_differs_is_put_right_and_counted(
    steps: Steps, harness: RedisHarness, break_it: Break, repair: str
) -> None:
    tasks, queue = await steps.walk(with_payloads=True), await steps.queue()
    await break_it(harness)

    assert await steps.audit() == {repair: 1}
    assert await steps.audit() == {}

    # Only the index knew when a lease ends or a task is due.
    walked = await steps.walk(with_payloads=True)
    assert {detail.snapshot.task_id: detail.snapshot for detail in walked} == {
        detail.snapshot.task_id: detail.snapshot for detail in tasks
    }
    assert await steps.queue() == queue
    assert await steps.drain() == ["ready"]


async def test_a_lost_lease_of_a_started_task_gets_its_full_length(steps: Steps, harness: RedisHarness) -> None:
    await harness.advance(1_000)
    await removed("lease", "started")(harness)

    await steps.audit()

    assert (await steps.detail("started")).lease_expire_ms == harness.now_ms + LEASE_MS


async def test_a_lost_delivery_gets_the_length_of_a_delivery(steps: Steps, harness: RedisHarness) -> None:
    await harness.advance(1_000)
    await removed("lease", "delivered")(harness)

    await steps.audit()

    assert (await steps.detail("delivered")).lease_expire_ms == harness.now_ms + DELIVERY_LEASE_MS


async def test_what_was_lost_from_the_schedule_is_due(steps: Steps, harness: RedisHarness) -> None:
    await removed("sched", "delayed")(harness)

    await steps.audit()

    assert (await steps.promote()).count == 1
    assert await steps.drain() == ["ready", "delayed"]


async def test_a_record_that_was_lost_from_the_index_of_done_ones_still_ends(
    steps: Steps, harness: RedisHarness
) -> None:
    await removed("done", "done")(harness)

    await steps.audit()
    await harness.advance(TTL_MS)

    assert (await steps.expire()).count == 1
    assert f"{harness.prefix()}t:done" not in await harness.keys()


async def test_a_deadline_that_was_lost_is_kept_all_the_same(steps: Steps, harness: RedisHarness) -> None:
    await removed("dl", "ready")(harness)

    await steps.audit()
    await harness.advance(DEADLINE_MS)
    await steps.end_overdue()

    assert (await steps.read("ready")).failure == MISSED.total


@pytest.mark.parametrize("break_it", [put_out_of_its_list, forget_its_level])
async def test_all_processes_are_told_of_a_task_that_can_be_delivered_again(
    steps: Steps, harness: RedisHarness, break_it: Break
) -> None:
    other = await harness.second_store()
    await break_it(harness)

    async with listening_to(harness.store) as here, listening_to(other) as there:
        await steps.audit()

        await here.hears_exactly(QueueReady("default"))
        await there.hears_exactly(QueueReady("default"))


async def test_a_paused_queue_stays_silent_while_it_is_put_right(steps: Steps, harness: RedisHarness) -> None:
    await steps.pause()
    await put_out_of_its_list(harness)

    async with listening_to(harness.store) as listener:
        await steps.submit(a_submission("before", queue="before"))
        await listener.hears_exactly(QueueReady("before"))
        listener.changes.clear()
        assert await steps.audit() == {"ready_missing": 1}
        await steps.submit(a_submission("after", queue="after"))
        await listener.hears_exactly(QueueReady("after"))

        assert listener.queues() == ["after"]
    await steps.pause(is_paused=False)
    assert await steps.drain() == ["ready"]


async def test_several_things_at_once_are_put_right(steps: Steps, harness: RedisHarness) -> None:
    for name in ("lease", "sched", "done", "dl", "queues", "q:default:3"):
        await harness.admin.unlink(f"{harness.prefix()}{name}")

    repairs = await steps.audit()

    assert repairs == {
        "lease_missing": 2,
        "schedule_missing": 1,
        "done_missing": 2,
        "deadline_missing": 2,
        "queue_missing": 1,
        "ready_missing": 1,
    }
    assert await steps.audit() == {}


async def test_in_a_long_list_nobody_looks_for_a_task(steps: Steps, harness: RedisHarness) -> None:
    name = f"{harness.prefix()}q:default:3"
    await put_out_of_its_list(harness)
    await harness.admin.rpush(name, *(f"other-{number}" for number in range(MANY + 1)))
    believed = await steps.audit()
    await harness.admin.rpop(name)

    assert believed == {}
    assert await steps.audit() == {"ready_missing": 1}


async def test_records_of_other_partitions_are_left_to_their_own_audit(redis_url: str) -> None:
    async with open_redis(redis_url, partitions=2) as harness:
        for partition in range(2):
            await harness.store.submit_tasks(partition, [a_submission(f"in-{partition}", start_delay_ms=1)])
            await harness.admin.unlink(f"{harness.prefix(partition)}sched")

        audited = list[Audited]()
        cursor = ""
        while not audited or cursor:
            audited.append(await harness.store.audit_tasks(1, cursor, 10))
            cursor = audited[-1].cursor

        assert [step.repairs for step in audited if step.repairs] == [{"schedule_missing": 1}]
        assert await harness.admin.zrange(f"{harness.prefix(1)}sched", 0, -1) == [b"in-1"]
        assert await harness.admin.exists(f"{harness.prefix(0)}sched") == 0


@pytest.mark.parametrize("cursor", ["-1", "x", "1 2", "9" * 21])
async def test_a_malformed_cursor_is_refused(steps: Steps, cursor: str) -> None:
    with pytest.raises(ValueError, match="malformed"):
        await steps.store.audit_tasks(0, cursor, 10)

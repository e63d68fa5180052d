"""What is known of queues."""

from tailrace.server.store.base import MAX_ITEMS
from tailrace.server.store.operators import QueueStats
from tests.store.builders import a_failure, a_policy, a_submission, a_success
from tests.store.conftest import OpenHarness
from tests.store.steps import Steps


async def names(steps: Steps, after: str = "", limit: int = 100) -> list[str]:
    return [stats.queue for stats in await steps.store.list_queues(0, after, limit)]


async def test_the_counts_follow_every_move(steps: Steps) -> None:
    async def counts() -> tuple[int, int, int]:
        stats = await steps.queue()
        return stats.ready_count, stats.schedule_count, stats.lease_count

    await steps.submit(a_submission("a", retry_policy=a_policy(2)), a_submission("b"))
    await steps.submit(a_submission("c", start_delay_ms=10))
    assert await counts() == (2, 1, 0)
    a = await steps.start()
    b = await steps.start()
    assert await counts() == (0, 1, 2)
    await steps.end(a_failure("a", a.lease_token))
    assert await counts() == (0, 2, 1)
    await steps.release(b)
    assert await counts() == (1, 2, 0)
    await steps.harness.advance(10)
    await steps.promote()
    assert await counts() == (2, 1, 0)
    await steps.revoke("a", "b")
    assert await counts() == (1, 0, 0)
    c = await steps.start()
    await steps.end(a_success("c", c.lease_token))
    assert await counts() == (0, 0, 0)


async def test_queues_come_by_name_page_by_page(steps: Steps) -> None:
    for queue in ("b", "a", "c-1", "B", "c"):
        await steps.submit(a_submission(f"in-{queue}", queue=queue))

    assert await names(steps) == ["B", "a", "b", "c", "c-1"]
    assert await names(steps, limit=2) == ["B", "a"]
    assert await names(steps, "a", limit=2) == ["b", "c"]
    assert await names(steps, "b") == ["c", "c-1"]
    assert await names(steps, "bb") == ["c", "c-1"]
    assert await names(steps, "c-1") == []


async def test_a_queue_stays_known_once_its_tasks_are_gone(steps: Steps) -> None:
    delivery = await steps.submit_and_start(a_submission(result_ttl_ms=1))
    await steps.end(a_success("task-1", delivery.lease_token))
    await steps.harness.advance(1)
    await steps.expire()

    await steps.harness.reopen()

    assert await steps.store.list_queues(0, "", 10) == [
        QueueStats(queue="default", is_paused=False, ready_count=0, schedule_count=0, lease_count=0, oldest_age_ms=None)
    ]


async def test_the_age_is_known_behind_any_number_of_tasks_that_were_revoked(steps: Steps) -> None:
    task_ids = [f"task-{number}" for number in range(2 * MAX_ITEMS)]
    for first in (0, MAX_ITEMS):
        await steps.submit(*map(a_submission, task_ids[first : first + MAX_ITEMS]))
    await steps.harness.advance(10)
    await steps.submit(a_submission("younger"))
    await steps.harness.advance(5)

    await steps.revoke(*task_ids[:MAX_ITEMS])
    await steps.revoke(*task_ids[MAX_ITEMS:])

    stats = await steps.queue()
    assert (stats.ready_count, stats.oldest_age_ms) == (1, 5)


async def test_asking_a_queue_for_tasks_does_not_make_it_known(steps: Steps) -> None:
    await steps.drain("asked-for")
    await steps.purge("asked-for-too")

    assert await names(steps) == []


async def test_the_age_is_that_of_the_oldest_of_the_foremost(steps: Steps) -> None:
    await steps.submit(a_submission("first", priority=3))
    await steps.harness.advance(100)
    await steps.submit(a_submission("second"))
    await steps.harness.advance(10)
    await steps.submit(a_submission("third", priority=9), a_submission("delayed", start_delay_ms=1))

    assert (await steps.queue()).oldest_age_ms == 110
    assert (await steps.deliver()).task_id == "third"
    assert (await steps.queue()).oldest_age_ms == 110
    assert (await steps.deliver()).task_id == "first"
    assert (await steps.queue()).oldest_age_ms == 10
    await steps.deliver()
    assert (await steps.queue()).oldest_age_ms is None


async def test_the_age_counts_from_acceptance_whatever_happened_since(steps: Steps) -> None:
    await steps.submit_one()
    await steps.harness.advance(100)
    delivery = await steps.start()
    await steps.harness.advance(100)
    await steps.submit(a_submission("behind"))

    await steps.release(delivery)

    assert (await steps.queue()).oldest_age_ms == 200


async def test_a_revoked_task_is_not_the_oldest(steps: Steps) -> None:
    await steps.submit(a_submission("a"))
    await steps.harness.advance(5)
    await steps.submit(a_submission("b"))
    await steps.harness.advance(5)

    await steps.revoke("a")

    assert (await steps.queue()).oldest_age_ms == 5
    await steps.revoke("b")
    assert (await steps.queue()).oldest_age_ms is None


async def test_each_partition_tells_of_its_own(open_harness: OpenHarness) -> None:
    harness = await open_harness(partitions=2)
    await harness.store.submit_tasks(0, [a_submission("a", queue="both"), a_submission("b", queue="zero")])
    await harness.store.submit_tasks(1, [a_submission("c", queue="both"), a_submission("d", queue="both")])

    counts = [
        {stats.queue: stats.ready_count for stats in await harness.store.list_queues(partition, "", 10)}
        for partition in (0, 1)
    ]

    assert counts == [{"both": 1, "zero": 1}, {"both": 2}]


async def test_a_pause_holds_in_its_partition(open_harness: OpenHarness) -> None:
    harness = await open_harness(partitions=2)
    for partition in (0, 1):
        await harness.store.submit_tasks(partition, [a_submission(f"in-{partition}")])

    await harness.store.pause_queue(1, "default", is_paused=True)

    paused = [(await harness.store.list_queues(partition, "", 10))[0].is_paused for partition in (0, 1)]
    assert paused == [False, True]

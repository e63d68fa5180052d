"""Submitting and waiting in one step."""

from tailrace.server.store.changes import Change, TaskChanged
from tests.store.builders import a_submission, a_success
from tests.store.redis_harness import RedisHarness, open_redis
from tests.store.redis_listener import Listener, listening_to
from tests.store.steps import Steps


async def hears_the_end(listener: Listener, task_id: str) -> None:
    def is_it(change: Change) -> bool:
        return isinstance(change, TaskChanged) and change.task_id == task_id and change.is_done is True

    await listener.hears(is_it)


async def test_a_watched_task_tells_of_its_later_changes(steps: Steps) -> None:
    async with listening_to(steps.store) as listener:
        await steps.submit(a_submission(is_watched=True))

        delivery = await steps.start()
        await steps.end(a_success("task-1", delivery.lease_token))

        await hears_the_end(listener, "task-1")


async def test_watching_does_not_make_it_another_request(steps: Steps) -> None:
    await steps.submit_one(a_submission())

    again = await steps.submit_one(a_submission(is_watched=True))

    assert (again.is_created, again.is_conflict) == (False, False)


async def finished_elsewhere(harness: RedisHarness, task_id: str) -> None:
    """Have another process run the task, which is the foremost."""
    steps = Steps(harness)
    delivery = await steps.start()
    assert delivery.task_id == task_id
    await steps.end(a_success(task_id, delivery.lease_token))


async def test_what_other_processes_do_to_a_watched_task_is_told(redis_url: str) -> None:
    async with open_redis(redis_url) as harness:
        here = await harness.second_store()
        async with listening_to(here) as listener:
            await here.submit_tasks(0, [a_submission("unwatched"), a_submission("watched", is_watched=True)])
            await listener.hears_of("watched")
            await listener.hears_of("unwatched")
            listener.changes.clear()

            await finished_elsewhere(harness, "unwatched")
            await finished_elsewhere(harness, "watched")
            await hears_the_end(listener, "watched")

        assert listener.of_task("unwatched") == []


async def test_a_task_that_exists_is_watched_from_then_on(redis_url: str) -> None:
    async with open_redis(redis_url) as harness:
        here = await harness.second_store()
        await harness.store.submit_tasks(0, [a_submission("task-1")])
        async with listening_to(here) as listener:
            (existing,) = await here.submit_tasks(0, [a_submission("task-1", is_watched=True)])
            assert not existing.is_created

            await finished_elsewhere(harness, "task-1")

            await hears_the_end(listener, "task-1")


async def test_a_task_that_could_not_be_accepted_is_not_watched(redis_url: str) -> None:
    async with open_redis(redis_url) as harness:
        here = await harness.second_store()
        async with listening_to(here) as listener:
            refused = [a_submission("full", is_watched=True)]
            (outcome,) = await here.submit_tasks(0, refused, max_queue_depth=0)
            assert outcome.is_queue_full

            await harness.store.submit_tasks(0, [a_submission("full")])
            await finished_elsewhere(harness, "full")
            await here.submit_tasks(0, [a_submission("sign", is_watched=True)])
            await finished_elsewhere(harness, "sign")
            await hears_the_end(listener, "sign")

        assert listener.of_task("full") == []

"""Comparing records with the indexes that should hold them."""

import pytest

from tests.store.random_life import QUEUES, RandomLife
from tests.store.steps import Steps


@pytest.mark.parametrize("seed", range(4))
async def test_after_any_life_there_is_nothing_to_repair(steps: Steps, seed: int) -> None:
    life = RandomLife(steps, seed)
    await life.live()
    tasks, queues = await steps.walk(with_payloads=True), await steps.store.list_queues(0, "", 10)
    assert len(tasks) > 5

    assert await steps.audit(limit=7) == {}
    assert await steps.audit(limit=1_000) == {}

    assert await steps.walk(with_payloads=True) == tasks
    assert await steps.store.list_queues(0, "", 10) == queues


async def test_there_is_nothing_to_repair_where_there_is_nothing(steps: Steps) -> None:
    assert await steps.audit() == {}


@pytest.mark.parametrize("seed", range(2))
async def test_the_counts_of_queues_are_those_of_their_tasks_after_any_life(steps: Steps, seed: int) -> None:
    await RandomLife(steps, seed).live()
    queue_of = {f"task-{number}": QUEUES[number % 2] for number in range(40)}
    walked = [(queue_of[d.snapshot.task_id], d.snapshot.place.value) for d in await steps.walk()]

    for stats in await steps.store.list_queues(0, "", 10):
        places = [place for queue, place in walked if queue == stats.queue]
        assert (stats.ready_count, stats.schedule_count, stats.lease_count) == (
            places.count("ready"),
            places.count("schedule"),
            places.count("lease"),
        )

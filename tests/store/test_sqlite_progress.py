"""What the embedded store tells of progress, to everybody in its one process."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.store.builders import a_submission
from tests.store.redis_listener import listening_to
from tests.store.sqlite_harness import open_sqlite
from tests.store.steps import Steps


@pytest.fixture
async def steps(tmp_path: Path) -> AsyncIterator[Steps]:
    async with open_sqlite(tmp_path) as harness:
        yield Steps(harness)


async def test_a_start_that_brings_progress_is_told_once_and_as_a_start(steps: Steps) -> None:
    await steps.submit_one()
    delivery = await steps.deliver()
    async with listening_to(steps.store) as listener:
        await listener.hears_of("task-1")
        listener.changes.clear()

        await steps.beat(delivery, progress=b"half")

        await steps.submit(a_submission("later"))
        await listener.hears_of("later")
        told = [(change.is_progress, change.snapshot) for change in listener.of_task("task-1")]
        assert told == [(False, await steps.read())]


async def test_progress_is_told_without_anybody_asking_for_it(steps: Steps) -> None:
    delivery = await steps.submit_and_start()
    async with listening_to(steps.store) as listener:
        await listener.hears(lambda _: len(listener.of_task("task-1")) == len(["submitted", "started"]))
        listener.changes.clear()

        await steps.beat(delivery, progress=b"half")

        change = await listener.hears_of("task-1")
        assert (change.is_progress, change.is_done, change.snapshot) == (True, False, await steps.read())

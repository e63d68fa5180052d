"""A disk with no room left: nothing new is taken, what is there goes on as far as it can."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tailrace.server.domain.errors import StoreFullError, StoreUnavailableError
from tailrace.server.domain.task import TaskState
from tailrace.server.store.sqlite.writer import Done
from tests.store.builders import a_failure, a_submission, a_success
from tests.store.sqlite_harness import open_sqlite
from tests.store.steps import Steps

LARGE = b"x" * 200_000


@pytest.fixture
async def full(tmp_path: Path) -> AsyncIterator[Steps]:
    """A store with one large task, on a disk that has no room for another."""

    def fill(connection: sqlite3.Connection) -> Done[None]:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + 4}")
        return Done(None)

    async with open_sqlite(tmp_path) as harness:
        steps = Steps(harness)
        await steps.submit(a_submission("early", payload=LARGE))
        await harness.store._writer.run(fill)
        yield steps


async def test_a_submit_is_refused_and_leaves_nothing_behind(full: Steps) -> None:
    with pytest.raises(StoreFullError, match="disk is full"):
        await full.submit(a_submission("late", payload=LARGE))

    assert await full.find("late") is None
    assert (await full.queue()).ready_count == 1


async def test_a_result_without_room_is_to_be_sent_again(full: Steps) -> None:
    delivery = await full.start()

    with pytest.raises(StoreUnavailableError, match="disk is full"):
        await full.end(a_failure("early", delivery.lease_token, failure=LARGE))

    assert await full.beat(delivery) is not None


async def test_tasks_are_finished_and_make_room(full: Steps) -> None:
    delivery = await full.start()

    stored = await full.end(a_success("early", delivery.lease_token))

    assert stored is not None
    assert stored.state is TaskState.SUCCESS
    assert (await full.submit_one(a_submission("late", payload=LARGE))).is_created

"""The numbers of tasks that the embedded store keeps with each queue."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tailrace.server.domain.task import TaskState
from tailrace.server.store.sqlite import queue_operations
from tailrace.server.store.sqlite.writer import Done
from tests.store.builders import a_failure, a_policy, a_submission, a_success
from tests.store.sqlite_harness import SqliteHarness, open_sqlite
from tests.store.steps import Steps


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[SqliteHarness]:
    async with open_sqlite(tmp_path) as harness:
        yield harness


@pytest.fixture
async def life(sqlite: SqliteHarness) -> Steps:
    """Tasks of two queues at every point of their life."""
    steps = Steps(sqlite)
    await steps.submit(*(a_submission(f"ready-{n}", queue="a", priority=n) for n in range(3)))
    await steps.submit(a_submission("later", queue="a", start_delay_ms=50))
    for queue in ("a", "b"):
        done = await steps.submit_and_start(a_submission(f"done-{queue}", queue=queue, priority=9))
        await steps.end(a_success(done.task_id, done.lease_token))
        await steps.submit_and_start(a_submission(f"held-{queue}", queue=queue, priority=9))
    failed = await steps.submit_and_start(a_submission("failed", queue="b", retry_policy=a_policy(2)))
    stored = await steps.end(a_failure("failed", failed.lease_token))
    assert stored is not None
    assert stored.state is TaskState.RETRY
    return steps


async def in_store(steps: Steps, statement: str) -> None:
    store = steps.store
    assert hasattr(store, "_writer")

    def work(connection: sqlite3.Connection) -> Done[None]:
        connection.execute(statement)
        return Done(None)

    await store._writer.run(work)


async def counts(steps: Steps) -> dict[str, tuple[int, int, int]]:
    stats = await steps.store.list_queues(0, "", 10)
    return {each.queue: (each.ready_count, each.schedule_count, each.lease_count) for each in stats}


async def test_they_are_right_and_an_audit_finds_nothing(life: Steps) -> None:
    assert await counts(life) == {"a": (3, 1, 1), "b": (0, 1, 1)}

    assert await life.audit() == {}


@pytest.mark.parametrize("limit", [1, 2, 100])
async def test_an_audit_puts_right_what_is_wrong_and_counts_it(life: Steps, limit: int) -> None:
    before = await counts(life)
    await in_store(life, "UPDATE queue SET ready_count = 7, schedule_count = -1, lease_count = 0")

    assert await life.audit(limit=limit) == {"queue_counts": 2}

    assert await counts(life) == before
    assert await life.audit(limit=limit) == {}


async def test_what_is_too_much_to_count_is_left_as_it_is(life: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_operations, "MAX_RECOUNTED", 1)
    await in_store(life, "UPDATE queue SET ready_count = 70, schedule_count = 70, lease_count = 70")

    assert await life.audit() == {"queue_counts": 2}

    assert await counts(life) == {"a": (70, 1, 70), "b": (0, 1, 70)}


async def test_an_audit_goes_on_after_the_queue_that_it_came_to(life: Steps) -> None:
    first = await life.store.audit_tasks(0, "", 1)
    second = await life.store.audit_tasks(0, first.cursor, 1)

    assert (first.cursor, second.cursor) == ("a", "")


async def test_a_step_that_is_undone_changes_no_count(sqlite: SqliteHarness, life: Steps) -> None:
    before = await counts(life)
    await in_store(life, "CREATE TRIGGER refuse BEFORE INSERT ON input BEGIN SELECT raise(ABORT, 'refused'); END")

    with pytest.raises(sqlite3.IntegrityError, match="refused"):
        await life.submit(a_submission("undone", queue="a"))

    assert await counts(life) == before
    assert await life.audit() == {}


async def test_a_purge_leaves_what_becomes_ready_behind_its_back(sqlite: SqliteHarness) -> None:
    steps = Steps(sqlite)
    await steps.submit(*(a_submission(f"ready-{n}") for n in range(2)))
    await steps.submit(*(a_submission(f"later-{n}", start_delay_ms=50) for n in range(2)))
    first = await steps.purge(limit=3)
    await steps.submit(a_submission("new"))

    second = await steps.purge(cursor=first.cursor, limit=3)

    assert (first.count, first.remaining) == (3, 1)
    assert (second.count, second.remaining, second.cursor) == (1, 1, "")
    assert (await steps.read("new")).state is TaskState.PENDING

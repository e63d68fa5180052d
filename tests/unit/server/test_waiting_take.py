"""What happens while a subscription takes its news: nothing that changes meanwhile may be lost."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from tailrace.server.coordinator.coordinator import Coordinator
from tailrace.server.domain.errors import StoreUnavailableError, TailraceError
from tailrace.server.domain.task import TaskSnapshot, TaskState
from tailrace.server.store.changes import TaskChanged
from tailrace.server.store.values import Beat
from tailrace.server.waiting.waiting import Waiting
from tests.store.builders import a_lease_request, a_submission, a_success
from tests.store.sqlite_harness import SqliteHarness, open_sqlite


class HeldCoordinator(Coordinator):
    """Answers a read with what was true when it was asked, but only once it is let go."""

    def __init__(self, harness: SqliteHarness) -> None:
        super().__init__(harness.store)
        self.read_under_way = asyncio.Event()
        self.let_go = asyncio.Event()
        self.fails = False

    async def read(self, task_ids: Sequence[str]) -> list[TaskSnapshot | TailraceError | None]:
        outcomes = await super().read(task_ids)
        self.read_under_way.set()
        await self.let_go.wait()
        return [StoreUnavailableError("away")] if self.fails else outcomes


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[SqliteHarness]:
    async with open_sqlite(tmp_path) as harness:
        yield harness


async def started_task(harness: SqliteHarness) -> bytes:
    await harness.store.submit_tasks(0, [a_submission("task-1")])
    token = (await harness.store.lease_tasks(0, a_lease_request())).deliveries[0].lease_token
    await harness.store.beat_leases(0, [Beat(task_id="task-1", lease_token=token)])
    return token


async def test_an_end_that_comes_while_an_older_outcome_is_read_is_told_next(harness: SqliteHarness) -> None:
    coordinator = HeldCoordinator(harness)
    token = await started_task(harness)
    waiting = Waiting(coordinator)
    subscription = waiting.subscribe({"task-1": None})
    started = (await harness.store.read_tasks(0, ["task-1"]))[0]
    waiting.apply(TaskChanged(task_id="task-1", snapshot=started, is_done=False))
    waiting.apply(TaskChanged(task_id="task-1", is_done=False))

    taking = asyncio.create_task(subscription.take())
    await coordinator.read_under_way.wait()
    await harness.store.store_results(0, [a_success("task-1", token)])
    ended = (await harness.store.read_tasks(0, ["task-1"]))[0]
    waiting.apply(TaskChanged(task_id="task-1", snapshot=ended, is_done=True))
    coordinator.let_go.set()
    first, second = await taking, await subscription.take()

    told = [snapshot.state for news in (first, second) for snapshot in news.snapshots]
    assert told[-1] is TaskState.SUCCESS
    assert subscription.is_all_done


async def test_an_outcome_that_could_not_be_read_is_taken_again(harness: SqliteHarness) -> None:
    coordinator = HeldCoordinator(harness)
    await started_task(harness)
    waiting = Waiting(coordinator)
    subscription = waiting.subscribe({"task-1": None})
    started = (await harness.store.read_tasks(0, ["task-1"]))[0]
    waiting.apply(TaskChanged(task_id="task-1", snapshot=started, is_done=False))
    waiting.apply(TaskChanged(task_id="task-1", is_done=False))
    coordinator.let_go.set()

    coordinator.fails = True
    with pytest.raises(StoreUnavailableError):
        await subscription.take()
    coordinator.fails = False
    news = await subscription.take()

    assert [snapshot.state for snapshot in news.snapshots] == [TaskState.STARTED]

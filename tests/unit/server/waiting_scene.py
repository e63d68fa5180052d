"""A store, the waits on it, and what they tell: the stage of the tests of waiting."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from tailrace.server.coordinator.coordinator import Coordinator
from tailrace.server.domain.errors import StoreUnavailableError, TailraceError
from tailrace.server.domain.task import TaskSnapshot
from tailrace.server.store.values import Beat
from tailrace.server.waiting.subscription import Subscription
from tailrace.server.waiting.waiting import Waiting
from tests.store.builders import a_failure, a_lease_request, a_submission, a_success
from tests.store.sqlite_harness import SqliteHarness

SOON_S = 5.0


class WatchedCoordinator(Coordinator):
    """The real one; registrations can be counted, held back and made to fail."""

    def __init__(self, harness: SqliteHarness) -> None:
        super().__init__(harness.store)
        self.registered: list[list[str]] = []
        self.registered_for_progress: list[str] = []
        self.read_count = 0
        self.is_away = False
        self.answered = asyncio.Event()
        self.let_go = asyncio.Event()
        self.let_go.set()

    async def register_waits(
        self, task_ids: Sequence[str], *, with_progress: bool = False
    ) -> list[TaskSnapshot | TailraceError | None]:
        self.registered.append(list(task_ids))
        self.registered_for_progress += task_ids if with_progress else []
        if self.is_away:
            return [StoreUnavailableError("away")] * len(task_ids)
        outcomes = await super().register_waits(task_ids, with_progress=with_progress)
        self.answered.set()
        await self.let_go.wait()
        return outcomes

    async def read(self, task_ids: Sequence[str]) -> list[TaskSnapshot | TailraceError | None]:
        self.read_count += len(task_ids)
        return [StoreUnavailableError("away")] * len(task_ids) if self.is_away else await super().read(task_ids)


class Scene:
    """A store, the waits on it, and workers that do what the test says."""

    def __init__(self, harness: SqliteHarness, coordinator: WatchedCoordinator, waiting: Waiting) -> None:
        self.harness = harness
        self.coordinator = coordinator
        self.waiting = waiting
        self.hears = True
        """Whether changes of the store reach the waits."""

    async def route(self) -> None:
        async for change in self.harness.store.changes():
            if self.hears:
                self.waiting.apply(change)

    async def submit(self, *task_ids: str) -> None:
        await self.harness.store.submit_tasks(0, [a_submission(task_id) for task_id in task_ids])

    async def start(self, task_id: str) -> bytes:
        leased = await self.harness.store.lease_tasks(0, a_lease_request())
        (delivery,) = leased.deliveries
        assert delivery.task_id == task_id, "tasks are started in the order of their submission"
        await self.harness.store.beat_leases(0, [Beat(task_id=task_id, lease_token=delivery.lease_token)])
        return delivery.lease_token

    async def say_progress(self, task_id: str, token: bytes, progress: bytes) -> None:
        await self.harness.store.beat_leases(0, [Beat(task_id=task_id, lease_token=token, progress=progress)])

    async def run(self, task_id: str, *, result: bytes = b"3") -> None:
        token = await self.start(task_id)
        await self.harness.store.store_results(0, [a_success(task_id, token, result=result)])

    async def fail(self, task_id: str) -> None:
        token = await self.start(task_id)
        await self.harness.store.store_results(0, [a_failure(task_id, token)])


@asynccontextmanager
async def running(harness: SqliteHarness) -> AsyncIterator[Scene]:
    coordinator = WatchedCoordinator(harness)
    scene = Scene(harness, coordinator, Waiting(coordinator))
    async with asyncio.TaskGroup() as tasks:
        background = [tasks.create_task(scene.waiting.run()), tasks.create_task(scene.route())]
        yield scene
        for task in background:
            task.cancel()


class Told:
    """What a subscription has told so far."""

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription
        self.snapshots: list[TaskSnapshot] = []
        self.not_found: list[str] = []

    @property
    def states(self) -> list[str]:
        return [snapshot.state.value for snapshot in self.snapshots]

    @property
    def revisions(self) -> list[int]:
        return [snapshot.revision for snapshot in self.snapshots]

    @property
    def progress(self) -> list[bytes | None]:
        return [snapshot.progress for snapshot in self.snapshots]

    async def until(self, holds: Callable[["Told"], bool], what: str) -> "Told":
        """Take news as they come until something holds of all of them."""
        async with asyncio.timeout(SOON_S):
            while not holds(self):
                await self.subscription.wait(SOON_S)
                news = await self.subscription.take()
                self.snapshots.extend(news.snapshots)
                self.not_found.extend(news.not_found)
        assert holds(self), what
        return self

    async def until_answered(self) -> "Told":
        return await self.until(lambda told: told.subscription.is_answered, "the snapshot is complete")

    async def until_state(self, state: str) -> "Told":
        return await self.until(lambda told: state in told.states, f"{state} is told")

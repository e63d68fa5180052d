"""Waiting on a real store: the outcome now, every change after it, and the truth in the end whatever got lost."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tailrace.server import waiting as waiting_module
from tailrace.server.coordinator.coordinator import Coordinator
from tailrace.server.domain.errors import StoreUnavailableError, TailraceError
from tailrace.server.domain.task import TaskSnapshot, TaskState
from tailrace.server.store.base import Beat, EpochBreak, TaskChanged
from tailrace.server.waiting import Subscription, Waiting
from tests.store.builders import a_failure, a_lease_request, a_submission, a_success
from tests.store.sqlite_harness import SqliteHarness, open_sqlite
from tests.wait import eventually_async

SOON_S = 5.0


class WatchedCoordinator(Coordinator):
    """The real one; registrations can be counted, held back and made to fail."""

    def __init__(self, harness: SqliteHarness) -> None:
        super().__init__(harness.store)
        self.registered: list[list[str]] = []
        self.is_away = False
        self.answered = asyncio.Event()
        self.let_go = asyncio.Event()
        self.let_go.set()

    async def register_waits(self, task_ids: Sequence[str]) -> list[TaskSnapshot | TailraceError | None]:
        self.registered.append(list(task_ids))
        if self.is_away:
            return [StoreUnavailableError("away")] * len(task_ids)
        outcomes = await super().register_waits(task_ids)
        self.answered.set()
        await self.let_go.wait()
        return outcomes

    async def read(self, task_ids: Sequence[str]) -> list[TaskSnapshot | TailraceError | None]:
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

    async def run(self, task_id: str, *, result: bytes = b"3") -> None:
        token = await self.start(task_id)
        await self.harness.store.store_results(0, [a_success(task_id, token, result=result)])

    async def fail(self, task_id: str) -> None:
        token = await self.start(task_id)
        await self.harness.store.store_results(0, [a_failure(task_id, token)])


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with open_sqlite(tmp_path) as harness, running(harness) as scene:
        yield scene


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


async def test_outcome_of_the_moment_is_told_first(scene: Scene) -> None:
    await scene.submit("a")

    told = await Told(scene.waiting.subscribe({"a": None})).until_answered()

    assert (told.states, told.revisions) == (["PENDING"], [1])


async def test_every_change_is_told_until_the_end(scene: Scene) -> None:
    await scene.submit("a")
    told = await Told(scene.waiting.subscribe({"a": None})).until_answered()

    token = await scene.start("a")
    await told.until_state("STARTED")
    await scene.harness.store.store_results(0, [a_success("a", token)])
    await told.until_state("SUCCESS")

    assert told.states == ["PENDING", "STARTED", "SUCCESS"]
    assert told.snapshots[-1].result == b"3"
    assert (told.subscription.is_all_done, told.subscription.done_count) == (True, 1)


async def test_task_that_changed_twice_is_told_once_as_it_is_now(scene: Scene) -> None:
    await scene.submit("a")
    told = await Told(scene.waiting.subscribe({"a": None})).until_answered()
    scene.hears = False
    token = await scene.start("a")
    (started,) = await scene.harness.store.read_tasks(0, ["a"])
    await scene.harness.store.store_results(0, [a_success("a", token)])
    (ended,) = await scene.harness.store.read_tasks(0, ["a"])

    scene.waiting.apply(TaskChanged(task_id="a", snapshot=started, is_done=False))
    scene.waiting.apply(TaskChanged(task_id="a", snapshot=ended, is_done=True))

    await told.until_state("SUCCESS")
    assert told.states == ["PENDING", "SUCCESS"]


async def test_notices_in_the_wrong_order_never_lead_back(scene: Scene) -> None:
    await scene.submit("a")
    told = await Told(scene.waiting.subscribe({"a": None})).until_answered()
    scene.hears = False
    token = await scene.start("a")
    (started,) = await scene.harness.store.read_tasks(0, ["a"])
    await scene.harness.store.store_results(0, [a_failure("a", token)])
    (failed,) = await scene.harness.store.read_tasks(0, ["a"])

    scene.waiting.apply(TaskChanged(task_id="a", snapshot=failed, is_done=True))
    scene.waiting.apply(TaskChanged(task_id="a", snapshot=started, is_done=False))

    await told.until(lambda told: told.subscription.is_all_done, "the end is told")
    assert told.states == ["PENDING", "FAILURE"]
    assert told.subscription.has_failed


async def test_change_before_the_store_was_asked_is_in_the_first_outcome(scene: Scene) -> None:
    await scene.submit("a")
    subscription = scene.waiting.subscribe({"a": None})
    await scene.run("a")

    told = await Told(subscription).until_state("SUCCESS")

    assert told.subscription.is_all_done


@pytest.mark.parametrize("carries_outcome", [True, False])
async def test_change_during_the_registration_is_told(scene: Scene, carries_outcome: bool) -> None:
    await scene.submit("a")
    scene.coordinator.let_go.clear()
    told = Told(scene.waiting.subscribe({"a": None}))
    await scene.coordinator.answered.wait()
    scene.hears = carries_outcome
    await scene.run("a")
    if not carries_outcome:
        scene.waiting.apply(TaskChanged(task_id="a"))

    scene.coordinator.let_go.set()

    await told.until_state("SUCCESS")
    assert told.subscription.is_all_done


async def test_change_heard_of_before_the_registration_was_answered_answers_it(scene: Scene) -> None:
    await scene.submit("a")
    scene.coordinator.let_go.clear()
    told = Told(scene.waiting.subscribe({"a": None}))
    await scene.coordinator.answered.wait()

    await scene.run("a")

    await told.until_state("SUCCESS")
    scene.coordinator.let_go.set()


async def test_done_only_tells_the_outcome_of_the_moment_and_then_the_end(scene: Scene) -> None:
    await scene.submit("a")
    told = await Told(scene.waiting.subscribe({"a": None}, done_only=True)).until_answered()

    await scene.run("a")

    await told.until_state("SUCCESS")
    assert told.states == ["PENDING", "SUCCESS"]


async def test_done_only_costs_no_read_for_what_is_no_end(scene: Scene) -> None:
    await scene.submit("a")
    await Told(scene.waiting.subscribe({"a": None}, done_only=True)).until_answered()
    scene.hears = False

    scene.waiting.apply(TaskChanged(task_id="a", is_done=False))
    other = await Told(scene.waiting.subscribe({"unknown": None})).until_answered()

    assert other.not_found == ["unknown"]
    assert scene.coordinator.registered == [["a"], ["unknown"]]


@pytest.mark.parametrize(("seen", "expected"), [(1, []), (2, ["PENDING"]), (7, ["PENDING"]), (None, ["PENDING"])])
async def test_only_the_very_revision_seen_last_is_held_back(
    scene: Scene, seen: int | None, expected: list[str]
) -> None:
    await scene.submit("a")

    told = await Told(scene.waiting.subscribe({"a": seen})).until_answered()

    assert told.states == expected


@pytest.mark.parametrize("seen", [None, 1, 3, 9])
async def test_end_is_told_whatever_was_seen(scene: Scene, seen: int | None) -> None:
    await scene.submit("a")
    await scene.run("a")

    told = await Told(scene.waiting.subscribe({"a": seen}, done_only=True)).until_answered()

    assert (told.states, told.revisions) == (["SUCCESS"], [3])
    assert told.subscription.is_all_done


async def test_change_after_the_revision_seen_is_told(scene: Scene) -> None:
    await scene.submit("a")
    told = await Told(scene.waiting.subscribe({"a": 1})).until_answered()

    await scene.start("a")

    await told.until_state("STARTED")
    assert told.states == ["STARTED"]


async def test_unknown_id_is_told_once_and_counts_as_done(scene: Scene) -> None:
    await scene.submit("a")
    told = await Told(scene.waiting.subscribe({"a": None, "unknown": None})).until_answered()

    assert (told.states, told.not_found) == (["PENDING"], ["unknown"])
    assert (told.subscription.done_count, told.subscription.is_all_done) == (1, False)
    await scene.fail("a")
    await told.until_state("FAILURE")
    assert (told.subscription.done_count, told.subscription.is_all_done) == (2, True)
    assert told.not_found == ["unknown"]


async def test_failure_is_remembered_and_an_unknown_id_is_none(scene: Scene) -> None:
    await scene.submit("a", "b")
    told = await Told(scene.waiting.subscribe({"a": None, "b": None, "unknown": None})).until_answered()

    await scene.run("a")
    await told.until_state("SUCCESS")
    assert not told.subscription.has_failed
    await scene.fail("b")
    await told.until_state("FAILURE")
    assert told.subscription.has_failed


async def test_task_submitted_while_its_absence_was_reported_is_found_by_who_asks_then(scene: Scene) -> None:
    scene.hears = False
    scene.coordinator.let_go.clear()
    early = Told(scene.waiting.subscribe({"a": None}))
    await scene.coordinator.answered.wait()
    await scene.submit("a")
    late = Told(scene.waiting.subscribe({"a": None}))

    scene.coordinator.let_go.set()

    await early.until_answered()
    await late.until_answered()
    assert (early.not_found, late.not_found, late.states) == (["a"], [], ["PENDING"])


async def test_task_whose_submission_was_heard_of_is_not_told_to_be_unknown(scene: Scene) -> None:
    scene.coordinator.let_go.clear()
    told = Told(scene.waiting.subscribe({"a": None}))
    await scene.coordinator.answered.wait()
    await scene.submit("a")
    await told.until_state("PENDING")

    scene.coordinator.let_go.set()

    await scene.run("a")
    await told.until_state("SUCCESS")
    assert told.not_found == []


async def test_task_is_registered_once_however_many_wait(scene: Scene) -> None:
    await scene.submit("a")
    waits = [Told(scene.waiting.subscribe({"a": None})) for _ in range(20)]
    for told in waits:
        await told.until_answered()
    more = await Told(scene.waiting.subscribe({"a": None})).until_answered()

    await scene.run("a")

    for told in (*waits, more):
        await told.until_state("SUCCESS")
    assert scene.coordinator.registered == [["a"]]


async def test_nothing_is_kept_of_tasks_that_nobody_waits_for(scene: Scene) -> None:
    await scene.submit("a", "b", "c")
    one = scene.waiting.subscribe({"a": None, "b": None, "unknown": None})
    other = scene.waiting.subscribe({"b": None, "c": None})
    await Told(one).until_answered()
    await Told(other).until_answered()
    assert scene.waiting.task_count == 3

    one.close()
    one.close()
    assert scene.waiting.task_count == 2
    other.close()
    assert scene.waiting.task_count == 0


async def test_nothing_is_kept_of_tasks_whose_end_was_told(scene: Scene) -> None:
    await scene.submit("a")
    told = await Told(scene.waiting.subscribe({"a": None})).until_answered()

    await scene.run("a", result=b"x" * 1_000)

    await told.until_state("SUCCESS")
    assert (scene.waiting.task_count, scene.waiting.kept_bytes) == (0, 0)


async def test_answer_for_a_task_that_nobody_waits_for_any_more_is_dropped(scene: Scene) -> None:
    await scene.submit("a")
    scene.coordinator.let_go.clear()
    subscription = scene.waiting.subscribe({"a": None})
    await scene.coordinator.answered.wait()

    subscription.close()
    scene.coordinator.let_go.set()
    scene.waiting.apply(TaskChanged(task_id="a"))
    await Told(scene.waiting.subscribe({"unknown": None})).until_answered()

    assert scene.waiting.task_count == 0


async def test_results_beyond_the_memory_for_them_are_read_when_they_are_taken(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting_module, "MAX_KEPT_BYTES", 25)
    names = ["a", "b", "c", "d"]
    await scene.submit(*names)
    told = await Told(scene.waiting.subscribe(dict.fromkeys(names))).until_answered()

    for name in names:
        await scene.run(name, result=name.encode() * 10)
    assert scene.waiting.kept_bytes <= 25

    await told.until(lambda told: told.subscription.is_all_done, "all ends are told")
    assert {s.task_id: s.result for s in told.snapshots if s.is_done} == {name: name.encode() * 10 for name in names}
    assert scene.waiting.kept_bytes == 0


async def test_outcomes_already_taken_are_told_though_the_next_cannot_be_read(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting_module, "MAX_KEPT_BYTES", 15)
    await scene.submit("a", "b")
    told = await Told(scene.waiting.subscribe({"a": None, "b": None}, done_only=True)).until_answered()
    await scene.run("a", result=b"a" * 10)
    await scene.run("b", result=b"b" * 10)
    await eventually_async(lambda: scene.waiting.kept_bytes == 10, "one result is kept")

    scene.coordinator.is_away = True
    news = await told.subscription.take()
    with pytest.raises(StoreUnavailableError):
        await told.subscription.take()
    scene.coordinator.is_away = False
    more = await told.subscription.take()

    assert [snapshot.result for snapshot in news.snapshots] == [b"a" * 10]
    assert [snapshot.result for snapshot in more.snapshots] == [b"b" * 10]
    assert told.subscription.is_all_done


async def test_news_are_cut_to_what_fits_into_a_message(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting_module, "FILL_MESSAGE_BYTES", 1_000)
    names = ["a", "b", "c", "d", "e"]
    await scene.submit(*names)
    for name, size in zip(names, (400, 400, 400, 5_000, 1), strict=True):
        await scene.run(name, result=b"x" * size)
    subscription = scene.waiting.subscribe(dict.fromkeys(names))
    await eventually_async(lambda: scene.waiting.kept_bytes == 6_201, "all results were read")

    portions = [await subscription.take() for _ in range(5)]

    sizes = [[len(snapshot.result or b"") for snapshot in news.snapshots] for news in portions]
    assert sizes == [[400, 400], [5_000], [400, 1], [], []]
    assert {snapshot.task_id for news in portions for snapshot in news.snapshots} == set(names)


async def test_epoch_break_has_everything_read_anew(scene: Scene) -> None:
    await scene.submit("a", "b")
    told = await Told(scene.waiting.subscribe({"a": None, "b": None})).until_answered()
    scene.hears = False
    await scene.run("a")

    scene.waiting.apply(EpochBreak())

    await told.until_state("SUCCESS")
    assert told.states == ["PENDING", "PENDING", "SUCCESS"]


async def test_who_comes_after_an_epoch_break_is_not_told_what_was_before_it(scene: Scene) -> None:
    await scene.submit("a")
    await Told(scene.waiting.subscribe({"a": None})).until_answered()
    scene.hears = False
    await scene.run("a")

    scene.waiting.apply(EpochBreak())
    told = await Told(scene.waiting.subscribe({"a": None})).until_answered()

    assert told.states == ["SUCCESS"]


async def test_lost_notice_costs_a_while_and_no_more(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting_module, "READ_AGAIN_S", 0.02)
    monkeypatch.setattr(waiting_module, "READ_AGAIN_TICK_S", 0.02)
    async with asyncio.TaskGroup() as tasks:
        waiting = Waiting(scene.coordinator)
        running = tasks.create_task(waiting.run())
        await scene.submit("a")
        told = await Told(waiting.subscribe({"a": None})).until_answered()

        await scene.run("a")

        await told.until_state("SUCCESS")
        assert waiting.read_again_count > 0
        running.cancel()


async def test_store_that_was_away_is_asked_again(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting_module, "STORE_BACKOFF_S", 0.01)
    await scene.submit("a")
    scene.coordinator.is_away = True
    subscription = scene.waiting.subscribe({"a": None})
    await eventually_async(lambda: len(scene.coordinator.registered) > 3, "the store is asked again")
    assert not subscription.is_answered

    scene.coordinator.is_away = False

    told = await Told(subscription).until_answered()
    assert told.states == ["PENDING"]


async def test_bug_in_reading_is_survived(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting_module, "STORE_BACKOFF_S", 0.01)
    await scene.submit("a")
    real = scene.coordinator.register_waits
    failed = asyncio.Event()

    def broken(task_ids: Sequence[str]) -> Awaitable[list[TaskSnapshot | TailraceError | None]]:
        failed.set()
        scene.coordinator.register_waits = real  # type: ignore[method-assign]
        raise KeyError("a bug")

    scene.coordinator.register_waits = broken  # type: ignore[method-assign,assignment]
    told = await Told(scene.waiting.subscribe({"a": None})).until_answered()

    assert failed.is_set()
    assert told.states == ["PENDING"]


async def test_thousands_of_targets_are_answered(scene: Scene) -> None:
    names = [f"task-{number}" for number in range(2_500)]
    for begin in range(0, len(names), 250):
        await scene.submit(*names[begin : begin + 250])

    told = await Told(scene.waiting.subscribe(dict.fromkeys(names))).until_answered()

    assert {snapshot.task_id for snapshot in told.snapshots} == set(names)
    assert {snapshot.state for snapshot in told.snapshots} == {TaskState.PENDING}

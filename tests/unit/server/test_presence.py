"""Who is connected to a process, as the others are told; and the workers that an operator drains."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tailrace.server.coordinator.coordinator import Coordinator
from tailrace.server.coordinator.operators import Operators
from tailrace.server.dispatch import presence as presence_module
from tailrace.server.dispatch.holders import Holders
from tailrace.server.dispatch.presence import Presence
from tailrace.server.dispatch.session import WorkerSession
from tailrace.server.domain.errors import StoreUnavailableError
from tailrace.server.domain.task import Place
from tailrace.server.store.changes import DrainRequested, EpochBreak
from tailrace.server.store.operators import WorkerPresence
from tests.store.builders import a_lease_request, a_submission
from tests.store.sqlite_harness import SqliteHarness, open_sqlite
from tests.unit.server.deliveries import Wakes, a_delivery, unheard
from tests.wait import eventually_answers, eventually_async


class WatchedOperators(Operators):
    """The real ones; announcements are kept, and can fail."""

    def __init__(self, harness: SqliteHarness) -> None:
        super().__init__(harness.store, 1)
        self.announced: list[list[str]] = []
        self.is_away = False

    async def announce_workers(self, workers: Sequence[WorkerPresence]) -> None:
        self.announced.append([worker.worker_id for worker in workers])
        if self.is_away:
            raise StoreUnavailableError("away")
        await super().announce_workers(workers)


class Stage:
    """A presence on a store of its own, with a clock that a test moves."""

    def __init__(self, harness: SqliteHarness) -> None:
        self.store = harness.store
        self.now_ms = 1_000
        self.operators = WatchedOperators(harness)
        self.presence = Presence(self.operators, Coordinator(harness.store), clock_ms=lambda: self.now_ms)

    def connect(self, worker_id: str = "one", session_id: str = "s") -> WorkerSession:
        session = WorkerSession(
            session_id=session_id,
            worker_id=worker_id,
            queues=("default",),
            holders=Holders(),
            on_assigned=Wakes(),
            on_news=unheard,
        )
        session.set_max_outstanding(10)
        self.presence.enter(session, sdk="test/1.0")
        return session

    async def listed(self) -> list[str]:
        return [worker.worker_id for worker in await self.store.list_workers()]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.presence.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    monkeypatch.setattr(presence_module, "GATHER_S", 0.01)
    async with open_sqlite(tmp_path) as harness:
        yield Stage(harness)


def draining(stage: Stage) -> dict[str, bool]:
    return {worker.session_id: worker.is_draining for worker in stage.presence.workers()}


async def test_presence_is_what_the_session_holds_and_when_it_was_heard_from(stage: Stage) -> None:
    session = stage.connect()
    session.assign([a_delivery()])
    stage.now_ms = 5_000
    stage.presence.heard_from(session)

    assert stage.presence.workers() == [
        WorkerPresence(
            worker_id="one",
            session_id="s",
            queues=("default",),
            sdk="test/1.0",
            outstanding_count=1,
            max_outstanding_tasks=10,
            is_draining=False,
            connect_ms=1_000,
            last_seen_ms=5_000,
        )
    ]


async def test_coming_and_going_is_told_at_once(stage: Stage) -> None:
    async with stage.running():
        one = stage.connect("one")
        await eventually_answers(stage.listed, ["one"])
        stage.connect("two")
        await eventually_answers(stage.listed, ["one", "two"])

        stage.presence.leave(one)
        stage.presence.leave(one)
        await eventually_answers(stage.listed, ["two"])


async def test_others_are_told_anew_though_nothing_is_new(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence_module, "ANNOUNCE_S", 0.01)
    stage.connect()

    async with stage.running():
        await eventually_async(lambda: stage.operators.announced[4:], "told five times")


async def test_process_without_workers_says_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence_module, "ANNOUNCE_S", 0.01)
    async with stage.running():
        stage.presence.leave(stage.connect())
        stage.presence.apply(DrainRequested("nobody"))
        stage.connect("one")
        await eventually_answers(stage.listed, ["one"])

    assert [] not in stage.operators.announced[:-1]


async def test_process_that_ends_takes_its_workers_off_the_list(stage: Stage) -> None:
    async with stage.running():
        stage.connect()
        await eventually_answers(stage.listed, ["one"])

    assert await stage.listed() == []


async def test_store_that_is_away_is_told_when_it_is_back(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence_module, "ANNOUNCE_S", 0.01)
    stage.operators.is_away = True

    async with stage.running():
        session = stage.connect()
        await eventually_async(lambda: stage.operators.announced, "it was tried")
        stage.operators.is_away = False
        await eventually_answers(stage.listed, ["one"])
        stage.operators.is_away = True
        stage.presence.leave(session)
        await eventually_async(lambda: stage.operators.announced[-1] == [], "it was tried")
        stage.operators.is_away = False
        await eventually_answers(stage.listed, list[str]())


async def test_end_while_the_store_is_away_is_no_error(stage: Stage) -> None:
    stage.operators.is_away = True

    async with stage.running():
        stage.connect()
        await eventually_async(lambda: stage.operators.announced, "it was tried")

    assert stage.operators.announced == [["one"], []]


async def test_drained_worker_takes_nothing_on_any_of_its_sessions(stage: Stage) -> None:
    one, again, other = stage.connect(), stage.connect(session_id="s2"), stage.connect("two", "s3")

    stage.presence.apply(DrainRequested("one"))

    assert [session.room for session in (one, again, other)] == [0, 0, 10]
    assert draining(stage) == {"s": True, "s2": True, "s3": False}
    assert (stage.presence.is_drained("one"), stage.presence.is_drained("two")) == (True, False)


async def test_drained_worker_takes_nothing_when_it_comes_back(stage: Stage) -> None:
    stage.presence.apply(DrainRequested("one"))

    session = stage.connect()

    assert (session.room, draining(stage)) == (0, {"s": True})


async def test_worker_that_drains_itself_is_listed_so_and_may_come_back(stage: Stage) -> None:
    session = stage.connect()
    stage.presence.heard_from(session, is_draining=True)
    assert draining(stage) == {"s": True}

    stage.presence.leave(session)
    stage.presence.heard_from(session, is_draining=True)

    assert stage.connect().room == 10
    assert draining(stage) == {"s": False}


async def test_what_was_on_its_way_to_a_drained_worker_is_given_back(stage: Stage) -> None:
    await stage.store.submit_tasks(0, [a_submission()])
    leased = await stage.store.lease_tasks(0, a_lease_request("default"))
    session = stage.connect()
    session.assign(leased.deliveries)

    async def place() -> Place:
        (snapshot,) = await stage.store.read_tasks(0, ["task-1"])
        assert snapshot is not None
        return snapshot.place

    assert await place() == Place.LEASE
    async with stage.running():
        stage.presence.apply(DrainRequested("one"))
        await eventually_answers(place, Place.READY)

    assert session.holds_nothing


async def test_only_the_latest_drained_workers_are_remembered(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence_module, "MAX_DRAINED", 3)
    for name in ("one", "two", "three", "one", "four"):
        stage.presence.apply(DrainRequested(name))

    remembered = {name: stage.presence.is_drained(name) for name in ("one", "two", "three", "four")}

    assert remembered == {"one": True, "two": False, "three": True, "four": True}


async def test_other_changes_are_none_of_its_business(stage: Stage) -> None:
    session = stage.connect()

    stage.presence.apply(EpochBreak())

    assert (session.room, draining(stage)) == (10, {"s": False})

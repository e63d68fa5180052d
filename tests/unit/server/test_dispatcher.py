"""Handing out: evenly, to nobody more than it has room for, and nothing gets lost when the taker has gone."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.server.coordinator.coordinator import Coordinator
from tailrace.server.dispatch import dispatcher as dispatcher_module
from tailrace.server.dispatch.consumer import split
from tailrace.server.dispatch.dispatcher import Dispatcher
from tailrace.server.store.changes import EpochBreak, LeaseNews, QueueReady, TaskChanged
from tailrace.server.store.sqlite.store import SqliteStore
from tailrace.server.store.values import Delivery, Leased, LeaseRequest, Revocation
from tests.store.builders import a_submission
from tests.unit.server.deliveries import a_delivery
from tests.wait import eventually_async


class Taker:
    """A consumer that has room for some tasks and remembers what it got."""

    def __init__(self, room: int, *queues: str, max_bytes: int | None = None, start_immediately: bool = False) -> None:
        self.queues = queues or ("default",)
        self.start_immediately = start_immediately
        self.worker_id = "taker"
        self.got: list[Delivery] = []
        self.max_bytes = max_bytes
        self._room = room

    @property
    def room(self) -> int:
        return self._room - len(self.got)

    @property
    def room_bytes(self) -> int | None:
        if self.max_bytes is None:
            return None
        return max(0, self.max_bytes - sum(delivery.input_bytes for delivery in self.got))

    @property
    def holds_nothing(self) -> bool:
        return not self.got

    @property
    def task_ids(self) -> list[str]:
        return [delivery.task_id for delivery in self.got]

    def assign(self, deliveries: Sequence[Delivery]) -> None:
        self.got.extend(deliveries)

    def hear(self, news: LeaseNews) -> bool:
        held = [delivery for delivery in self.got if delivery.lease_token == news.lease_token]
        for delivery in held:
            self.got.remove(delivery)
        return bool(held)

    def make_room(self, more: int) -> None:
        self._room += more


def shares_of(rooms: Sequence[int], count: int) -> list[int]:
    takers = [Taker(room) for room in rooms]
    shares = dict.fromkeys(takers, 0)
    for taker, share in split(takers, count):
        assert isinstance(taker, Taker)
        shares[taker] += share
    return list(shares.values())


@pytest.mark.parametrize(
    ("rooms", "count", "expected"),
    [
        ([10, 10], 4, [2, 2]),
        ([10, 10], 5, [2, 3]),
        ([1, 10], 6, [1, 5]),
        ([10, 1], 6, [5, 1]),
        ([0, 10], 6, [0, 6]),
        ([2, 3, 100], 9, [2, 3, 4]),
        ([10, 10, 10], 1, [0, 0, 1]),
        ([10, 9, 8], 1, [1, 0, 0]),
        ([3, 3], 10, [3, 3]),
        ([0, 0], 1, [0, 0]),
        ([], 5, []),
    ],
)
def test_tasks_are_spread_evenly_over_who_has_room(rooms: list[int], count: int, expected: list[int]) -> None:
    assert shares_of(rooms, count) == expected


@given(st.lists(st.integers(0, 20), max_size=8), st.integers(0, 60))
def test_nobody_gets_more_than_its_room_and_nothing_stays_while_there_is_some(rooms: list[int], count: int) -> None:
    shares = shares_of(rooms, count)

    assert all(share <= room for share, room in zip(shares, rooms, strict=True))
    assert sum(shares) == min(count, sum(rooms))


@given(st.lists(st.integers(0, 20), min_size=2, max_size=8), st.integers(0, 60))
def test_only_who_is_full_gets_less_than_another(rooms: list[int], count: int) -> None:
    shares = shares_of(rooms, count)

    most = max(shares)
    assert all(share >= most - 1 or share == room for share, room in zip(shares, rooms, strict=True))


def test_tasks_that_come_one_by_one_are_spread_as_evenly() -> None:
    takers = [Taker(8), Taker(8), Taker(8)]

    for number in range(12):
        ((taker, share),) = split(takers, 1)
        assert share == 1
        taker.assign([a_delivery(number)])

    assert [len(taker.got) for taker in takers] == [4, 4, 4]


@pytest.fixture
async def store(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path_factory.mktemp("dispatcher") / "tailrace.db")
    await store.open()
    yield store
    await store.close()


@asynccontextmanager
async def running_dispatcher(store: SqliteStore, *, hears: bool = True) -> AsyncIterator[Dispatcher]:
    """Run a dispatcher; a deaf one is told nothing of what changes."""
    dispatcher = Dispatcher(Coordinator(store))

    async def route() -> None:
        async for change in store.changes():
            if hears:
                dispatcher.apply(change)

    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(dispatcher.run()), tasks.create_task(route())]
        await asyncio.wait(running, timeout=0)
        yield dispatcher
        for task in running:
            task.cancel()


@pytest.fixture
async def dispatcher(store: SqliteStore) -> AsyncIterator[Dispatcher]:
    async with running_dispatcher(store) as dispatcher:
        yield dispatcher


async def submit(store: SqliteStore, *task_ids: str, queue: str = "default") -> None:
    await store.submit_tasks(0, [a_submission(task_id, queue=queue) for task_id in task_ids])


async def got(taker: Taker, count: int) -> list[str]:
    await eventually_async(lambda: len(taker.got) >= count, f"{count} tasks for the taker")
    return taker.task_ids


async def test_tasks_that_wait_go_to_whoever_joins(store: SqliteStore, dispatcher: Dispatcher) -> None:
    await submit(store, "a", "b", "c")
    taker = Taker(2)

    dispatcher.join(taker)

    assert await got(taker, 2) == ["a", "b"]


async def test_task_that_comes_later_is_pushed(
    store: SqliteStore, dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher_module, "LOOK_AGAIN_S", 600.0)
    taker = Taker(2)
    dispatcher.join(taker)

    await submit(store, "a")

    assert await got(taker, 1) == ["a"]


async def test_room_that_is_made_is_filled(
    store: SqliteStore, dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher_module, "LOOK_AGAIN_S", 600.0)
    await submit(store, "a", "b")
    taker = Taker(1)
    dispatcher.join(taker)
    assert await got(taker, 1) == ["a"]

    taker.make_room(1)
    dispatcher.made_room(taker)

    assert await got(taker, 2) == ["a", "b"]


async def test_lost_report_of_a_ready_queue_costs_a_moment(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher_module, "LOOK_AGAIN_S", 0.05)
    async with running_dispatcher(store, hears=False) as deaf:
        taker = Taker(1)
        deaf.join(taker)

        await submit(store, "a")

        assert await got(taker, 1) == ["a"]


@pytest.mark.parametrize("change", [QueueReady("default"), EpochBreak()])
async def test_report_makes_the_pool_look_again(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, change: QueueReady | EpochBreak
) -> None:
    monkeypatch.setattr(dispatcher_module, "LOOK_AGAIN_S", 600.0)
    async with running_dispatcher(store, hears=False) as deaf:
        taker = Taker(1)
        deaf.join(taker)
        await submit(store, "a")

        deaf.apply(QueueReady("another"))
        deaf.apply(change)

        assert await got(taker, 1) == ["a"]


async def test_queues_are_drawn_from_in_the_takers_order(store: SqliteStore, dispatcher: Dispatcher) -> None:
    await submit(store, "low", queue="low")
    await submit(store, "high", queue="high")
    taker = Taker(2, "high", "low")

    dispatcher.join(taker)

    assert await got(taker, 2) == ["high", "low"]


async def test_who_has_left_gets_nothing_and_another_gets_it(store: SqliteStore, dispatcher: Dispatcher) -> None:
    gone, staying = Taker(5), Taker(5)
    dispatcher.join(gone)
    dispatcher.join(staying)

    dispatcher.leave(gone)
    dispatcher.leave(gone)
    await submit(store, "a", "b")

    assert await got(staying, 2) == ["a", "b"]
    assert gone.got == []


class SlowLeases(SqliteStore):
    """A store whose lease call takes as long as the test wants."""

    may_answer: asyncio.Event
    was_asked: asyncio.Event

    async def lease_tasks(self, partition: int, request: LeaseRequest) -> Leased:
        leased = await super().lease_tasks(partition, request)
        if leased.deliveries:
            self.was_asked.set()
            await self.may_answer.wait()
        return leased


async def test_what_was_drawn_for_a_taker_that_left_meanwhile_is_given_back(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    slow = SlowLeases(tmp_path_factory.mktemp("slow") / "tailrace.db")
    slow.may_answer, slow.was_asked = asyncio.Event(), asyncio.Event()
    await slow.open()
    await submit(slow, "a")
    gone, next_one = Taker(1), Taker(1)

    async with running_dispatcher(slow) as dispatcher:
        dispatcher.join(gone)
        await slow.was_asked.wait()
        dispatcher.leave(gone)
        slow.may_answer.set()
        dispatcher.join(next_one)

        assert await got(next_one, 1) == ["a"]
    assert gone.got == []
    await slow.close()


async def test_news_of_a_task_look_at_no_pool_so_that_they_cost_the_same_however_many_there_are(
    dispatcher: Dispatcher,
) -> None:
    looks: list[str] = []

    class Pools(dict[Any, Any]):
        def values(self) -> Any:
            looks.append("at all of them")
            return super().values()

    dispatcher._pools = Pools()
    dispatcher.join(Taker(1))

    dispatcher.apply(TaskChanged(task_id="task-1"))
    assert looks == []
    dispatcher.apply(QueueReady("default"))
    assert looks == ["at all of them"]


async def test_news_of_a_lost_lease_reach_who_holds_it_and_make_room_for_another_task(store: SqliteStore) -> None:
    async with running_dispatcher(store) as dispatcher:
        holder, bystander = Taker(1), Taker(1, "elsewhere")
        dispatcher.join(bystander)
        dispatcher.join(holder)
        await submit(store, "task-1", "task-2")
        await eventually_async(lambda: holder.task_ids == ["task-1"], "the first task is taken")

        await store.revoke_tasks(0, [Revocation(task_id="task-1", failure=b"why")])

        await eventually_async(lambda: holder.task_ids == ["task-2"], "the room is used again")
        assert bystander.got == []

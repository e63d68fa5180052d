"""Handing out: evenly, to nobody more than it has room for, and nothing gets lost when the taker has gone."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.server.coordinator.coordinator import Coordinator
from tailrace.server.dispatch import dispatcher as dispatcher_module
from tailrace.server.dispatch.consumer import split
from tailrace.server.dispatch.dispatcher import Dispatcher
from tailrace.server.domain.ids import partition_of
from tailrace.server.domain.task import Place
from tailrace.server.store.changes import EpochBreak, LeaseNews, QueueReady, TaskChanged
from tailrace.server.store.sqlite.store import SqliteStore
from tailrace.server.store.values import Delivery, Leased, LeaseRequest, Revocation
from tests.store.builders import a_submission
from tests.unit.server.deliveries import a_delivery, a_session, key_of
from tests.wait import eventually_answers, eventually_async


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


async def submit_sized(store: SqliteStore, **sizes: int) -> None:
    submissions = [a_submission(task_id, payload=bytes(size)) for task_id, size in sizes.items()]
    for submission in submissions:
        await store.submit_tasks(partition_of(submission.task_id, store.partitions), [submission])


async def place_of(store: SqliteStore, task_id: str) -> Place:
    (snapshot,) = await store.read_tasks(0, [task_id])
    assert snapshot is not None
    return snapshot.place


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


class CountedLeases(SqliteStore):
    """A store that remembers what it was asked for."""

    requests: list[LeaseRequest]
    answers: list[Leased]

    async def lease_tasks(self, partition: int, request: LeaseRequest) -> Leased:
        self.requests.append(request)
        leased = await super().lease_tasks(partition, request)
        self.answers.append(leased)
        return leased


def looks_with(store: CountedLeases, *, max_bytes: int) -> int:
    return sum(request.max_bytes == max_bytes for request in store.requests)


async def looks_again(dispatcher: Dispatcher, taker: Taker, looks: Callable[[], int]) -> None:
    """Have a taker drawn for once more, and see the draw begin: the one before it is then over."""
    before = looks()
    dispatcher.made_room(taker)
    await eventually_async(lambda: looks() > before, "another draw")


@asynccontextmanager
async def counted_leases(directory: Path, *, partitions: int = 1) -> AsyncIterator[CountedLeases]:
    store = CountedLeases(directory / "tailrace.db", partitions=partitions)
    store.requests, store.answers = [], []
    await store.open()
    yield store
    await store.close()


async def test_taker_with_a_limit_in_bytes_gets_no_more_than_fits(store: SqliteStore, dispatcher: Dispatcher) -> None:
    await submit_sized(store, a=400, b=400, c=400)
    taker = Taker(10, max_bytes=1_000)

    dispatcher.join(taker)

    assert await got(taker, 2) == ["a", "b"]
    taker.got.pop()
    dispatcher.made_room(taker)
    assert await got(taker, 2) == ["a", "c"]


async def test_one_task_of_any_size_goes_to_who_holds_nothing(store: SqliteStore, dispatcher: Dispatcher) -> None:
    await submit_sized(store, a=5_000, b=5_000)
    taker = Taker(10, max_bytes=1_000)

    dispatcher.join(taker)

    assert await got(taker, 1) == ["a"]
    taker.got.clear()
    dispatcher.made_room(taker)
    assert await got(taker, 1) == ["b"]


async def test_task_that_is_too_large_is_not_asked_for_over_and_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher_module, "LOOK_AGAIN_S", 600.0)
    async with counted_leases(tmp_path) as store, running_dispatcher(store) as dispatcher:
        await submit_sized(store, a=600, b=600)
        limited, other = Taker(10, max_bytes=1_000), Taker(0)
        dispatcher.join(limited)
        dispatcher.join(other)
        assert await got(limited, 1) == ["a"]
        await eventually_async(lambda: len(store.requests) == 2, "the second task was found to be too large")

        for number in range(20):
            await submit_sized(store, **{f"more-{number}": 1})
        other.make_room(1)
        dispatcher.made_room(other)

        # The other one is served from the same news, and the tasks came in the meantime.
        assert await got(other, 1) == ["b"]
        # Twice where the news of the first tasks were late; not once for each of the others.
        assert len([request for request in store.requests if request.max_bytes == 400]) <= 2
        assert limited.task_ids == ["a"]


async def test_large_task_is_waited_for_though_other_partitions_have_small_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher_module, "LOOK_AGAIN_S", 600.0)
    names = [f"small-{number}" for number in range(60)]
    small = [name for name in names if partition_of(name, 8) != partition_of("large", 8)]
    async with counted_leases(tmp_path, partitions=8) as store, running_dispatcher(store) as dispatcher:
        taker = Taker(3, max_bytes=1_000)
        await submit_sized(store, **{small[0]: 100})
        dispatcher.join(taker)
        await got(taker, 1)
        await submit_sized(store, large=950)
        looks = partial(looks_with, store, max_bytes=900)
        while not any(leased.is_blocked for leased in store.answers):
            await looks_again(dispatcher, taker, looks)
        await submit_sized(store, **dict.fromkeys(small[1:], 100))

        for _ in range(3):
            await looks_again(dispatcher, taker, looks)
        assert taker.task_ids == small[:1]
        taker.got.clear()
        dispatcher.made_room(taker)

        assert (await got(taker, 1))[0] == "large"


async def test_taker_that_gets_a_limit_draws_alone_from_then_on(tmp_path: Path) -> None:
    async with counted_leases(tmp_path) as store, running_dispatcher(store) as dispatcher:
        changing, other = Taker(10), Taker(1)
        dispatcher.join(changing)
        dispatcher.join(other)
        await submit_sized(store, a=600)
        await eventually_async(lambda: bool(changing.got), "without a limit it draws with the other")

        changing.max_bytes = 1_000
        dispatcher.made_room(changing)
        other.make_room(-1)
        await submit_sized(store, b=600)

        await eventually_async(lambda: store.requests[-1].max_bytes == 400, "with a limit it draws alone")
        assert changing.task_ids == ["a"]
        changing.max_bytes = None
        dispatcher.made_room(changing)
        assert await got(changing, 2) == ["a", "b"]


async def test_worker_is_named_to_the_store_where_tasks_start_as_they_are_handed_out(tmp_path: Path) -> None:
    async with counted_leases(tmp_path) as store, running_dispatcher(store) as dispatcher:
        await submit(store, "a")
        starter = Taker(1, start_immediately=True)
        dispatcher.join(starter)
        await got(starter, 1)
        await submit(store, "b")
        dispatcher.join(Taker(1))
        await eventually_async(lambda: not store.requests[-1].start_immediately, "the other one draws too")

        assert {(request.start_immediately, request.worker_id) for request in store.requests} == {
            (True, "taker"),
            (False, ""),
        }


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


async def test_what_was_drawn_before_the_limit_sank_is_given_back(tmp_path: Path) -> None:
    slow = SlowLeases(tmp_path / "tailrace.db")
    slow.may_answer, slow.was_asked = asyncio.Event(), asyncio.Event()
    await slow.open()
    await submit_sized(slow, a=600, b=300, c=300)
    taker = Taker(10, max_bytes=2_000)

    async with running_dispatcher(slow) as dispatcher:
        dispatcher.join(taker)
        await slow.was_asked.wait()
        taker.max_bytes = 1_000
        slow.may_answer.set()

        assert await got(taker, 2) == ["a", "b"]
        await eventually_answers(lambda: place_of(slow, "c"), Place.READY)
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
        told: list[LeaseNews] = []
        holder = a_session(max_outstanding=1, holders=dispatcher.holders, told=told)
        bystander = Taker(1, "elsewhere")
        dispatcher.join(bystander)
        dispatcher.join(holder)
        await submit(store, "task-1", "task-2")
        await eventually_async(lambda: holder.room == 0, "the first task is taken")
        (first,) = holder.take_to_write(max_items=10, max_bytes=1_000)
        holder.mention(key_of(first))

        await store.revoke_tasks(0, [Revocation(task_id="task-1", failure=b"why")])

        await eventually_async(lambda: holder.room == 0 and bool(told), "the room is used again")
        (second,) = holder.take_to_write(max_items=10, max_bytes=1_000)
        assert (first.task_id, second.task_id) == ("task-1", "task-2")
        assert told == [LeaseNews(task_id="task-1", lease_token=first.lease_token, revocation=None)]
        assert bystander.got == []


async def test_news_of_a_lease_look_at_no_pool_but_that_of_its_holder(dispatcher: Dispatcher) -> None:
    looks: list[str] = []

    class Pools(dict[Any, Any]):
        def values(self) -> Any:
            looks.append("at all of them")
            return super().values()

    dispatcher._pools = Pools()
    dispatcher.join(Taker(1))

    dispatcher.apply(LeaseNews(task_id="task-1", lease_token=b"token", revocation=None))

    assert looks == []

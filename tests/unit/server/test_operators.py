"""What is gathered over partitions: totals of queues, pages of tasks, and the latest of a worker's sessions."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.server.coordinator import in_time as in_time_module
from tailrace.server.coordinator import operators as operators_module
from tailrace.server.coordinator import page_of_tasks
from tailrace.server.coordinator.operators import Operators
from tailrace.server.coordinator.page_of_tasks import TaskPager
from tailrace.server.coordinator.queue_stats import just_before, merge
from tailrace.server.domain import limits
from tailrace.server.domain.detail import TaskDetail
from tailrace.server.domain.errors import PageTokenInvalidError, StoreUnavailableError
from tailrace.server.domain.ids import partition_of
from tailrace.server.store.operators import Listed, OperatorStore, QueueStats, WorkerPresence
from tests.store.builders import a_lease_request, a_submission
from tests.store.sqlite_harness import SqliteHarness, open_sqlite

PARTITIONS = 4
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
ONE = WorkerPresence(
    worker_id="one",
    session_id="first",
    queues=("default",),
    sdk="",
    outstanding_count=0,
    max_outstanding_tasks=1,
    is_draining=False,
    connect_ms=1_000,
    last_seen_ms=1_000,
)


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[SqliteHarness]:
    async with open_sqlite(tmp_path, partitions=PARTITIONS) as harness:
        yield harness


async def submit(harness: SqliteHarness, *task_ids: str, **fields: Any) -> None:
    for task_id in task_ids:
        partition = partition_of(task_id, PARTITIONS)
        await harness.store.submit_tasks(partition, [a_submission(task_id, **fields)])


def stats(queue: str, *, ready: int = 0, age_ms: int | None = None, is_paused: bool = False) -> QueueStats:
    return QueueStats(
        queue=queue,
        is_paused=is_paused,
        ready_count=ready,
        schedule_count=1,
        lease_count=2,
        oldest_age_ms=age_ms,
    )


def test_counts_add_up_and_the_oldest_of_all_counts() -> None:
    one = [stats("a", ready=3, age_ms=10), stats("b")]
    other = [stats("a", ready=4, age_ms=20), stats("c", age_ms=5)]

    totals = {each.queue: each for each in merge([one, other], partitions=2)}

    assert list(totals) == ["a", "b", "c"]
    assert (totals["a"].ready_count, totals["a"].schedule_count, totals["a"].lease_count) == (7, 2, 4)
    assert [each.oldest_age_ms for each in totals.values()] == [20, None, 5]


@pytest.mark.parametrize(
    ("shares", "expected"),
    [([True, True], True), ([True, False], False), ([False, False], False), ([True], False), ([], None)],
)
def test_queue_is_paused_when_no_partition_delivers_from_it(shares: list[bool], expected: bool | None) -> None:
    answers = [[stats("a", is_paused=is_paused)] for is_paused in shares]

    assert [each.is_paused for each in merge(answers, partitions=2)] == ([] if expected is None else [expected])


@given(queue=NAMES, other=NAMES)
def test_no_name_lies_between_a_queue_and_what_is_just_before_it(queue: str, other: str) -> None:
    assert just_before(queue) < queue
    assert not just_before(queue) < other < queue


async def test_worker_with_several_sessions_is_its_latest(harness: SqliteHarness) -> None:
    later = replace(ONE, session_id="a later one", connect_ms=2_000)
    await harness.store.announce_workers([ONE, later, replace(ONE, worker_id="two")])

    workers = await Operators(harness.store, PARTITIONS).list_workers("", 10)

    assert [(worker.worker_id, worker.session_id) for worker in workers] == [("one", "a later one"), ("two", "first")]


class WatchedStore:
    """The real one; its listings can be counted, and something can happen before one of them."""

    def __init__(self, harness: SqliteHarness) -> None:
        self.limits: list[int] = []
        self.happens_before: dict[int, Callable[[], Awaitable[object]]] = {}
        self._store = harness.store

    async def list_tasks(self, partition: int, cursor: str, limit: int, *, with_payloads: bool) -> Listed:
        self.limits.append(limit)
        if (happening := self.happens_before.get(len(self.limits))) is not None:
            await happening()
        return await self._store.list_tasks(partition, cursor, limit, with_payloads=with_payloads)


async def pages(
    store: WatchedStore, page_size: int, *, passes: Callable[[TaskDetail], bool] | None = None
) -> list[list[str]]:
    """Read all pages of a walk, to the end."""
    told, place = [], ""
    while True:
        pager = TaskPager(cast("OperatorStore", store), PARTITIONS, passes=passes, with_payloads=True)
        page = await pager.page(place, page_size)
        told.append([detail.snapshot.task_id for detail in page.details])
        place = page.next_place
        if not place:
            return told


def together(count: int) -> list[str]:
    """Name tasks that live in one partition, in the order in which they are listed."""
    return [f"batch::{number:03}" for number in range(count)]


async def test_every_partition_is_walked(harness: SqliteHarness) -> None:
    ids = [f"task-{number}" for number in range(40)]
    await submit(harness, *ids)

    for page_size in (1, 7, 40, 1_000):
        told = await pages(WatchedStore(harness), page_size)
        assert sorted(task_id for page in told for task_id in page) == sorted(ids)
        assert max(map(len, told)) <= page_size


async def test_no_more_is_read_than_fits_where_everything_passes(harness: SqliteHarness) -> None:
    await submit(harness, *together(30))
    store = WatchedStore(harness)

    told = await pages(store, 10)

    assert [page for page in told if page] == [together(30)[begin : begin + 10] for begin in (0, 10, 20)]
    assert max(store.limits) == 10


async def test_page_that_is_full_in_the_middle_of_a_step_goes_on_right_there(harness: SqliteHarness) -> None:
    ids = together(30)
    await submit(harness, *ids)

    told = await pages(WatchedStore(harness), 4, passes=lambda detail: int(detail.snapshot.task_id[-3:]) % 3 == 0)

    assert [page for page in told if page] == [ids[0:12:3], ids[12:24:3], ids[24:30:3]]


async def test_what_stays_is_not_passed_over_when_others_go_between_two_steps(harness: SqliteHarness) -> None:
    ids = together(30)
    await submit(harness, *ids)
    partition = partition_of(ids[0], PARTITIONS)
    store = WatchedStore(harness)

    async def lease_five() -> None:
        request = a_lease_request(count=5)
        assert len((await harness.store.lease_tasks(partition, request)).deliveries) == 5

    # The second listing of the partition is the one that is made again with as many as fit.
    store.happens_before[partition + 2] = lease_five
    told = await pages(store, 4, passes=lambda _: True)

    assert set(ids[5:]) <= {task_id for page in told for task_id in page}


async def test_page_ends_before_it_is_too_large_and_a_large_task_has_one_of_its_own(
    harness: SqliteHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FILL_MESSAGE_BYTES", 3 * page_of_tasks.FRAME_BYTES + 1_000)
    ids = together(7)
    await submit(harness, *ids[:3])
    await submit(harness, ids[3], payload=b"x" * 100_000)
    await submit(harness, *ids[4:])

    for passes in (None, lambda _: True):
        told = await pages(WatchedStore(harness), 100, passes=passes)
        assert [page for page in told if page] == [ids[:3], ids[3:4], ids[4:]]


async def test_page_ends_when_enough_was_looked_at(harness: SqliteHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_LOOKED_AT", 10)
    monkeypatch.setattr(page_of_tasks, "STEP", 4)
    await submit(harness, *together(30))
    store = WatchedStore(harness)

    told = await pages(store, 100, passes=lambda _: False)

    assert [page for page in told if page] == []
    assert len(told) >= 3
    assert max(store.limits) == 4


class OverStore:
    """Walks past records that are over and not removed yet: steps without tasks."""

    def __init__(self) -> None:
        self.steps = 0

    async def list_tasks(self, partition: int, cursor: str, limit: int, *, with_payloads: bool) -> Listed:
        self.steps += 1
        return Listed(details=(), cursor=f"{self.steps}")


async def test_steps_that_bring_nothing_count_as_looked_at() -> None:
    store = OverStore()

    page = await TaskPager(cast("OperatorStore", store), 1, passes=lambda _: True, with_payloads=False).page("", 50)

    assert page.details == ()
    assert page.next_place == f"0 {store.steps}"
    assert store.steps == limits.MAX_LOOKED_AT // page_of_tasks.STEP


@pytest.mark.parametrize("place", ["0", " ", "4 ", "-1 ", "1e0 ", "\N{SUPERSCRIPT TWO} ", "9" * 30 + " ", "0 nonsense"])
async def test_place_that_is_none_is_refused(harness: SqliteHarness, place: str) -> None:
    pager = TaskPager(harness.store, PARTITIONS, passes=None, with_payloads=False)

    with pytest.raises(PageTokenInvalidError):
        await pager.page(place, 10)


class HangingStore:
    """Answers nothing."""

    async def list_workers(self) -> list[WorkerPresence]:
        await asyncio.get_running_loop().create_future()
        return []


async def test_store_that_does_not_answer_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_time_module, "CALL_DEADLINE_S", 0.05)
    operators = Operators(cast("OperatorStore", HangingStore()), PARTITIONS)

    with pytest.raises(StoreUnavailableError):
        await operators.list_workers("", 10)


class HalfAwayStore:
    """The real one, of which one partition does not answer."""

    def __init__(self, harness: SqliteHarness) -> None:
        self._store = harness.store

    async def pause_queue(self, partition: int, queue: str, *, is_paused: bool) -> QueueStats:
        if partition == 1:
            raise StoreUnavailableError("away")
        return await self._store.pause_queue(partition, queue, is_paused=is_paused)


async def test_pause_reaches_what_it_can_and_can_be_repeated_until_it_reached_all(harness: SqliteHarness) -> None:
    half = Operators(cast("OperatorStore", HalfAwayStore(harness)), PARTITIONS)
    whole = Operators(harness.store, PARTITIONS)

    with pytest.raises(StoreUnavailableError):
        await half.pause_queue("default", is_paused=True)
    (queue,) = await whole.list_queues("", 10)
    again = await whole.pause_queue("default", is_paused=True)

    assert (queue.is_paused, again.is_paused) == (False, True)
    shares = [(await harness.store.list_queues(partition, "", 10))[0].is_paused for partition in range(PARTITIONS)]
    assert shares == [True] * PARTITIONS


class ForgetfulStore:
    """The real one, of whose drain requests only so-and-so-many-th reaches the worker's server."""

    def __init__(self, harness: SqliteHarness, *, heard: int) -> None:
        self.told = 0
        self._heard = heard
        self._store = harness.store

    async def list_workers(self) -> list[WorkerPresence]:
        return await self._store.list_workers()

    async def drain_worker(self, worker_id: str) -> None:
        self.told += 1
        if self.told == self._heard:
            await self._store.announce_workers([replace(ONE, is_draining=True)])


@pytest.mark.parametrize(("heard", "told"), [(1, 1), (3, 3), (99, 4)])
async def test_drain_is_told_until_it_was_heard_but_not_for_ever(
    harness: SqliteHarness, monkeypatch: pytest.MonkeyPatch, heard: int, told: int
) -> None:
    monkeypatch.setattr(operators_module, "CONFIRM_PAUSES_S", (0.0, 0.0, 0.0, 0.0))
    await harness.store.announce_workers([ONE])
    store = ForgetfulStore(harness, heard=heard)

    worker = await Operators(cast("OperatorStore", store), PARTITIONS).drain_worker("one")

    assert (worker, store.told) == (replace(ONE, is_draining=True), told)

"""What the auditor looks at and puts up with, and what the deadline keeper brings along."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tailrace.server.domain.deadline import DeadlineFailures
from tailrace.server.domain.errors import StoreUnavailableError
from tailrace.server.domain.retry import JITTER_STEPS
from tailrace.server.maintenance import auditor as auditor_module
from tailrace.server.maintenance.auditor import STEP, Auditor
from tailrace.server.maintenance.deadline_keeper import LIMIT, deadline_keeper
from tailrace.server.store.operators import Audited
from tailrace.server.store.sqlite.store import SqliteStore
from tailrace.server.store.values import Tick
from tests.store.builders import a_submission
from tests.wait import eventually_async

PARTITIONS = 3


class WatchedStore(SqliteStore):
    """A store that remembers what its duties asked for, and says what a test wants of audits."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, partitions=PARTITIONS)
        self.audits: list[tuple[int, str, int]] = []
        self.jitters: list[Sequence[int]] = []
        self.found: list[dict[str, int] | Exception] = []

    async def audit_tasks(self, partition: int, cursor: str, limit: int) -> Audited:
        self.audits.append((partition, cursor, limit))
        audited = await super().audit_tasks(partition, cursor, limit)
        found = self.found.pop(0) if self.found else {}
        if isinstance(found, Exception):
            raise found
        return Audited(repairs={**audited.repairs, **found}, cursor=audited.cursor)

    async def end_overdue(self, partition: int, failures: DeadlineFailures, jitters: Sequence[int]) -> Tick:
        self.jitters.append(jitters)
        return await super().end_overdue(partition, failures, jitters)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[WatchedStore]:
    store = WatchedStore(tmp_path / "tailrace.db")
    await store.open()
    yield store
    await store.close()


async def test_audit_goes_through_every_partition_to_its_end_and_begins_again(store: WatchedStore) -> None:
    for partition in range(PARTITIONS):
        # What this store looks at are its queues.
        submissions = [a_submission(f"task-{partition}-{number}", queue=f"q-{number}") for number in range(2 * STEP)]
        await store.submit_tasks(partition, submissions)
    auditor = Auditor(store)

    for _ in range(5 * PARTITIONS):
        await auditor.step()

    walks = [partition for partition, cursor, _ in store.audits if not cursor]
    first = walks[0]
    assert walks == [(first + number) % PARTITIONS for number in range(len(walks))]
    assert len(walks) > PARTITIONS
    assert {limit for _, _, limit in store.audits} == {STEP}
    for (before, _, _), (partition, cursor, _) in zip(store.audits, store.audits[1:], strict=False):
        assert not cursor or partition == before
    assert any(cursor for _, cursor, _ in store.audits)
    assert auditor.audit_repairs == {}


async def test_audit_rests_after_each_walk(store: WatchedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditor_module, "REST_S", 0.01)
    auditor = Auditor(store)
    running = asyncio.create_task(auditor.run())

    await eventually_async(lambda: len(store.audits) == PARTITIONS, "one walk")
    await asyncio.wait([running], timeout=0.2)

    running.cancel()
    assert sorted(partition for partition, _, _ in store.audits) == list(range(PARTITIONS))


async def test_repairs_are_counted_and_a_warning(store: WatchedStore) -> None:
    auditor = Auditor(store)
    store.found = [{"ready_missing": 2}, {}, {"ready_missing": 1, "done_wrong": 1}]

    with capture_logs() as logs:
        for _ in range(3):
            await auditor.step()

    assert auditor.audit_repairs == {"ready_missing": 3, "done_wrong": 1}
    assert [(log["event"], log["log_level"], log["repairs"]) for log in logs] == [
        ("indexes_repaired", "warning", {"ready_missing": 2}),
        ("indexes_repaired", "warning", {"ready_missing": 1, "done_wrong": 1}),
    ]


async def test_audit_goes_on_at_the_same_place_when_the_store_did_not_answer_and_elsewhere_after_a_surprise(
    store: WatchedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auditor_module, "REST_S", 0.01)
    monkeypatch.setattr(auditor_module, "WALK_REST_S", 0.01)
    store.found = [StoreUnavailableError("away"), {}, RuntimeError("surprise")]
    running = asyncio.create_task(Auditor(store).run())

    await eventually_async(lambda: len(store.audits) >= 4, "the audit goes on")

    running.cancel()
    first = store.audits[0][0]
    expected = [first, first, first + 1, first + 2]
    assert [partition for partition, _, _ in store.audits[:4]] == [number % PARTITIONS for number in expected]


async def test_deadline_keeper_brings_a_new_jitter_for_every_task(store: WatchedStore) -> None:
    duty = deadline_keeper(store)

    await duty.tick(0)
    await duty.tick(0)

    one, other = store.jitters
    assert len(one) == len(other) == LIMIT
    assert all(0 <= jitter <= JITTER_STEPS for jitter in [*one, *other])
    assert len(set(one)) > LIMIT // 2
    assert list(one) != list(other)

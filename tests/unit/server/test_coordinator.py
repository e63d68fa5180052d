"""The use cases: what each item of a call is answered, wherever it lives and whatever shares a store call with it."""

import asyncio
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from tailrace.server.coordinator.coordinator import Coordinator
from tailrace.server.domain.errors import LeaseLostError, StoreFullError
from tailrace.server.store.base import MAX_CALL_BYTES
from tailrace.server.store.sqlite.store import SqliteStore
from tailrace.server.store.sqlite.writer import Done
from tailrace.server.store.values import Beat, LeaseHeld, Release, Submitted
from tests.store.builders import a_submission, a_success
from tests.store.sqlite_harness import open_sqlite
from tests.store.steps import Steps


async def test_outcome_is_read_whole_though_others_take_the_room_in_its_call(tmp_path: Path) -> None:
    names = ["first", "large", "as large", "as large again"]
    async with open_sqlite(tmp_path) as harness:
        steps = Steps(harness)
        for name in names:
            delivery = await steps.submit_and_start(a_submission(name))
            await steps.end(a_success(name, delivery.lease_token, result=bytes(MAX_CALL_BYTES)))
        coordinator = Coordinator(harness.store)

        together = asyncio.create_task(coordinator.read(names))
        one_by_one = await asyncio.gather(*[coordinator.read_whole(name) for name in names])

    assert [getattr(outcome, "is_whole", None) for outcome in await together] == [True, False, False, False]
    assert [outcome and len(outcome.result or b"") for outcome in one_by_one] == [MAX_CALL_BYTES] * len(names)


class WeighedBeats(SqliteStore):
    """A store that remembers how large the calls with beats were."""

    sizes_bytes: list[int]

    async def beat_leases(self, partition: int, beats: Sequence[Beat]) -> list[LeaseHeld | None]:
        self.sizes_bytes.append(sum(len(beat.progress or b"") for beat in beats))
        return await super().beat_leases(partition, beats)


async def test_checkpoints_of_many_tasks_go_to_the_store_in_calls_of_bounded_size(tmp_path: Path) -> None:
    store = WeighedBeats(tmp_path / "tailrace.db")
    store.sizes_bytes = []
    await store.open()
    checkpoint = bytes(MAX_CALL_BYTES // 8)
    beats = [Beat(task_id=f"task-{number}", lease_token=b"token", progress=checkpoint) for number in range(20)]

    answers = await Coordinator(store).heartbeat(beats)

    await store.close()
    assert [type(answer) for answer in answers] == [LeaseLostError] * 20
    assert sum(store.sizes_bytes) == 20 * len(checkpoint)
    assert max(store.sizes_bytes) <= MAX_CALL_BYTES


async def test_more_leases_than_one_call_holds_are_given_back_in_their_order(tmp_path: Path) -> None:
    names = [f"task-{number:04}" for number in range(600)]
    async with open_sqlite(tmp_path) as harness:
        steps = Steps(harness)
        await steps.submit(*map(a_submission, names))
        await steps.submit(a_submission("behind"))
        deliveries = (await steps.lease(count=len(names))).deliveries

        outcomes = await Coordinator(harness.store).release(
            [Release(task_id=d.task_id, lease_token=d.lease_token) for d in deliveries]
            + [Release(task_id="behind", lease_token=b"none")]
        )

        assert [type(outcome) for outcome in outcomes] == [type(None)] * len(names) + [LeaseLostError]
        assert [d.task_id for d in (await steps.lease(count=700)).deliveries] == [*names, "behind"]


async def test_tasks_that_were_accepted_before_the_store_was_full_are_not_told_to_be_refused(tmp_path: Path) -> None:
    """Of those that are, nothing was done: whoever submits them anew under other ids has each of them once."""

    def leave_room_for_one(connection: sqlite3.Connection) -> Done[None]:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + 300}")
        return Done(None)

    async with open_sqlite(tmp_path) as harness:
        await harness.store._writer.run(leave_room_for_one)
        large = bytes(MAX_CALL_BYTES - 1_000)

        outcomes = await Coordinator(harness.store).submit([a_submission(name, payload=large) for name in "abc"])

        assert [type(outcome) for outcome in outcomes] == [Submitted, StoreFullError, StoreFullError]
        assert [bool(snapshot) for snapshot in await harness.store.read_tasks(0, "abc")] == [True, False, False]

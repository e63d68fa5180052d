"""One WaitFor call: how it is read, and that news, a goodbye or a timeout is never slept through."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tailrace.server.api import wait_stream as wait_stream_module
from tailrace.server.api.wait_stream import Wait, WaitStream, parse_wait
from tailrace.server.coordinator.coordinator import Coordinator
from tailrace.server.domain import limits
from tailrace.server.domain.errors import InvalidRequestError, LimitExceededError
from tailrace.server.store.sqlite.store import SqliteStore
from tailrace.server.waiting.waiting import Waiting
from tailrace.v1 import task_pb2
from tailrace.v1 import task_service_pb2 as pb
from tests.store.builders import a_submission
from tests.unit.server.messages import seconds
from tests.unit.server.turns import other_tasks_ran
from tests.unit.server.waiting_scene import Scene

SOON_S = 5.0


def a_request(*task_ids: str, condition: int = 0, timeout_s: float | None = None) -> pb.WaitForRequest:
    return pb.WaitForRequest(
        targets=[pb.WaitTarget(task_id=task_id) for task_id in task_ids or ("task-1",)],
        condition=condition,  # type: ignore[arg-type]
        wait_timeout=None if timeout_s is None else seconds(timeout_s),
    )


def fields_at_fault(request: pb.WaitForRequest) -> list[str]:
    with pytest.raises(InvalidRequestError) as raised:
        parse_wait(request)
    return [violation.field for violation in raised.value.violations]


def test_wait_is_read_whole() -> None:
    request = a_request("a", condition=pb.WAIT_CONDITION_ANY_DONE, timeout_s=1.5)
    request.targets.add(task_id="b", after_revision=7)
    request.done_only = request.include_progress = request.omit_results = True

    assert parse_wait(request) == Wait(
        targets={"a": None, "b": 7},
        condition=pb.WAIT_CONDITION_ANY_DONE,
        timeout_s=1.5,
        done_only=True,
        include_progress=True,
        omit_results=True,
    )


def test_wait_without_a_timeout_has_none_and_one_of_zero_has_it() -> None:
    assert parse_wait(a_request()).timeout_s is None
    assert parse_wait(a_request(timeout_s=0)).timeout_s == 0


def test_id_named_twice_counts_once() -> None:
    assert list(parse_wait(a_request("a", "b", "a")).targets) == ["a", "b"]


def test_a_thousand_targets_are_taken_and_one_more_is_not() -> None:
    names = [f"task-{number}" for number in range(1_001)]

    assert len(parse_wait(a_request(*names[:1_000])).targets) == 1_000
    with pytest.raises(LimitExceededError) as raised:
        parse_wait(a_request(*names))
    assert raised.value.metadata == {"field": "targets", "limit": "1000", "actual": "1001"}


def test_wait_for_nothing_is_refused() -> None:
    assert fields_at_fault(pb.WaitForRequest()) == ["targets"]


@pytest.mark.parametrize("task_id", ["", "a\n", "{a}", "a" * 129])
def test_malformed_target_is_refused_by_place(task_id: str) -> None:
    request = a_request("a")
    request.targets.add(task_id=task_id)

    assert fields_at_fault(request) == ["targets[1].task_id"]


def test_negative_revision_unknown_condition_and_broken_timeout_are_refused_together() -> None:
    request = a_request("a", condition=99)
    request.targets[0].after_revision = -1
    request.wait_timeout.seconds, request.wait_timeout.nanos = 1, -1

    assert fields_at_fault(request) == ["targets[0].after_revision", "condition", "wait_timeout"]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "tailrace.db")
    await store.open()
    yield store
    await store.close()


class Reader:
    """Reads the stream; every write waits until it is read."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[pb.WaitForResponse] = asyncio.Queue()
        self.may_read = asyncio.Event()
        self.may_read.set()

    async def write(self, raw: bytes) -> None:
        self.messages.put_nowait(pb.WaitForResponse.FromString(raw))
        await self.may_read.wait()

    async def next(self) -> pb.WaitForResponse:
        return await asyncio.wait_for(self.messages.get(), SOON_S)


async def test_goodbye_that_comes_while_a_keepalive_is_written_is_said_next(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.submit_tasks(0, [a_submission("task-1")])
    waiting, draining, reader = Waiting(Coordinator(store)), asyncio.Event(), Reader()
    monkeypatch.setattr(limits, "KEEPALIVE_S", 0.02)
    async with asyncio.TaskGroup() as tasks:
        background = tasks.create_task(waiting.run())
        tasks.create_task(WaitStream(parse_wait(a_request()), waiting, draining, reader.write).run())
        assert (await reader.next()).snapshot_complete

        reader.may_read.clear()
        assert await reader.next() == pb.WaitForResponse()
        monkeypatch.setattr(limits, "KEEPALIVE_S", 600.0)
        draining.set()
        await other_tasks_ran()
        reader.may_read.set()

        assert (await reader.next()).end_reason == pb.WAIT_END_REASON_RECONNECT
        background.cancel()


async def test_call_that_times_out_at_once_still_tells_what_is(store: SqliteStore) -> None:
    await store.submit_tasks(0, [a_submission("task-1")])
    waiting, reader = Waiting(Coordinator(store)), Reader()
    async with asyncio.TaskGroup() as tasks:
        background = tasks.create_task(waiting.run())
        await WaitStream(parse_wait(a_request(timeout_s=0)), waiting, asyncio.Event(), reader.write).run()
        background.cancel()

    snapshot, end = await reader.next(), await reader.next()
    assert ([task.task_id for task in snapshot.tasks], snapshot.snapshot_complete) == (["task-1"], True)
    assert end == pb.WaitForResponse(end_reason=pb.WAIT_END_REASON_TIMEOUT)


async def test_call_on_a_store_that_does_not_answer_times_out_all_the_same(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wait_stream_module, "SNAPSHOT_S", 0.05)
    nobody_reads, reader = Waiting(Coordinator(store)), Reader()

    await WaitStream(parse_wait(a_request(timeout_s=0)), nobody_reads, asyncio.Event(), reader.write).run()

    assert await reader.next() == pb.WaitForResponse(end_reason=pb.WAIT_END_REASON_TIMEOUT)
    assert nobody_reads.task_count == 0


async def test_caller_that_reads_nothing_any_more_is_left(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SILENCE_S", 0.05)
    await store.submit_tasks(0, [a_submission("task-1")])
    waiting, reader = Waiting(Coordinator(store)), Reader()
    reader.may_read.clear()
    async with asyncio.TaskGroup() as tasks:
        background = tasks.create_task(waiting.run())

        await asyncio.wait_for(
            WaitStream(parse_wait(a_request()), waiting, asyncio.Event(), reader.write).run(), SOON_S
        )

        background.cancel()
    assert (await reader.next()).snapshot_complete
    assert reader.messages.empty()
    assert waiting.task_count == 0


async def test_caller_that_goes_during_a_write_is_no_incident(store: SqliteStore) -> None:
    await store.submit_tasks(0, [a_submission("task-1")])
    waiting = Waiting(Coordinator(store))

    async def fail(_: bytes) -> None:
        raise RuntimeError("gRPC's own words for a caller that has gone")

    async with asyncio.TaskGroup() as tasks:
        background = tasks.create_task(waiting.run())

        await asyncio.wait_for(WaitStream(parse_wait(a_request()), waiting, asyncio.Event(), fail).run(), SOON_S)

        background.cancel()
    assert waiting.task_count == 0


@pytest.mark.parametrize("is_stopping", [False, True])
async def test_call_ends_in_time_though_there_is_always_more_to_tell(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, is_stopping: bool
) -> None:
    monkeypatch.setattr(limits, "PROGRESS_INTERVAL_S", 0)
    await scene.submit("task-1")
    token = await scene.start("task-1")
    request = a_request(timeout_s=None if is_stopping else 0.2)
    request.include_progress = True
    draining, told = asyncio.Event(), list[pb.WaitForResponse]()

    async def write(raw: bytes) -> None:
        told.append(pb.WaitForResponse.FromString(raw))
        progress = task_pb2.Progress(current=len(told))
        await scene.say_progress("task-1", token, progress.SerializeToString())
        await other_tasks_ran()
        if is_stopping and len(told) > 3:
            draining.set()

    await asyncio.wait_for(WaitStream(parse_wait(request), scene.waiting, draining, write).run(), SOON_S)

    assert len(told) > 2
    assert told[-1].end_reason == (pb.WAIT_END_REASON_RECONNECT if is_stopping else pb.WAIT_END_REASON_TIMEOUT)

"""A store that does not answer: every call says so and can be repeated, and whoever waits goes on waiting."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import grpc
import pytest

from tailrace.server.dispatch import dispatcher as dispatcher_module
from tailrace.server.domain.errors import StoreUnavailableError
from tailrace.server.domain.lease import AttemptEnd
from tailrace.server.domain.task import Submission, TaskSnapshot
from tailrace.server.store.sqlite.store import SqliteStore
from tailrace.server.store.values import (
    Beat,
    Leased,
    LeaseHeld,
    LeaseRequest,
    Release,
    ResultStored,
    Revocation,
    Submitted,
)
from tailrace.server.waiting import reading
from tailrace.v1 import task_pb2
from tailrace.v1 import worker_service_pb2 as pb
from tailrace.v1.task_service_pb2 import (
    BatchGetResultsRequest,
    BatchSubmitRequest,
    GetResultRequest,
    WaitForRequest,
    WaitForResponse,
    WaitTarget,
)
from tests.integration.api.serving import CALL_S, Api, a_request, a_success, refused, seconds, serving
from tests.integration.api.work_peer import WorkPeer
from tests.store.sqlite_harness import SqliteHarness
from tests.wait import eventually_async

UNAVAILABLE = (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
SOON_S = 0.01


class MovingStore(SqliteStore):
    """The embedded store, which can go away for a while."""

    is_away = False
    refusals = 0

    async def submit_tasks(
        self, partition: int, submissions: Sequence[Submission], *, max_queue_depth: int | None = None
    ) -> list[Submitted]:
        self._check()
        return await super().submit_tasks(partition, submissions, max_queue_depth=max_queue_depth)

    async def read_tasks(self, partition: int, task_ids: Sequence[str]) -> list[TaskSnapshot | None]:
        self._check()
        return await super().read_tasks(partition, task_ids)

    async def register_waits(
        self, partition: int, task_ids: Sequence[str], *, with_progress: bool = False
    ) -> list[TaskSnapshot | None]:
        self._check()
        return await super().register_waits(partition, task_ids, with_progress=with_progress)

    async def lease_tasks(self, partition: int, request: LeaseRequest) -> Leased:
        self._check()
        return await super().lease_tasks(partition, request)

    async def beat_leases(self, partition: int, beats: Sequence[Beat]) -> list[LeaseHeld | None]:
        self._check()
        return await super().beat_leases(partition, beats)

    async def store_results(self, partition: int, ends: Sequence[AttemptEnd]) -> list[ResultStored | None]:
        self._check()
        return await super().store_results(partition, ends)

    async def revoke_tasks(self, partition: int, revocations: Sequence[Revocation]) -> list[TaskSnapshot | None]:
        self._check()
        return await super().revoke_tasks(partition, revocations)

    async def release_leases(self, partition: int, releases: Sequence[Release], failure: bytes) -> list[bool]:
        self._check()
        return await super().release_leases(partition, releases, failure)

    def _check(self) -> None:
        if self.is_away:
            self.refusals += 1
            raise StoreUnavailableError("the store is away")


@pytest.fixture
def store(tmp_path: Path) -> MovingStore:
    return MovingStore(tmp_path / "tailrace.db")


@pytest.fixture
async def api(store: MovingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    """Run a server on that store; it looks again soon after a refusal."""
    monkeypatch.setattr(reading, "STORE_BACKOFF_S", SOON_S)
    monkeypatch.setattr(dispatcher_module, "STORE_BACKOFF_S", SOON_S)
    async with serving(SqliteHarness(tmp_path / "unused.db", partitions=1), store) as api:
        yield api


async def refused_again(store: MovingStore) -> None:
    """Return once the store was asked in vain a few more times."""
    before = store.refusals
    await eventually_async(lambda: store.refusals > before + 2, "the store is asked again")


async def test_submit_that_may_have_been_accepted_says_under_which_id(api: Api, store: MovingStore) -> None:
    store.is_away = True
    refusal = await refused(api.tasks.Submit(a_request(""), timeout=CALL_S))
    store.is_away = False

    task_id = refusal.trailers["task_id"]
    assert (refusal.code, refusal.reason) == UNAVAILABLE
    assert uuid.UUID(task_id).version == 7
    assert refusal.trailers["grpc-retry-pushback-ms"] == "200"
    assert (await api.tasks.Submit(a_request(task_id), timeout=CALL_S)).created


async def test_every_item_of_a_batch_says_under_which_id(api: Api, store: MovingStore) -> None:
    store.is_away = True
    request = BatchSubmitRequest(requests=[a_request("a"), a_request(""), a_request("{}")])
    response = await api.tasks.BatchSubmit(request, timeout=CALL_S)
    store.is_away = False

    assert [item.error.reason for item in response.items] == [UNAVAILABLE[1], UNAVAILABLE[1], "INVALID_REQUEST"]
    assert response.items[0].task_id == "a"
    assert uuid.UUID(response.items[1].task_id).version == 7


async def test_results_that_cannot_be_read_say_so(api: Api, store: MovingStore) -> None:
    await api.submit()
    store.is_away = True

    one = await refused(api.result())
    many = await api.tasks.BatchGetResults(BatchGetResultsRequest(task_ids=["task-1"]), timeout=CALL_S)

    assert (one.code, one.reason) == UNAVAILABLE
    assert [item.error.reason for item in many.items] == ["STORE_UNAVAILABLE"]


async def test_long_poll_goes_on_through_the_outage(api: Api, store: MovingStore) -> None:
    await api.submit()
    request = GetResultRequest(task_id="task-1", wait_timeout=seconds(30))
    polling = asyncio.ensure_future(api.tasks.GetResult(request, timeout=CALL_S))
    await eventually_async(lambda: api.server.waiting.task_count == 1, "the server waits")
    store.is_away = True
    assert (await refused(api.result())).reason == "STORE_UNAVAILABLE"
    store.is_away = False

    await api.run()

    assert (await polling).task.done


async def test_wait_that_begins_in_the_outage_ends_with_the_truth(api: Api, store: MovingStore) -> None:
    await api.submit()
    store.is_away = True
    call = api.tasks.WaitFor(WaitForRequest(targets=[WaitTarget(task_id="task-1")]), timeout=CALL_S)
    first = asyncio.ensure_future(call.read())
    await refused_again(store)
    assert not first.done()

    store.is_away = False
    await api.run()

    states: list[int] = []
    message = await first
    while isinstance(message, WaitForResponse):
        states += [task.state for task in message.tasks]
        message = await call.read()
    assert states[-1] == task_pb2.TASK_STATE_SUCCESS


async def test_calls_of_workers_are_told_to_repeat_themselves(api: Api, store: MovingStore) -> None:
    await api.submit()
    lease = (await api.lease()).lease
    store.is_away = True
    leasing = await refused(api.lease_many())
    storing = await refused(api.store(a_success(lease)))
    status = await api.beat(lease)
    (ack,) = await api.store_many(a_success(lease))
    released = await api.workers.ReleaseTasks(pb.ReleaseTasksRequest(leases=[lease]), timeout=CALL_S)
    store.is_away = False

    assert (leasing.code, leasing.reason) == (storing.code, storing.reason) == UNAVAILABLE
    assert (status.held, status.error.reason) == (False, "STORE_UNAVAILABLE")
    assert ack.error.reason == released.items[0].error.reason == "STORE_UNAVAILABLE"
    assert (await api.beat(lease)).held
    assert (await api.store(a_success(lease))).state == task_pb2.TASK_STATE_SUCCESS


async def test_call_that_waits_for_tasks_goes_on_through_the_outage(api: Api, store: MovingStore) -> None:
    store.is_away = True
    leasing = asyncio.create_task(api.lease_many(wait_s=30))
    await refused_again(store)

    store.is_away = False
    await api.submit()

    assert [assignment.lease.task_id for assignment in await leasing] == ["task-1"]


async def test_stream_lives_through_the_outage_and_keeps_its_credit_straight(api: Api, store: MovingStore) -> None:
    await api.submit_many("a", "b")
    peer = WorkPeer(api)
    await peer.hello(credit=1)
    (first,) = await peer.assigned()

    store.is_away = True
    (status,) = await peer.start(first.lease)
    (ack,) = await peer.succeed(first.lease)
    (item,) = await peer.release(first.lease)
    store.is_away = False

    assert status.error.reason == ack.error.reason == item.error.reason == "STORE_UNAVAILABLE"
    assert await peer.is_quiet()
    (again,) = await peer.succeed(first.lease)
    assert again.state == task_pb2.TASK_STATE_SUCCESS
    assert [assignment.lease.task_id for assignment in await peer.assigned()] == ["b"]
    await peer.close()


async def test_stream_that_begins_in_the_outage_keeps_what_its_worker_holds(api: Api, store: MovingStore) -> None:
    await api.submit_many("a", "b")
    held = await api.lease()
    store.is_away = True
    peer = WorkPeer(api)

    welcome = await peer.hello(credit=1, held=[held.lease])
    store.is_away = False

    assert [status.error.reason for status in welcome.leases] == ["STORE_UNAVAILABLE"]
    assert await peer.is_quiet()
    await peer.succeed(held.lease)
    assert [assignment.lease.task_id for assignment in await peer.assigned()] == ["b"]
    await peer.close()

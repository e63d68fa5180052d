"""Several partitions: whoever calls sees one server, wherever a task lives."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tailrace.server.coordinator.batcher import CALL_DEADLINE_S
from tailrace.server.domain.errors import StoreUnavailableError
from tailrace.server.domain.ids import partition_of
from tailrace.server.domain.lease import AttemptEnd
from tailrace.server.domain.task import Submission, TaskSnapshot
from tailrace.server.store.sqlite.store import SqliteStore
from tailrace.server.store.values import Beat, Leased, LeaseHeld, LeaseRequest, ResultStored, Submitted
from tailrace.v1 import admin_service_pb2 as admin_pb
from tailrace.v1 import task_pb2
from tailrace.v1 import worker_service_pb2 as pb
from tailrace.v1.task_service_pb2 import (
    BatchGetResultsRequest,
    RevokeRequest,
    WaitForRequest,
    WaitForResponse,
    WaitTarget,
)
from tests.integration.api.flow_steps import submit_kib, work_off
from tests.integration.api.looking_steps import delete, listed, resubmit, task_of
from tests.integration.api.serving import CALL_S, Api, a_request, a_success, seconds, serving
from tests.integration.api.watch_peer import WatchPeer
from tests.integration.api.work_peer import WorkPeer
from tests.store.redis_harness import RedisHarness
from tests.store.sqlite_harness import SqliteHarness
from tests.wait import eventually_answers, eventually_async

PARTITIONS = 4
NAMES = [f"task-{number}" for number in range(40)]


@pytest.fixture(params=["sqlite", "redis"])
async def api(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Api]:
    if request.param == "sqlite":
        async with serving(SqliteHarness(tmp_path / "tailrace.db", partitions=PARTITIONS)) as api:
            yield api
        return
    url = request.getfixturevalue("redis_url")
    async with Redis.from_url(url, protocol=2) as admin:
        harness = RedisHarness(url, admin, PARTITIONS)
        await harness.advance(0)
        async with serving(harness) as api:
            yield api
        await harness.close()


async def finish_all(api: Api) -> None:
    leases = [assignment.lease for assignment in await api.lease_many(100, start=True)]
    acks = await api.store_many(*[a_success(lease, lease.task_id.encode()) for lease in leases])
    assert not any(ack.HasField("error") for ack in acks)


async def test_tasks_of_these_tests_live_in_every_partition(api: Api) -> None:
    assert {partition_of(name, PARTITIONS) for name in NAMES} == set(range(api.harness.store.partitions))


async def test_items_of_a_batch_are_answered_in_order_wherever_they_live(api: Api) -> None:
    await api.submit_many(*NAMES)
    await finish_all(api)

    response = await api.tasks.BatchGetResults(BatchGetResultsRequest(task_ids=NAMES), timeout=CALL_S)

    assert [item.task.result.data.decode() for item in response.items] == NAMES


async def test_one_call_leases_from_every_partition(api: Api) -> None:
    await api.submit_many(*NAMES)

    part, rest = await api.lease_many(25), await api.lease_many(100)

    assert (len(part), len(rest)) == (25, 15)
    assert sorted(each.lease.task_id for each in part + rest) == sorted(NAMES)


async def test_no_partition_is_preferred_by_calls_that_take_little(api: Api) -> None:
    await api.submit_many(*[f"task-{number}" for number in range(200)])

    taken = [(await api.lease()).lease.task_id for _ in range(40)]

    assert {partition_of(task_id, PARTITIONS) for task_id in taken} == set(range(PARTITIONS))


async def test_call_that_waits_hears_of_a_task_in_any_partition(api: Api) -> None:
    for name in NAMES[:8]:
        await api.submit(name)

        assert [each.lease.task_id for each in await api.lease_many(5, wait_s=20)] == [name]


async def test_stream_serves_every_partition(api: Api) -> None:
    peer = WorkPeer(api)
    await peer.hello(credit=100)
    await api.submit_many(*NAMES)

    leases = [assignment.lease for assignment in await peer.assigned(len(NAMES))]
    statuses = await peer.start(*leases)
    acks = await peer.succeed(*leases)

    assert sorted(lease.task_id for lease in leases) == sorted(NAMES)
    assert all(status.held for status in statuses)
    assert [ack.task_id for ack in acks] == [lease.task_id for lease in leases]
    await peer.close()


async def test_stream_holds_no_more_than_it_wants_over_all_partitions(api: Api) -> None:
    dice = random.Random(4)
    sizes = {name: dice.choice([0, 1, 1, 2, 5, 9]) for name in NAMES}
    await submit_kib(api, **sizes)

    assert sorted(await work_off(api, sizes, dice)) == sorted(sizes)


async def test_times_hold_in_every_partition(api: Api) -> None:
    late, slow, delayed = NAMES[:12], NAMES[12:24], NAMES[24:36]
    await api.submit_many(*late, start_within=seconds(5))
    await api.submit_many(*slow, total_timeout=seconds(5))
    await api.submit_many(*delayed, start_delay=seconds(5))

    await api.pass_time(5_000)

    for names, state in ((late, "REVOKED"), (slow, "FAILURE"), (delayed, "PENDING/QUEUED")):
        assert {await api.state(name) for name in names} == {state}


async def test_wait_follows_tasks_of_every_partition(api: Api) -> None:
    await api.submit_many(*NAMES)
    targets = [WaitTarget(task_id=name) for name in NAMES]
    call = api.tasks.WaitFor(WaitForRequest(targets=targets, done_only=True), timeout=CALL_S)

    await finish_all(api)

    done = {task.task_id async for message in call for task in message.tasks if task.done}
    assert done == set(NAMES)


async def test_tasks_of_every_partition_are_listed_once(api: Api) -> None:
    await api.submit_many(*NAMES, labels={"customer": "acme"})

    for page_size in (1, 7, 1_000):
        for text in ("", 'labels.customer = "acme"'):
            assert sorted(await listed(api, page_size=page_size, filter=text)) == sorted(NAMES)


async def test_any_task_can_be_looked_at_deleted_and_run_again_from_its_id_alone(api: Api) -> None:
    await api.submit_many(*NAMES)
    await api.tasks.Revoke(RevokeRequest(task_ids=NAMES), timeout=CALL_S)

    for name in NAMES[:10]:
        assert (await task_of(api, name)).task_id == name
        await resubmit(api, name, f"again-{name}")
        await delete(api, name)

    assert sorted(await listed(api, filter='state = "PENDING"')) == sorted(f"again-{name}" for name in NAMES[:10])
    assert sorted(await listed(api, filter='state = "REVOKED"')) == sorted(NAMES[10:])


async def test_queue_is_one_over_all_partitions(api: Api) -> None:
    await api.submit_many(*NAMES)
    await api.submit("alone", queue="alone")
    await api.harness.advance(1_000)
    await api.submit_many("late", start_delay=seconds(60))

    queues = (await api.admin.ListQueues(admin_pb.ListQueuesRequest(), timeout=CALL_S)).queues

    assert [(each.queue, each.queued_count, each.delayed_count) for each in queues] == [
        ("alone", 1, 0),
        ("default", 40, 1),
    ]
    assert {each.queue: each.oldest_queued_age for each in queues} == {"alone": seconds(1), "default": seconds(1)}


async def test_queue_is_paused_and_resumed_in_all_partitions(api: Api) -> None:
    await api.submit_many(*NAMES)
    paused = await api.admin.PauseQueue(admin_pb.PauseQueueRequest(queue="default"), timeout=CALL_S)
    assert (paused.queue.paused, await api.lease_many(100)) == (True, [])

    resumed = await api.admin.ResumeQueue(admin_pb.ResumeQueueRequest(queue="default"), timeout=CALL_S)

    assert (resumed.queue.paused, resumed.queue.queued_count) == (False, 40)
    await finish_all(api)


async def test_purge_reaches_every_partition(api: Api) -> None:
    await api.submit_many(*NAMES)

    counted = await api.admin.PurgeQueue(admin_pb.PurgeQueueRequest(queue="default"), timeout=CALL_S)
    purged = await api.admin.PurgeQueue(admin_pb.PurgeQueueRequest(queue="default", force=True), timeout=CALL_S)

    assert (counted.purge_count, counted.remaining_count) == (40, 40)
    assert (purged.purge_count, purged.remaining_count) == (40, 0)
    assert sorted(await listed(api, filter='state = "REVOKED"')) == sorted(NAMES)


class StuckStore(SqliteStore):
    """The embedded store, which answers the first lease that brings a task, and none after it."""

    is_stuck = False

    async def lease_tasks(self, partition: int, request: LeaseRequest) -> Leased:
        if self.is_stuck:
            await asyncio.Event().wait()
        leased = await super().lease_tasks(partition, request)
        self.is_stuck = bool(leased.deliveries)
        return leased


@pytest.mark.parametrize("start", [False, True])
async def test_what_was_leased_for_a_caller_that_goes_meanwhile_is_given_back_at_once(
    tmp_path: Path, start: bool
) -> None:
    store = StuckStore(tmp_path / "tailrace.db", partitions=PARTITIONS)
    async with serving(SqliteHarness(tmp_path / "unused.db", partitions=PARTITIONS), store) as api:
        await api.submit_many(*NAMES)
        call = asyncio.ensure_future(api.lease_many(len(NAMES), start=start))
        await eventually_async(lambda: store.is_stuck, "the first partition has answered")

        call.cancel()

        states = dict.fromkeys(NAMES, "PENDING/QUEUED")
        await eventually_answers(partial(states_of, api), states)


async def states_of(api: Api) -> dict[str, str]:
    return {name: await api.state(name) for name in NAMES}


class PartlyAwayStore(SqliteStore):
    """The embedded store, one partition of which does not answer whoever asks about a wait."""

    was_asked = False

    async def register_waits(
        self, partition: int, task_ids: Sequence[str], *, with_progress: bool = False
    ) -> list[TaskSnapshot | None]:
        if partition == 0:
            self.was_asked = True
            await asyncio.Event().wait()
        return await super().register_waits(partition, task_ids, with_progress=with_progress)


async def test_wait_is_answered_though_another_partition_does_not_answer(tmp_path: Path) -> None:
    store = PartlyAwayStore(tmp_path / "tailrace.db", partitions=PARTITIONS)
    stuck, *others = sorted(NAMES[:12], key=lambda name: partition_of(name, PARTITIONS))
    others = [name for name in others if partition_of(name, PARTITIONS)]
    async with serving(SqliteHarness(tmp_path / "unused.db", partitions=PARTITIONS), store) as api:
        await api.submit_many(stuck, *others)
        waiting = api.tasks.WaitFor(WaitForRequest(targets=[WaitTarget(task_id=stuck)]), timeout=60)
        await eventually_async(lambda: store.was_asked, "the store does not answer")
        began_at = time.monotonic()

        for name in others:
            call = api.tasks.WaitFor(WaitForRequest(targets=[WaitTarget(task_id=name)]), timeout=60)
            first = await call.read()
            assert isinstance(first, WaitForResponse)
            assert [task.task_id for task in first.tasks] == [name]
            call.cancel()

        assert time.monotonic() - began_at < CALL_DEADLINE_S / 2
        waiting.cancel()


class PartlyStuckStore(SqliteStore):
    """The embedded store, one partition of which does not answer whoever wants tasks, or refuses to."""

    refuses = False

    async def lease_tasks(self, partition: int, request: LeaseRequest) -> Leased:
        if partition == 0 and self.refuses:
            raise StoreUnavailableError("the partition is away")
        if partition == 0:
            await asyncio.Event().wait()
        return await super().lease_tasks(partition, request)


@pytest.mark.parametrize("refuses", [False, True])
async def test_stream_is_served_though_one_partition_does_not_answer(tmp_path: Path, refuses: bool) -> None:
    store = PartlyStuckStore(tmp_path / "tailrace.db", partitions=PARTITIONS)
    store.refuses = refuses
    names = [name for name in NAMES if partition_of(name, PARTITIONS)]
    async with serving(SqliteHarness(tmp_path / "unused.db", partitions=PARTITIONS), store) as api:
        peer = WorkPeer(api)
        await peer.hello(credit=1)
        began_at = time.monotonic()
        for name in names:
            await api.submit(name)
            (assignment,) = await peer.assigned()
            assert assignment.lease.task_id == name
            await peer.succeed(assignment.lease)

        assert time.monotonic() - began_at < CALL_DEADLINE_S / 2
        await peer.close()


async def test_call_takes_what_other_partitions_have_while_one_does_not_answer(tmp_path: Path) -> None:
    store = PartlyStuckStore(tmp_path / "tailrace.db", partitions=PARTITIONS)
    names = [name for name in NAMES if partition_of(name, PARTITIONS)]
    async with serving(SqliteHarness(tmp_path / "unused.db", partitions=PARTITIONS), store) as api:
        await api.submit_many(*names)
        began_at = time.monotonic()

        taken = await api.lease_many(len(NAMES))

        assert sorted(assignment.lease.task_id for assignment in taken) == sorted(names)
        assert time.monotonic() - began_at < CALL_DEADLINE_S / 2


class PartlyDeafStore(SqliteStore):
    """The embedded store, one partition of which does not answer what workers say of their leases for a while."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, partitions=PARTITIONS)
        self.is_back = asyncio.Event()
        self.is_back.set()

    async def beat_leases(self, partition: int, beats: Sequence[Beat]) -> list[LeaseHeld | None]:
        await self._answer(partition)
        return await super().beat_leases(partition, beats)

    async def store_results(self, partition: int, ends: Sequence[AttemptEnd]) -> list[ResultStored | None]:
        await self._answer(partition)
        return await super().store_results(partition, ends)

    async def _answer(self, partition: int) -> None:
        if partition == 0:
            await self.is_back.wait()


async def test_leases_and_results_of_other_partitions_do_not_wait_for_one_that_does_not_answer(
    tmp_path: Path,
) -> None:
    store = PartlyDeafStore(tmp_path / "tailrace.db")
    stuck, kept, done = sorted(NAMES[:12], key=lambda name: partition_of(name, PARTITIONS))[::5]
    assert partition_of(stuck, PARTITIONS) == 0 < partition_of(kept, PARTITIONS)
    async with serving(SqliteHarness(tmp_path / "unused.db", partitions=PARTITIONS), store) as api:
        await api.submit_many(stuck, kept, done)
        peer = WorkPeer(api)
        await peer.hello()
        leases = {assignment.lease.task_id: assignment.lease for assignment in await peer.assigned(3)}
        store.is_back.clear()
        began_at = time.monotonic()

        await peer.say(beats=pb.LeaseBeats(beats=[pb.LeaseBeat(lease=lease) for lease in leases.values()]))
        await peer.say(results=pb.AttemptResults(results=[a_success(leases[stuck]), a_success(leases[done])]))
        await peer.say(beats=pb.LeaseBeats(beats=[pb.LeaseBeat(lease=leases[kept], progress=HALF)]))

        await eventually_answers(partial(api.state, done), "SUCCESS")
        await eventually_answers(partial(progress_of, api, kept), 50)
        assert time.monotonic() - began_at < CALL_DEADLINE_S / 2
        assert await api.state(stuck) == "PENDING/DISPATCHED"

        # The answers come in the order of the questions.
        store.is_back.set()
        first = [status.task_id for status in (await peer.expect("lease_statuses")).statuses]
        assert first[:3] == list(leases)
        acks = (await peer.expect("result_acks")).acks
        assert [(ack.task_id, ack.HasField("error")) for ack in acks] == [(stuck, False), (done, False)]
        assert await api.state(stuck) == "SUCCESS"
        peer.break_off()


HALF = task_pb2.Progress(current=50, total=100)


async def progress_of(api: Api, task_id: str) -> int:
    return (await api.result(task_id)).progress.current


class PartlyRefusingStore(SqliteStore):
    """The embedded store, one partition of which does not answer who submits until it is back."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, partitions=PARTITIONS)
        self.is_back = asyncio.Event()

    async def submit_tasks(
        self, partition: int, submissions: Sequence[Submission], *, max_queue_depth: int | None = None
    ) -> list[Submitted]:
        if partition == 0:
            await self.is_back.wait()
        return await super().submit_tasks(partition, submissions, max_queue_depth=max_queue_depth)


async def test_submits_to_other_partitions_do_not_wait_for_one_that_does_not_answer(tmp_path: Path) -> None:
    store = PartlyRefusingStore(tmp_path / "tailrace.db")
    stuck, taken = sorted(NAMES[:12], key=lambda name: partition_of(name, PARTITIONS))[::11]
    assert partition_of(stuck, PARTITIONS) == 0 < partition_of(taken, PARTITIONS)
    async with serving(SqliteHarness(tmp_path / "unused.db", partitions=PARTITIONS), store) as api:
        began_at = time.monotonic()
        peer = await WatchPeer(api).say(submit=[a_request(stuck)])
        await peer.say(submit=[a_request(taken)])

        assert [assignment.lease.task_id for assignment in await api.lease_many(wait_s=9)] == [taken]
        assert time.monotonic() - began_at < CALL_DEADLINE_S / 2

        # The answers come in the order of the submits.
        store.is_back.set()
        await peer.until_submitted(2)
        assert [item.task_id for item in peer.submitted] == [stuck, taken]
        peer.break_off()


class PartlyUnreadableStore(SqliteStore):
    """The embedded store, one partition of which cannot be read."""

    refusals = 0

    async def read_tasks(self, partition: int, task_ids: Sequence[str]) -> list[TaskSnapshot | None]:
        if partition == 0:
            self.refusals += 1
            raise StoreUnavailableError("the partition is away")
        return await super().read_tasks(partition, task_ids)


async def test_batch_asks_a_partition_that_does_not_answer_once_and_brings_what_the_others_have(
    tmp_path: Path,
) -> None:
    store = PartlyUnreadableStore(tmp_path / "tailrace.db", partitions=PARTITIONS)
    names = [f"task-{number}" for number in range(400)]
    async with serving(SqliteHarness(tmp_path / "unused.db", partitions=PARTITIONS), store) as api:
        await api.submit_many(*names)

        response = await api.tasks.BatchGetResults(BatchGetResultsRequest(task_ids=names), timeout=CALL_S)

        assert [(item.task_id, item.error.reason) for item in response.items] == [
            (name, "" if partition_of(name, PARTITIONS) else "STORE_UNAVAILABLE") for name in names
        ]
        assert store.refusals == 1

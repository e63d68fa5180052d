"""A Redis Cluster that loses a master under load: what its replica had received stays true, and every wait ends."""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import grpc
import pytest
from redis import Redis

from tailrace.client import AsyncClient, AsyncioResult, TaskNotFoundError
from tailrace.server.domain.ids import partition_of
from tailrace.server.store.redis.keys import Keyspace
from tailrace.v1 import task_pb2
from tailrace.v1 import task_service_pb2 as pb
from tailrace.v1.task_service_pb2_grpc import TaskServiceStub
from tests.faults import journal
from tests.faults.figures import Figures
from tests.faults.processes import Processes, ServerProcess
from tests.faults.tasks import Square
from tests.redis_cluster import RedisCluster, redis_cluster
from tests.redis_server import RedisServer
from tests.wait import eventually, eventually_answers, eventually_async

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PARTITIONS = 32
QUEUED = 1_500
WAITS = 200
CALLERS = 4
RUN_BEFORE = 200
ACCEPTED_AFTER = 50
LEASE = timedelta(seconds=5)
WITHIN_S = 90.0
PAGE = 1_000
CALL_S = 20.0


@dataclass(frozen=True, slots=True)
class Record:
    """A task as it is in Redis."""

    is_done: bool
    blob: bytes
    """Its request; once it is done, its end too."""


@dataclass
class Load:
    """Callers that submit squares, and everything of theirs that was accepted."""

    clients: tuple[AsyncClient, AsyncClient]
    numbers: Iterator[int] = field(default_factory=itertools.count)
    values: dict[str, int] = field(default_factory=dict)

    async def fill_queue(self, count: int) -> list[AsyncioResult]:
        numbers = list(itertools.islice(self.numbers, count))
        results = await self.clients[0].options(lease_duration=LEASE).map("square", [(number,) for number in numbers])
        self.values |= {result.id: number * number for number, result in zip(numbers, results, strict=True)}
        return results

    @asynccontextmanager
    async def callers(self) -> AsyncIterator[None]:
        """Have callers submit one task after the other until the block ends."""
        is_over = asyncio.Event()

        async def submit_until_over(client: AsyncClient) -> None:
            submitter = client.options(lease_duration=LEASE)
            while not is_over.is_set():
                number = next(self.numbers)
                result = await submitter.submit("square", number)
                self.values[result.id] = number * number

        async with asyncio.TaskGroup() as callers:
            for index in range(CALLERS):
                callers.create_task(submit_until_over(self.clients[index % 2]))
            yield
            is_over.set()


@pytest.fixture
def cluster() -> Iterator[RedisCluster]:
    """Run a cluster of the test's own, to be hurt."""
    with redis_cluster() as cluster:
        yield cluster


async def test_what_a_replica_had_received_outlives_its_master(
    processes: Processes, cluster: RedisCluster, figures: Figures
) -> None:
    here, there = await asyncio.gather(*(asyncio.to_thread(processes.server, cluster.url) for _ in range(2)))
    victim = cluster.masters()[0]
    heir = cluster.replica_of(victim)
    at_risk = {number for number in range(PARTITIONS) if cluster.master_of(_lease_key(number)) is victim}
    async with AsyncClient(here.address) as client_here, AsyncClient(there.address) as client_there:
        load = Load((client_here, client_there))
        queued = await load.fill_queue(QUEUED)
        waits = _waits((client_here, client_there), [result.id for result in queued[-WAITS:]])
        for server in (here, there):
            await asyncio.to_thread(processes.worker, server.address)
        await eventually_async(lambda: journal.count(processes.directory) >= RUN_BEFORE, "the workers are at work")

        async with load.callers():
            killed_at = time.monotonic()
            received = await asyncio.to_thread(_lose, victim, heir)
            await eventually_async(lambda: "role:master" in heir.text("INFO", "replication"), "the replica takes over")
            replaced_s = time.monotonic() - killed_at
            wanted = len(load.values) + ACCEPTED_AFTER
            await eventually_async(lambda: len(load.values) >= wanted, "tasks are accepted again", within_s=WITHIN_S)
            accepted_s = time.monotonic() - killed_at
        await asyncio.to_thread(victim.start)
        await asyncio.to_thread(cluster.wait_until_whole)
        told = await asyncio.gather(*waits.values(), return_exceptions=True)
        ends = await _ends(there, list(load.values))
        finished_s = time.monotonic() - killed_at

    lost = load.values.keys() - ends.keys()
    later = await asyncio.to_thread(_records, heir)
    figures.add(
        f"{len(load.values)} tasks accepted, {len(received)} of them known to the replica; a new master after"
        f" {replaced_s:.1f} s, {ACCEPTED_AFTER} more tasks accepted after {accepted_s:.1f} s, all done after"
        f" {finished_s:.1f} s; the failover lost {len(lost)} accepted tasks and"
        f" {journal.count(processes.directory) - len(ends)} executions' results"
    )
    assert {partition_of(task_id, PARTITIONS) for task_id in lost} <= at_risk
    assert not lost & received.keys()
    assert ends == {task_id: value for task_id, value in load.values.items() if task_id not in lost}
    finished = {task_id: record for task_id, record in received.items() if record.is_done}
    assert finished
    assert {task_id: later[task_id] for task_id in finished} == finished
    for task_id, answer in zip(waits, told, strict=True):
        if isinstance(answer, BaseException):
            assert (type(answer), task_id in lost) == (TaskNotFoundError, True)
        else:
            assert answer["value"] == load.values[task_id]
    assert victim.command("PING") == "+PONG"
    assert "role:slave" in victim.text("INFO", "replication")


def _lease_key(partition: int) -> str:
    return Keyspace("default").partition(partition, PARTITIONS).lease


def _waits(clients: tuple[AsyncClient, AsyncClient], task_ids: list[str]) -> dict[str, asyncio.Task[Square]]:
    return {
        task_id: asyncio.create_task(clients[index % 2].result(task_id).get(WITHIN_S))
        for index, task_id in enumerate(task_ids)
    }


def _lose(victim: RedisServer, heir: RedisServer) -> Mapping[str, Record]:
    """Kill a master, and return what its replica has of it."""
    victim.kill()
    eventually(lambda: "master_link_status:up" not in heir.text("INFO", "replication"), "the replica noticed")
    return _records(heir)


def _records(node: RedisServer) -> dict[str, Record]:
    found: dict[str, Record] = {}
    with Redis(port=node.port, protocol=2) as redis:
        redis.execute_command("READONLY")
        for key in redis.scan_iter("tr:default:*:s:*", count=1_000):
            prefix, _, task_id = key.decode().partition(":s:")
            found[task_id] = Record(not redis.exists(f"{prefix}:t:{task_id}"), redis.get(key))
    return found


async def _ends(server: ServerProcess, task_ids: list[str]) -> dict[str, int]:
    """Wait until every task is done or turns out to be lost; returns the values of those that are done."""
    ends: dict[str, int] = {}
    open_ids = set(task_ids)

    async def count_open() -> int:
        asked = sorted(open_ids)
        for begin in range(0, len(asked), PAGE):
            page = asked[begin : begin + PAGE]
            response = await stub.BatchGetResults(pb.BatchGetResultsRequest(task_ids=page), timeout=CALL_S)
            for item in response.items:
                if item.task.done:
                    assert item.task.state == task_pb2.TASK_STATE_SUCCESS, item
                    ends[item.task_id] = json.loads(item.task.result.data)["value"]
                if item.task.done or item.error.reason == "TASK_NOT_FOUND":
                    open_ids.discard(item.task_id)
        return len(open_ids)

    async with grpc.aio.insecure_channel(server.address) as channel:
        stub = TaskServiceStub(channel)
        await eventually_answers(count_open, 0, within_s=WITHIN_S)
    return ends

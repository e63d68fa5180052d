"""A Redis Cluster that loses a master under load: what its replica had received stays true, and every wait ends."""

import asyncio
import itertools
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import grpc
import pytest
from redis import Redis

from tailrace.client import AsyncClient, TaskNotFoundError
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
ACCEPTED_AFTER = 20
ACCEPTED_BEHIND = 10
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
    """Callers that submit squares and wait for them, and everything of theirs that was accepted."""

    clients: tuple[AsyncClient, AsyncClient]
    numbers: Iterator[int] = field(default_factory=itertools.count)
    values: dict[str, int] = field(default_factory=dict)
    waits: dict[str, asyncio.Task[Square]] = field(default_factory=dict)

    async def fill_queue(self, count: int) -> None:
        """Submit tasks at once, and wait for the last of them at both servers."""
        numbers = list(itertools.islice(self.numbers, count))
        results = await self.clients[0].options(lease_duration=LEASE).map("square", [(number,) for number in numbers])
        self.values |= {result.id: number * number for number, result in zip(numbers, results, strict=True)}
        for client, result in zip(itertools.cycle(self.clients), results[-WAITS:]):
            self._wait_for(client, result.id)

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
                self._wait_for(client, result.id)

        async with asyncio.TaskGroup() as callers:
            for index in range(CALLERS):
                callers.create_task(submit_until_over(self.clients[index % 2]))
            yield
            is_over.set()

    async def accepts_more(self, count: int, within: set[int]) -> None:
        """Return once so many more tasks are accepted in some of the partitions."""

        def accepted() -> int:
            return sum(partition_of(task_id, PARTITIONS) in within for task_id in self.values)

        wanted = accepted() + count
        await eventually_async(lambda: accepted() >= wanted, "tasks are accepted", within_s=WITHIN_S)

    async def check_waits(self, lost: set[str]) -> None:
        """Wait for all waits: each tells the truth, or that its task is lost."""
        told = await asyncio.gather(*self.waits.values(), return_exceptions=True)
        for task_id, answer in zip(self.waits, told, strict=True):
            if isinstance(answer, BaseException):
                assert (type(answer), task_id in lost) == (TaskNotFoundError, True)
            else:
                assert answer["value"] == self.values[task_id]

    def _wait_for(self, client: AsyncClient, task_id: str) -> None:
        self.waits[task_id] = asyncio.create_task(client.result(task_id).get(WITHIN_S))


@pytest.fixture
def cluster() -> Iterator[RedisCluster]:
    """Run a cluster of the test's own, to be hurt."""
    with redis_cluster() as cluster:
        yield cluster


@pytest.mark.parametrize("is_behind", [False, True])
async def test_what_a_replica_had_received_outlives_its_master(
    processes: Processes, cluster: RedisCluster, figures: Figures, is_behind: bool
) -> None:
    here, there = await asyncio.gather(*(asyncio.to_thread(processes.server, cluster.url) for _ in range(2)))
    victim = cluster.masters()[0]
    heir = cluster.replica_of(victim)
    at_risk = {number for number in range(PARTITIONS) if cluster.master_of(_lease_key(number)) is victim}
    async with AsyncClient(here.address) as client_here, AsyncClient(there.address) as client_there:
        load = Load((client_here, client_there))
        await load.fill_queue(QUEUED)
        for server in (here, there):
            await asyncio.to_thread(processes.worker, server.address)
        await eventually_async(lambda: journal.count(processes.directory) >= RUN_BEFORE, "the workers are at work")

        async with load.callers():
            if is_behind:
                _cut_off(heir, victim)
                await load.accepts_more(ACCEPTED_BEHIND, at_risk)
            killed_at = time.monotonic()
            received = await asyncio.to_thread(_lose, victim, heir)
            await eventually_async(lambda: "role:master" in heir.text("INFO", "replication"), "the replica takes over")
            replaced_s = time.monotonic() - killed_at
            await load.accepts_more(ACCEPTED_AFTER, at_risk)
            accepted_s = time.monotonic() - killed_at
        await asyncio.to_thread(victim.start)
        await asyncio.to_thread(cluster.wait_until_whole)
        ends = await _ends(there, list(load.values))
        lost = load.values.keys() - ends.keys()
        await load.check_waits(lost)

    figures.add(
        f"of {len(load.values)} accepted tasks, {len(received)} of them known to the replica, the failover lost"
        f" {len(lost)}, and the results of {journal.count(processes.directory) - len(ends)} executions; a new master"
        f" after {replaced_s:.1f} s, {ACCEPTED_AFTER} more tasks accepted there after {accepted_s:.1f} s"
    )
    assert {partition_of(task_id, PARTITIONS) for task_id in lost} <= at_risk
    assert not lost & received.keys()
    assert lost or not is_behind
    assert ends == {task_id: value for task_id, value in load.values.items() if task_id not in lost}
    finished = {task_id: record for task_id, record in received.items() if record.is_done}
    later = await asyncio.to_thread(_records, heir)
    assert finished
    assert {task_id: later[task_id] for task_id in finished} == finished
    assert "role:slave" in victim.text("INFO", "replication")


def _cut_off(heir: RedisServer, victim: RedisServer) -> None:
    """Have a replica receive nothing more of what its master does."""
    os.kill(heir.pid, signal.SIGSTOP)
    assert victim.command("CLIENT", "KILL", "TYPE", "replica") == ":1"


def _lease_key(partition: int) -> str:
    return Keyspace("default").partition(partition, PARTITIONS).lease


def _lose(victim: RedisServer, heir: RedisServer) -> Mapping[str, Record]:
    """Kill a master, and return what its replica has of it."""
    victim.kill()
    os.kill(heir.pid, signal.SIGCONT)
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

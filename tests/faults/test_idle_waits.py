"""What a thousand waits cost while nothing happens."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import grpc
import psutil
import pytest

from tailrace.client import AsyncClient, AsyncioResult
from tailrace.v1 import worker_service_pb2 as pb
from tailrace.v1.worker_service_pb2_grpc import WorkerServiceStub
from tests.faults.extent import IDLE_S
from tests.faults.figures import Figures
from tests.faults.processes import Process, Processes
from tests.faults.raw_worker import lease_request, success
from tests.redis_server import RedisServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]

WAITS = 1_000
WARM_UP_S = 4.0
MAX_COMMANDS_PER_S = 50
MAX_CORE_SHARE = 0.05
TOLD_WITHIN_S = 5.0
CALL_S = 20.0
WAIT_S = IDLE_S + 90


@pytest.mark.parametrize(("method", "streams"), [("Watch", 1), ("WaitFor", WAITS)])
async def test_a_thousand_idle_waits_cost_next_to_nothing(
    processes: Processes, redis: RedisServer, figures: Figures, method: str, streams: int
) -> None:
    """Waits share a client's stream, but for those that want progress, which have one each."""
    on_progress = None if method == "Watch" else lambda _: None
    server = await asyncio.to_thread(processes.server, redis.url)
    await asyncio.to_thread(processes.worker, server.address, queues=["elsewhere"])
    async with AsyncClient(server.address) as client:
        results = await client.options(queue="idle").map("idle", [(number,) for number in range(WAITS)])
        waits = [asyncio.create_task(result.get(timeout=WAIT_S, on_progress=on_progress)) for result in results]
        async with _monitor(redis.url) as monitor:
            await _count_commands(monitor, WARM_UP_S)
            usage = psutil.Process(server.process.pid)
            cpu_before_s = sum(usage.cpu_times()[:2])
            commands = await _count_commands(monitor, IDLE_S)
            cpu_s = sum(usage.cpu_times()[:2]) - cpu_before_s
        ended_early = sum(wait.done() for wait in waits)
        completed_at = time.monotonic()
        await _complete(server.address, results)
        values = await asyncio.wait_for(asyncio.gather(*waits), TOLD_WITHIN_S)
        told_s = time.monotonic() - completed_at

    figures.add(f"{commands / IDLE_S:.1f} commands/s, {cpu_s / IDLE_S:.1%} of a core, over {IDLE_S:g} s")
    figures.add(f"{WAITS} waits on {streams} streams ended {told_s:.1f} s after the first of their tasks")
    assert ended_early == 0
    assert values == list(range(WAITS))
    assert commands / IDLE_S < MAX_COMMANDS_PER_S
    assert cpu_s / IDLE_S < MAX_CORE_SHARE
    assert min(_durations_s(server.process, method, streams)) > IDLE_S


@asynccontextmanager
async def _monitor(url: str) -> AsyncIterator[asyncio.StreamReader]:
    """Have Redis tell of every command it is given."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        writer.write(b"MONITOR\r\n")
        assert await asyncio.wait_for(reader.readline(), CALL_S) == b"+OK\r\n"
        yield reader
    finally:
        writer.close()
        await writer.wait_closed()


async def _count_commands(monitor: asyncio.StreamReader, span_s: float) -> int:
    """Count what clients send for so long; what scripts do inside Redis comes as ``[0 lua]`` and is not counted."""
    count = 0
    try:
        async with asyncio.timeout(span_s):
            while True:
                line = await monitor.readline()
                assert line, "Redis ended the monitoring"
                count += b" lua] " not in line
    except TimeoutError:
        return count


async def _complete(address: str, results: Sequence[AsyncioResult]) -> None:
    numbers = {result.id: number for number, result in enumerate(results)}
    request = lease_request("completer", "idle", max_tasks=100, wait_s=1, start_immediately=True)
    async with grpc.aio.insecure_channel(address) as channel:
        stub = WorkerServiceStub(channel)
        while numbers:
            assignments = (await stub.LeaseTasks(request, timeout=CALL_S)).assignments
            ends = [success(each.lease, numbers.pop(each.lease.task_id)) for each in assignments]
            answer = await stub.BatchStoreResults(pb.BatchStoreResultsRequest(results=ends), timeout=CALL_S)
            assert not any(ack.HasField("error") for ack in answer.acks)


def _durations_s(server: Process, method: str, streams: int) -> list[float]:
    """Read, once they all are over, how long each stream was open."""
    server.wait_for_line(f"TaskService/{method}", "call_finished", count=streams)
    lines = server.lines_with(f"TaskService/{method}", "call_finished")
    assert len(lines) == streams
    return [json.loads(line)["duration_ms"] / 1_000 for line in lines]

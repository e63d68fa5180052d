"""The SDKs on a machine whose clock is a day off the store's: spans stay what they are."""

import asyncio
import threading
import time
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from redis.asyncio import Redis

from tailrace.client import Client, TaskFailedError, TaskState, WaitTimeoutError
from tailrace.client._payload import encode_arguments
from tailrace.server import Server, ServerConfig
from tailrace.server.store.base import Store
from tailrace.server.store.redis import RedisStore
from tailrace.server.store.sqlite.store import SqliteStore
from tailrace.v1 import task_pb2
from tailrace.v1.task_service_pb2 import SubmitRequest
from tailrace.v1.task_service_pb2_grpc import TaskServiceStub
from tailrace.worker import Worker, current_task
from tests.store.redis_harness import redis_url

__all__ = ["redis_url"]

DAY_MS = 86_400_000
WITHIN_S = 20.0
REDIS_CLOCK = "local function now() local t = redis.call('TIME') return t[1] * 1000 + math.floor(t[2] / 1000) + {} end"


@pytest.fixture(params=[-DAY_MS, DAY_MS], ids=["a day behind", "a day ahead"])
def skew_ms(request: pytest.FixtureRequest) -> int:
    skew_ms: int = request.param
    return skew_ms


@pytest.fixture(params=["sqlite", "redis"])
async def store(request: pytest.FixtureRequest, tmp_path: Path, skew_ms: int) -> AsyncIterator[Store]:
    """Make a store whose clock goes as ours does, a day off."""
    if request.param == "sqlite":
        yield SqliteStore(tmp_path / "tailrace.db", clock=lambda: time.time_ns() // 1_000_000 + skew_ms)
        return
    url, namespace = request.getfixturevalue("redis_url"), uuid.uuid4().hex
    yield RedisStore(url, replica_id="0a0a0a0a", namespace=namespace, partitions=1, clock=REDIS_CLOCK.format(skew_ms))
    async with Redis.from_url(url, protocol=2) as admin:
        await admin.unlink(*[key async for key in admin.scan_iter(f"tr:{namespace}:*", count=1000)])


@pytest.fixture
async def address(store: Store) -> AsyncIterator[str]:
    server = Server(ServerConfig(listen="127.0.0.1:0"), store=store)
    await server.start()
    yield server.address
    await server.stop(timedelta(0))


async def test_delay_is_as_long_as_the_submitter_wants(address: str) -> None:
    def delayed_s() -> float:
        worker = Worker()
        tell_time = worker.task(name="tell_time")(time.monotonic)
        with worker.running(address), Client(address) as client:
            begun = time.monotonic()
            result = client.options(delay=timedelta(seconds=0.7)).submit(tell_time)
            started: float = result.get(timeout=WITHIN_S)
            return started - begun

    assert 0.7 <= await asyncio.to_thread(delayed_s) < WITHIN_S


async def test_task_that_runs_longer_than_its_lease_is_kept_by_its_worker(address: str) -> None:
    def run() -> tuple[int, TaskState]:
        worker = Worker()
        may_end = threading.Event()

        @worker.task
        def take_long() -> int:
            may_end.wait(3)
            return current_task().attempt

        with worker.running(address), Client(address) as client:
            result = client.options(lease_duration=timedelta(seconds=2)).submit(take_long)
            with pytest.raises(WaitTimeoutError):
                result.get(timeout=2.6)
            return result.get(timeout=WITHIN_S), result.state

    assert await asyncio.to_thread(run) == (1, TaskState.SUCCESS)


async def test_attempt_is_ended_by_its_worker_when_its_time_is_up(address: str) -> None:
    def run() -> tuple[str, float]:
        worker = Worker()

        @worker.task
        async def rest_for_ever() -> None:
            await asyncio.Event().wait()

        timeout = task_pb2.TaskSpec(task_type="rest_for_ever", input=encode_arguments((), {}))
        timeout.execution_timeout.FromSeconds(1)
        with worker.running(address), Client(address) as client, grpc.insecure_channel(address) as channel:
            begun = time.monotonic()
            TaskServiceStub(channel).Submit(SubmitRequest(task_id="task-1", spec=timeout), timeout=WITHIN_S)
            with pytest.raises(TaskFailedError) as raised:
                client.result("task-1").get(timeout=WITHIN_S)
            return str(raised.value), time.monotonic() - begun

    error, took_s = await asyncio.to_thread(run)
    assert "execution_timeout of 1 s" in error
    # Long before the server would have done it.
    assert 1.0 <= took_s < 10.0

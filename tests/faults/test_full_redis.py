"""A Redis that has reached its maxmemory: nothing new is accepted, what was accepted goes on, all without a restart."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

import grpc
import pytest

from tailrace.client import Client, StoreFullError
from tailrace.server.store.redis.keys import Keyspace
from tailrace.v1 import task_pb2
from tailrace.v1 import task_service_pb2 as tasks_pb
from tailrace.v1.task_service_pb2_grpc import TaskServiceStub
from tests.faults import journal
from tests.faults.gates import Gate
from tests.faults.processes import Processes, ServerProcess
from tests.faults.raw_worker import reason_of
from tests.redis_server import RedisServer
from tests.wait import eventually

LEASE = timedelta(seconds=2)
CALL_S = 20.0
LEASES = Keyspace("default").partition(0, 1).lease


@contextmanager
def full(redis: RedisServer) -> Iterator[None]:
    """Leave Redis no room; at the end there is some again."""
    redis.command("CONFIG", "SET", "maxmemory", "1")
    try:
        yield
    finally:
        redis.command("CONFIG", "SET", "maxmemory", "0")


def lease_end_ms(redis: RedisServer, task_id: str) -> int:
    return int(redis.text("ZSCORE", LEASES, task_id))


def submit(server: ServerProcess) -> tasks_pb.SubmitResponse:
    with grpc.insecure_channel(server.address) as channel:
        request = tasks_pb.SubmitRequest(spec=task_pb2.TaskSpec(task_type="square"))
        return TaskServiceStub(channel).Submit(request, timeout=CALL_S)


def test_full_redis_refuses_new_tasks_and_lets_accepted_ones_end(processes: Processes, redis: RedisServer) -> None:
    here, there = (processes.server(redis.url) for _ in range(2))
    worker = processes.worker(there.address, concurrency=1)
    with (
        Client(here.address) as client,
        ThreadPoolExecutor() as threads,
        Gate(processes.directory, "work-1") as gate,
    ):
        running = client.options(lease_duration=LEASE).submit("linger", "work")
        worker.wait_for_line("execution_began: attempt 1")
        queued = [client.submit("square", number) for number in range(5)]
        waits = [threads.submit(result.get, CALL_S) for result in (running, *queued)]

        with full(redis):
            with pytest.raises(grpc.RpcError) as refusal:
                submit(here)
            with pytest.raises(StoreFullError):
                client.submit("square", 7)
            leased_until_ms = lease_end_ms(redis, running.id)
            wanted_ms = leased_until_ms + 2 * LEASE // timedelta(milliseconds=1)
            eventually(lambda: lease_end_ms(redis, running.id) >= wanted_ms, "the running task beats on")
            gate.open()
            execution_id, *squares = [wait.result() for wait in waits]
        later = client.submit("square", 9).get(timeout=CALL_S)

    assert isinstance(refusal.value, grpc.Call)
    assert (refusal.value.code(), reason_of(refusal.value)) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "STORE_FULL")
    assert [square["value"] for square in squares] == [0, 1, 4, 9, 16]
    assert later["value"] == 81
    executions = {execution.execution_id: execution for execution in journal.executions(processes.directory)}
    assert (executions[execution_id].attempt, len(executions)) == (1, 7)
    assert not here.process.lines_with('"level": "error"')
    assert not there.process.lines_with('"level": "error"')

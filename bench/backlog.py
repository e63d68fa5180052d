"""What it costs to look at, and to clear, a large backlog: `python -m bench.backlog --tasks 1000000`.

Starts a Redis of its own (or a SQLite file with `--store sqlite`) and a server, submits tasks with a payload of 100
bytes, and prints what operators' calls take, how long purging kept Redis busy at a time, and what memory a task takes.
Then a part of them is run, with results of 200 bytes, for what a finished task takes.
"""

import argparse
import contextlib
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import grpc
import redis

from tailrace.testing import run_server
from tailrace.v1 import admin_service_pb2 as admin
from tailrace.v1 import admin_service_pb2_grpc, task_pb2, task_service_pb2_grpc, worker_service_pb2_grpc
from tailrace.v1 import task_service_pb2 as tasks
from tailrace.v1 import worker_service_pb2 as worker
from tests.redis_server import redis_server

BATCH = 1_000
ROUNDS = 20
CALL_S = 60.0
PAYLOAD = task_pb2.Payload(content_type="application/json", data=b'{"args": ["' + b"x" * 71 + b'"], "kwargs": {}}')
RESULT = task_pb2.Payload(content_type="application/json", data=b'"' + b"y" * 198 + b'"')
SPEC = task_pb2.TaskSpec(task_type="bench", queue="backlog", input=PAYLOAD)


@dataclass(frozen=True, slots=True)
class Stubs:
    """The services of one server."""

    tasks: task_service_pb2_grpc.TaskServiceStub
    worker: worker_service_pb2_grpc.WorkerServiceStub
    admin: admin_service_pb2_grpc.AdminServiceStub


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--finished", type=int, default=50_000)
    parser.add_argument("--store", choices=["redis", "sqlite"], default="redis")
    arguments = parser.parse_args()
    with (
        open_store(arguments.store) as (url, client),
        run_server(store=url) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stubs = Stubs(
            task_service_pb2_grpc.TaskServiceStub(channel),
            worker_service_pb2_grpc.WorkerServiceStub(channel),
            admin_service_pb2_grpc.AdminServiceStub(channel),
        )
        measure(stubs, client, waiting=arguments.tasks, finished=arguments.finished)


@contextlib.contextmanager
def open_store(kind: str) -> Iterator[tuple[str, "redis.Redis | None"]]:
    """Open an empty store; with Redis, a client that looks at it from the side."""
    with tempfile.TemporaryDirectory(prefix="backlog-") as directory:
        if kind == "sqlite":
            yield f"sqlite:///{Path(directory, 'tailrace.db')}", None
            return
        with redis_server(appendonly="no", save="") as server, redis.Redis(port=server.port) as client:
            yield server.url, client


def measure(stubs: Stubs, client: "redis.Redis | None", *, waiting: int, finished: int) -> None:
    """Submit, look, run a part, purge; print what each took."""
    empty = used_memory(client)
    began = time.monotonic()
    submit(stubs, waiting)
    print(f"{waiting:,} tasks submitted in {time.monotonic() - began:.0f} s")
    if client is not None:
        print(f"a waiting task: {(used_memory(client) - empty) / waiting:.0f} bytes")
    print(f"ListQueues: {timed(lambda: stubs.admin.ListQueues(admin.ListQueuesRequest(), timeout=CALL_S))}")
    look_through(stubs)
    full = used_memory(client)
    run_some(stubs, finished)
    if client is not None and finished:
        waiting_bytes = (full - empty) / waiting
        print(f"a finished task: {waiting_bytes + (used_memory(client) - full) / finished:.0f} bytes")
        client.config_set("slowlog-log-slower-than", 1_000)  # µs: purging, and little else
        client.config_set("slowlog-max-len", 100_000)
        client.slowlog_reset()
    purge(stubs)
    if client is not None:
        calls = sorted(entry["duration"] / 1000 for entry in client.slowlog_get(100_000))
        usual, rare = calls[len(calls) // 2], calls[len(calls) * 999 // 1000]
        print(
            f"calls of Redis over 1 ms while purging: median {usual:.1f} ms, 99.9 % within {rare:.1f} ms, "
            f"longest {calls[-1]:.1f} ms of {len(calls):,}"
        )


def submit(stubs: Stubs, count: int) -> None:
    """Submit tasks a thousand at a time, four calls under way."""

    def submit_batch(begin: int) -> None:
        ids = [str(uuid.uuid4()) for _ in range(min(BATCH, count - begin))]
        requests = [tasks.SubmitRequest(task_id=task_id, spec=SPEC) for task_id in ids]
        items = stubs.tasks.BatchSubmit(tasks.BatchSubmitRequest(requests=requests), timeout=CALL_S).items
        assert all(item.HasField("submitted") for item in items)

    with ThreadPoolExecutor(max_workers=4) as callers:
        for _ in callers.map(submit_batch, range(0, count, BATCH)):
            pass


def look_through(stubs: Stubs) -> None:
    """Page through the tasks, with and without a filter."""
    for title, request in (
        ("a page of ListTasks (50)", tasks.ListTasksRequest()),
        ("a page of ListTasks (1000)", tasks.ListTasksRequest(page_size=1000)),
        ("a page of ListTasks that finds nothing", tasks.ListTasksRequest(filter='state = "FAILURE"')),
    ):
        token = ""

        def turn(request: tasks.ListTasksRequest = request) -> None:
            nonlocal token
            request.page_token = token
            token = stubs.tasks.ListTasks(request, timeout=CALL_S).next_page_token

        print(f"{title}: {timed(turn)}")


def run_some(stubs: Stubs, count: int) -> None:
    """Run tasks to their end."""
    info = worker.WorkerInfo(worker_id="bench", queues=["backlog"])
    left = count
    while left > 0:
        request = worker.LeaseTasksRequest(worker=info, max_tasks=min(100, left), start_immediately=True)
        assignments = stubs.worker.LeaseTasks(request, timeout=CALL_S).assignments
        results = [worker.AttemptResult(lease=assignment.lease, success=RESULT) for assignment in assignments]
        stubs.worker.BatchStoreResults(worker.BatchStoreResultsRequest(results=results), timeout=CALL_S)
        left -= len(results)


def purge(stubs: Stubs) -> None:
    """Purge the queue, call after call."""
    began, calls, purged = time.monotonic(), 0, 0
    while True:
        answer = stubs.admin.PurgeQueue(admin.PurgeQueueRequest(queue="backlog", force=True), timeout=CALL_S)
        calls += 1
        purged += answer.purge_count
        if not answer.remaining_count:
            break
    print(f"{purged:,} tasks purged in {time.monotonic() - began:.0f} s, {calls} calls")


def timed(call: Callable[[], object]) -> str:
    """Call some times and tell how long that took."""
    call()
    spans_ms = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        call()
        spans_ms.append((time.perf_counter() - began) * 1000)
    return f"median {statistics.median(spans_ms):.1f} ms, longest {max(spans_ms):.1f} ms"


def used_memory(client: "redis.Redis | None") -> int:
    """Ask Redis what it uses."""
    return int(client.info("memory")["used_memory"]) if client is not None else 0


if __name__ == "__main__":
    main()

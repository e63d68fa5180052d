"""What the Python SDK costs a caller: `python -m bench.sdk`.

Starts a Redis of its own, a server and a worker, each a process, and prints the median of several rounds:

- one task at a time, submitted and waited for, by both clients;
- single `submit` calls from many threads, or coroutines, of tasks that nobody runs;
- the same with `get`;
- `map` and `as_completed` of as many, from the first submit to the last result.
"""

import argparse
import asyncio
import platform
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from tailrace.client import AsyncClient, Client
from tests.faults.processes import Processes
from tests.redis_server import redis_server

WITHIN_S = 60.0
ONE_BY_ONE = 200
ROUNDS = 3
TASK = "echo"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--tasks", type=int, default=5_000)
    parser.add_argument("--threads", type=int, default=50)
    parser.add_argument("--coroutines", type=int, default=1_000)
    arguments = parser.parse_args()
    tasks, threads, coroutines = arguments.tasks, arguments.threads, arguments.coroutines
    print(f"Python {platform.python_version()}, grpcio {grpc.__version__}, {ROUNDS} rounds, {tasks:,} tasks in each")
    with scene() as address:
        with Client(address) as client:
            bench_threads(client, tasks, threads)
        asyncio.run(bench_coroutines(address, tasks, coroutines))


@contextmanager
def scene() -> Iterator[str]:
    """Run a server on a Redis, and a worker."""
    with redis_server() as redis, tempfile.TemporaryDirectory(prefix="bench-") as directory:
        processes = Processes(Path(directory))
        try:
            server = processes.server(redis.url)
            worker = processes.python(
                "worker", "-m", "tailrace.worker", "bench.sdk_tasks:worker", "--address", server.address
            )
            worker.wait_for_line("server_connected")
            yield server.address
        finally:
            processes.close()


def bench_threads(client: Client, tasks: int, threads: int) -> None:
    """Measure the synchronous client."""
    running, unheard = client.options(queue="bench"), client.options(queue="nobody")

    def one() -> None:
        running.submit(TASK, 1).get(WITHIN_S)

    def from_threads(call: Callable[[int], object]) -> None:
        with ThreadPoolExecutor(threads) as callers:
            for _ in callers.map(call, range(tasks)):
                pass

    def as_completed() -> None:
        results = running.map(TASK, [(number,) for number in range(tasks)])
        assert sum(1 for _ in client.as_completed(results, WITHIN_S)) == tasks

    one()
    print_latency("Client, one at a time", [timed(one) for _ in range(ONE_BY_ONE)])
    submit: Callable[[int], object] = lambda number: unheard.submit(TASK, number)  # noqa: E731
    get: Callable[[int], object] = lambda number: running.submit(TASK, number).get(WITHIN_S)  # noqa: E731
    rates(f"Client, submit from {threads} threads", tasks, lambda: from_threads(submit))
    rates(f"Client, submit and get from {threads} threads", tasks, lambda: from_threads(get))
    rates("Client, map and as_completed", tasks, as_completed)


async def bench_coroutines(address: str, tasks: int, coroutines: int) -> None:
    """Measure the asyncio client."""
    async with AsyncClient(address) as client:
        running, unheard = client.options(queue="bench"), client.options(queue="nobody")

        async def one() -> None:
            await (await running.submit(TASK, 1)).get(WITHIN_S)

        async def submit(number: int) -> None:
            await unheard.submit(TASK, number)

        async def get(number: int) -> None:
            assert await (await running.submit(TASK, number)).get(WITHIN_S) == number

        async def from_coroutines(call: Callable[[int], Coroutine[Any, Any, None]]) -> None:
            numbers = iter(range(tasks))

            async def caller() -> None:
                for number in numbers:
                    await call(number)

            await asyncio.gather(*(caller() for _ in range(coroutines)))

        async def as_completed() -> None:
            results = await running.map(TASK, [(number,) for number in range(tasks)])
            assert len([result async for result in client.as_completed(results, WITHIN_S)]) == tasks

        await one()
        print_latency("AsyncClient, one at a time", [await timed_async(one) for _ in range(ONE_BY_ONE)])
        for title, call in (("submit", submit), ("submit and get", get)):
            spans = [await timed_async(lambda call=call: from_coroutines(call)) for _ in range(ROUNDS)]  # type: ignore[misc]
            print_rates(f"AsyncClient, {title} from {coroutines:,} coroutines", tasks, spans)
        spans = [await timed_async(as_completed) for _ in range(ROUNDS)]
        print_rates("AsyncClient, map and as_completed", tasks, spans)


def rates(title: str, tasks: int, call: Callable[[], object]) -> None:
    """Call some times and print how many tasks that is a second."""
    print_rates(title, tasks, [timed(call) for _ in range(ROUNDS)])


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """How long something took, and how much CPU this process used meanwhile."""

    wall_s: float
    cpu_s: float


def timed(call: Callable[[], object]) -> Span:
    """Tell how long a call took."""
    began_s, cpu_s = time.perf_counter(), time.process_time()
    call()
    return Span(time.perf_counter() - began_s, time.process_time() - cpu_s)


async def timed_async(call: Callable[[], Awaitable[object]]) -> Span:
    """Tell how long a coroutine took."""
    began_s, cpu_s = time.perf_counter(), time.process_time()
    await call()
    return Span(time.perf_counter() - began_s, time.process_time() - cpu_s)


def print_latency(title: str, spans: list[Span]) -> None:
    """Print the middle and the slow end of some spans."""
    walls_ms = sorted(span.wall_s * 1000 for span in spans)
    middle_ms, slow_ms = walls_ms[len(walls_ms) // 2], walls_ms[len(walls_ms) * 99 // 100]
    print(f"{title}: p50 {middle_ms:.2f} ms, p99 {slow_ms:.2f} ms, {cpu_us(spans):,.0f} us of CPU")


def print_rates(title: str, tasks: int, spans: list[Span]) -> None:
    """Print what some spans make of so many tasks."""
    walls_s = [span.wall_s for span in spans]
    rate, best = tasks / statistics.median(walls_s), tasks / min(walls_s)
    print(f"{title}: {rate:,.0f} tasks/s, best {best:,.0f}, {cpu_us(spans) / tasks:,.0f} us of CPU each", flush=True)


def cpu_us(spans: list[Span]) -> float:
    """Tell the usual CPU time of this process, which a noisy machine changes less than anything else."""
    return statistics.median(span.cpu_s for span in spans) * 1e6


if __name__ == "__main__":
    main()

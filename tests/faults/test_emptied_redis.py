"""A Redis that comes back without its data: whoever waits is told, and the server goes on, or stops if it is to."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tailrace.client import Client, StoreEmptiedError
from tailrace.server.store.redis.keys import Keyspace
from tests.faults.processes import Processes
from tests.redis_server import RedisServer, redis_server
from tests.wait import eventually

CALL_S = 30.0
EXIT_WITHIN_S = 15.0
RECORDS = f"{Keyspace('default').partition(0, 1).prefix}t:"


@pytest.fixture
def forgetful() -> Iterator[RedisServer]:
    """Run a Redis that keeps nothing on disk."""
    with redis_server(appendonly="no") as server:
        yield server


def restart(redis: RedisServer) -> None:
    redis.kill()
    redis.start()


def flush(redis: RedisServer) -> None:
    redis.command("FLUSHALL")


@pytest.mark.parametrize("empty", [restart, flush])
def test_waits_end_at_every_server_and_all_goes_on(
    processes: Processes, forgetful: RedisServer, empty: Callable[[RedisServer], None]
) -> None:
    servers = [processes.server(forgetful.url) for _ in range(2)]
    with ThreadPoolExecutor() as threads, Client(servers[0].address) as here, Client(servers[1].address) as there:
        lost = here.options(queue="nobody").submit("square", 1)
        waits = [threads.submit(client.result(lost.id).get, CALL_S) for client in (here, there)]
        eventually(lambda: "," in forgetful.text("HGET", f"{RECORDS}{lost.id}", "w"), "both servers know of their wait")

        empty(forgetful)
        errors = [wait.exception() for wait in waits]
        processes.worker(servers[1].address)
        square = here.submit("square", 5).get(timeout=CALL_S)

    assert [type(error) for error in errors] == [StoreEmptiedError, StoreEmptiedError]
    assert square["value"] == 25
    for server in servers:
        assert server.process.is_running
        assert len(server.process.lines_with('"error"', "store_emptied")) == 1


def test_server_that_is_to_stop_on_an_empty_store_exits_with_1(processes: Processes, forgetful: RedisServer) -> None:
    server = processes.server(forgetful.url, "--stop-on-empty-store")

    flush(forgetful)

    assert server.process.wait(EXIT_WITHIN_S) == 1
    assert server.process.lines_with("server_failed", "the store came back without its data")

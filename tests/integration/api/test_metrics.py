"""The HTTP endpoint for metrics, and what it tells beside the fate of tasks."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from tailrace.server import Server, ServerConfig
from tailrace.server.domain.errors import StoreUnavailableError
from tailrace.server.metrics import endpoint, queue_depths
from tailrace.server.metrics.catalogue import FAMILIES, Kind
from tailrace.server.store.operators import QueueStats
from tailrace.server.store.sqlite.store import SqliteStore
from tailrace.v1 import task_service_pb2, worker_service_pb2
from tests.integration.api.scraping import Scrape, get, metered, scrape
from tests.integration.api.serving import CALL_S, Api, a_request, refused
from tests.integration.api.work_peer import WorkPeer
from tests.store.harness import Harness
from tests.wait import eventually_async

TASKS, WORKERS = "tailrace.v1.TaskService", "tailrace.v1.WorkerService"


class AwayStore(SqliteStore):
    """Tells of its queues when it is let, and counts how often it was asked."""

    asked = 0
    hangs = False
    is_away = False
    is_broken = False

    async def list_queues(self, partition: int, after: str, limit: int) -> list[QueueStats]:
        self.asked += 1
        if self.hangs:
            await asyncio.get_running_loop().create_future()
        if self.is_away:
            raise StoreUnavailableError("the store is away")
        if self.is_broken:
            raise LookupError("something that nobody foresaw")
        return await super().list_queues(partition, after, limit)


@pytest.fixture
async def api(sqlite: Harness) -> AsyncIterator[Api]:
    async with metered(sqlite) as api:
        yield api


@pytest.fixture
def away(sqlite: Harness) -> AwayStore:
    assert isinstance(sqlite.store, SqliteStore)
    return AwayStore(sqlite.store.path, clock=lambda: sqlite.now_ms)


async def test_every_metric_is_there_from_the_start_and_has_its_kind(api: Api) -> None:
    scraped = await scrape(api)

    kinds = {family.name.removesuffix("_total"): str(family.kind) for family in FAMILIES}
    assert {name: scraped.families[name].type for name in kinds} == kinds
    assert all(scraped.families[family.name.removesuffix("_total")].documentation == family.text for family in FAMILIES)
    assert {name for name in scraped.families if not name.startswith("process_")} == kinds.keys()


async def test_a_scrape_may_ask_for_open_metrics(api: Api) -> None:
    plain = await get(api.server.metrics_address, "/metrics")
    open_metrics = await get(
        api.server.metrics_address, "/metrics", accept="application/openmetrics-text; version=1.0.0"
    )

    assert plain.headers["content-type"].startswith("text/plain")
    assert open_metrics.headers["content-type"].startswith("application/openmetrics-text")
    assert open_metrics.body.endswith("# EOF\n")


async def test_calls_are_counted_by_method_and_status(api: Api) -> None:
    await api.submit()
    await refused(api.tasks.Submit(a_request("bad", queue="no queue"), timeout=CALL_S))

    scraped = await scrape(api)

    assert scraped.values("tailrace_calls_total") == {
        (f"{TASKS}/Submit", "OK"): 1,
        (f"{TASKS}/Submit", "INVALID_ARGUMENT"): 1,
    }
    assert scraped.values("tailrace_call_duration_seconds_count") == {f"{TASKS}/Submit": 2}
    assert scraped.values("tailrace_open_calls") == {f"{TASKS}/Submit": 0}


async def test_open_streams_are_told_and_how_long_they_last_is_not(api: Api) -> None:
    await api.submit()
    waiting = api.tasks.WaitFor(
        task_service_pb2.WaitForRequest(targets=[task_service_pb2.WaitTarget(task_id="task-1")]), timeout=CALL_S
    )
    await waiting.read()
    watching = api.tasks.Watch(timeout=CALL_S)
    await watching.wait_for_connection()

    open_calls = (await scrape(api)).values("tailrace_open_calls")
    await api.run("task-1")
    await watching.done_writing()
    for stream in (waiting, watching):
        while await stream.read() != grpc.aio.EOF:
            pass
    await eventually_async(lambda: api.server.metrics is not None and not +api.server.metrics.calls.open, "all ended")
    scraped = await scrape(api)

    assert (open_calls[f"{TASKS}/WaitFor"], open_calls[f"{TASKS}/Watch"]) == (1, 1)
    ended = scraped.values("tailrace_calls_total")
    assert (ended[f"{TASKS}/WaitFor", "OK"], ended[f"{TASKS}/Watch", "OK"]) == (1, 1)
    assert f"{TASKS}/WaitFor" not in scraped.values("tailrace_call_duration_seconds_count")


async def test_connected_workers_are_told_with_what_they_have_and_what_they_would_take(api: Api) -> None:
    peer = WorkPeer(api)
    await peer.hello(flow_control=worker_service_pb2.FlowControl(max_outstanding_tasks=5))
    await api.submit_many("task-1", "task-2")
    await eventually_async(lambda: api.server.presence.workers()[0].outstanding_count == 2, "both were assigned")

    connected = await scrape(api)
    await peer.close()
    gone = await scrape(api)

    assert connected.value("tailrace_connected_workers") == 1
    assert (connected.value("tailrace_worker_tasks"), connected.value("tailrace_worker_credits")) == (2, 3)
    assert connected.values("tailrace_open_calls")[f"{WORKERS}/Work"] == 1
    assert [gone.value(f"tailrace_{name}") for name in ("connected_workers", "worker_tasks", "worker_credits")] == [
        0
    ] * 3


async def test_calls_of_the_store_are_measured_with_how_much_they_carry(api: Api) -> None:
    await api.submit_many("task-1", "task-2", "task-3")
    await api.lease_many(2)

    scraped = await scrape(api)

    assert scraped.values("tailrace_store_call_duration_seconds_count")["submit_tasks"] == 1
    assert scraped.values("tailrace_store_call_items_sum")["submit_tasks"] == 3
    assert scraped.values("tailrace_store_call_items_sum")["lease_tasks"] == 2
    assert scraped.values("tailrace_store_errors_total") == {}


async def test_what_the_auditor_mended_is_told(api: Api) -> None:
    api.server.auditor.audit_repairs["queue_counts"] += 2

    assert (await scrape(api)).values("tailrace_audit_repairs_total") == {"queue_counts": 2}


async def test_a_loop_that_was_held_up_shows_in_its_lag(api: Api) -> None:
    def lags(scraped: Scrape) -> float:
        return scraped.values("tailrace_event_loop_lag_seconds_bucket").get("+Inf", 0)

    assert api.server.metrics is not None
    await eventually_async(lambda: list(api.server.metrics._loop_lag.lag_s.distributions()), "measured")  # type: ignore[union-attr]  # asserted above

    assert lags(await scrape(api)) >= 1


async def test_many_scrapes_read_the_queues_once(sqlite: Harness, away: AwayStore) -> None:
    async with metered(sqlite, away) as api:
        await asyncio.gather(*(scrape(api) for _ in range(10)))

        assert away.asked == 1


@pytest.mark.parametrize("fault", ["hangs", "is_away", "is_broken"])
async def test_a_store_that_is_away_fails_and_holds_up_no_scrape(
    sqlite: Harness, away: AwayStore, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_depths, "READ_EVERY_S", 0)
    async with metered(sqlite, away) as api:
        await api.submit()
        there = await scrape(api)
        setattr(away, fault, True)
        began_at = asyncio.get_running_loop().time()
        gone = [await scrape(api), await scrape(api)]
        took_s = asyncio.get_running_loop().time() - began_at

        assert (there.value("tailrace_store_up"), len(there.values("tailrace_queue_tasks"))) == (1, 3)
        for each in gone:
            assert (each.value("tailrace_store_up"), each.values("tailrace_queue_tasks")) == (0, {})
            assert each.values("tailrace_tasks_submitted_total") == {("default", "add"): 1}
        assert took_s < 5 * queue_depths.DEADLINE_S


async def test_what_asked_the_store_in_vain_is_told(
    sqlite: Harness, away: AwayStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_depths, "READ_EVERY_S", 0)
    away.is_away = True
    async with metered(sqlite, away) as api:
        await scrape(api)
        scraped = await scrape(api)

        assert scraped.values("tailrace_store_errors_total") == {("list_queues", "unavailable"): 2}


async def test_a_server_is_healthy_while_it_answers_and_ready_until_it_drains(sqlite: Harness) -> None:
    server = Server(ServerConfig(listen="127.0.0.1:0", metrics="127.0.0.1:0", grace_s=0), store=sqlite.store)
    await server.start()
    serving = [await get(server.metrics_address, path) for path in ("/healthz", "/readyz")]
    stopping = asyncio.create_task(server.stop(timedelta(seconds=1)))
    await eventually_async(lambda: not server._is_serving, "it drains")
    draining = [await get(server.metrics_address, path) for path in ("/healthz", "/readyz")]
    await stopping

    assert [answer.status for answer in serving] == [200, 200]
    assert [answer.status for answer in draining] == [200, 503]


async def test_a_stopped_server_gives_its_address_back(sqlite: Harness) -> None:
    async with metered(sqlite) as api:
        port = api.server.metrics_port

    with socket.create_server(("127.0.0.1", port)):
        pass


async def test_an_address_in_use_is_refused_and_nothing_is_left_open(sqlite: Harness) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        server = Server(ServerConfig(listen="127.0.0.1:0", metrics=address), store=sqlite.store)

        with pytest.raises(OSError, match=f"cannot serve metrics on {address} .*--metrics HOST:PORT"):
            await server.start()
        await server.stop(timedelta(0))


async def test_a_command_whose_metrics_cannot_be_served_ends_and_says_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        command = ["--listen", "127.0.0.1:0", "--store", f"sqlite:///{tmp_path}/one.db", "--metrics", address]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tailrace.server", *command, stderr=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(30):
            _, complaint = await process.communicate()

    assert process.returncode == 1
    assert f"cannot serve metrics on {address}" in complaint.decode().splitlines()[-1]


async def test_two_servers_in_one_process_count_for_themselves(sqlite: Harness, away: AwayStore) -> None:
    other = SqliteStore(away.path.with_name("other.db"), clock=lambda: sqlite.now_ms)
    async with metered(sqlite) as one, metered(sqlite, other) as two:
        await one.submit()

        assert (await scrape(one)).values("tailrace_tasks_submitted_total") == {("default", "add"): 1}
        assert (await scrape(two)).values("tailrace_tasks_submitted_total") == {}


async def test_other_requests_are_refused_in_words(api: Api) -> None:
    address = api.server.metrics_address
    elsewhere, posted = await get(address, "/"), await get(address, "/metrics", method="POST")
    head = await get(address, "/metrics", method="HEAD")

    assert (elsewhere.status, elsewhere.body) == (404, "there are /metrics, /healthz, /readyz\n")
    assert (posted.status, posted.body) == (405, "only GET is answered here\n")
    assert (head.status, head.body) == (200, "")
    assert int(head.headers["content-length"]) > 1_000


@pytest.mark.parametrize("raw", [b"", b"GET /metrics", b"\xff\r\n\r\n", b"GET /metrics HTTP/1.1\r\n" + b"x" * 99_999])
async def test_broken_requests_harm_nobody(api: Api, raw: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", api.server.metrics_port)
    writer.write(raw)
    if writer.can_write_eof():
        writer.write_eof()
    async with asyncio.timeout(CALL_S):
        with suppress(ConnectionResetError):
            await reader.read()
    writer.close()

    assert (await get(api.server.metrics_address, "/healthz")).status == 200


async def test_connections_that_say_nothing_are_few_and_short(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "MAX_CONNECTIONS", 1)
    monkeypatch.setattr(endpoint, "DEADLINE_S", 0.3)
    silent, silent_writer = await asyncio.open_connection("127.0.0.1", api.server.metrics_port)
    second, second_writer = await asyncio.open_connection("127.0.0.1", api.server.metrics_port)
    async with asyncio.timeout(CALL_S):
        assert await second.read() == b""
        assert await silent.read() == b""
    for writer in (silent_writer, second_writer):
        writer.close()

    assert (await get(api.server.metrics_address, "/healthz")).status == 200


def test_every_metric_is_named_as_prometheus_would_have_it() -> None:
    for family in FAMILIES:
        assert family.name.startswith("tailrace_")
        assert family.name.endswith("_total") == (family.kind is Kind.COUNTER)
        assert "task_id" not in family.labels
        if family.kind is Kind.HISTOGRAM:
            assert family.name.endswith(("_seconds", "_items"))

"""Many tasks at once, by both clients: gathered, and revoked."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tailrace.client import (
    AsyncClient,
    Client,
    InvalidRequestError,
    TaskNotFoundError,
    TaskRevokedError,
    WaitTimeoutError,
)
from tailrace.testing import run_server, run_server_async
from tests.integration.hand_worker import HandWorker
from tests.wait import eventually

WITHIN_S = 30.0


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with run_server() as server:
        yield server.address


@pytest.fixture
def client(address: str) -> Iterator[Client]:
    with Client(address, call_timeout=20) as connected:
        yield connected


@pytest.fixture
def worker(address: str) -> Iterator[HandWorker]:
    worker = HandWorker(address)
    yield worker
    worker.close()


@pytest.fixture
async def async_address() -> AsyncIterator[str]:
    async with run_server_async() as server:
        yield server.address


@pytest.fixture
async def async_client(async_address: str) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(async_address, call_timeout=20) as connected:
        yield connected


@pytest.fixture
async def async_worker(async_address: str) -> AsyncIterator[HandWorker]:
    worker = HandWorker(async_address)
    yield worker
    await asyncio.to_thread(worker.close)


def test_values_come_in_order_whatever_was_done_first(client: Client, worker: HandWorker) -> None:
    results = client.map("square", [(number,) for number in range(10)])
    first, *others = [worker.take() for _ in results]
    with ThreadPoolExecutor(1) as threads:
        gathering = threads.submit(client.gather, results, WITHIN_S)
        for number, assignment in reversed(list(enumerate(others, start=1))):
            worker.succeed(assignment, number * number)
        worker.succeed(first, 0)

        assert gathering.result(WITHIN_S) == [number * number for number in range(10)]

    assert client.gather([results[3], results[2], results[3]]) == [9, 4, 9]
    assert client.gather(iter([])) == []


def test_the_first_failure_is_raised_though_others_go_on(client: Client, worker: HandWorker) -> None:
    open_, failing = client.options(queue="never").submit("a"), client.submit("b")
    worker.fail(worker.take(), type="KeyError", message="'a'")

    with pytest.raises(KeyError, match="a"):
        client.gather([open_, failing], WITHIN_S)
    with pytest.raises(KeyError, match="a"):
        client.gather([failing, open_], WITHIN_S)

    assert open_.state == "PENDING"


def test_failures_are_kept_in_their_places_for_those_who_want_all(client: Client, worker: HandWorker) -> None:
    good, failing, revoked = client.map("task", [(1,), (2,), (3,)])
    worker.succeed(worker.take(), 1)
    worker.fail(worker.take(), message="no")
    revoked.revoke()
    unknown = client.result("nobody-submitted-this")

    values = client.gather([failing, unknown, good, revoked], WITHIN_S, return_exceptions=True)

    assert [type(value) for value in values] == [ValueError, TaskNotFoundError, int, TaskRevokedError]
    with pytest.raises(TaskNotFoundError):
        client.gather([good, unknown], WITHIN_S)


@pytest.mark.parametrize("return_exceptions", [False, True])
def test_gathering_ends_in_time(client: Client, return_exceptions: bool) -> None:
    results = client.options(queue="never").map("square", [(1,), (2,)])

    with pytest.raises(WaitTimeoutError, match="2 tasks were not done"):
        client.gather(results, 0.3, return_exceptions=return_exceptions)


def test_a_failure_ends_the_gathering_of_more_tasks_than_a_stream_takes(client: Client, worker: HandWorker) -> None:
    results = client.options(queue="never").map("square", [(number,) for number in range(1500)])
    failing = client.submit("b")
    worker.fail(worker.take())

    with pytest.raises(ValueError, match="no"):
        client.gather([*results, failing], WITHIN_S)

    eventually(lambda: not _waiting_threads(), "no thread waits for the other tasks")


def _waiting_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "tailrace-wait"]


def test_many_tasks_are_revoked_by_id_and_by_result(client: Client, worker: HandWorker) -> None:
    running, done = client.map("task", [(1,), (2,)])
    taken = {assignment.lease.task_id: assignment for assignment in (worker.take(), worker.take())}
    worker.succeed(taken[done.id], 1)
    fresh = client.options(queue="never").submit("task")

    states = client.revoke(fresh, fresh.id, running, done.id, "nobody-submitted-this", reason="not needed")

    assert states == {fresh.id: "REVOKED", running.id: "STARTED", done.id: "SUCCESS"}
    assert client.revoke(running, force=True) == {running.id: "REVOKED"}
    with pytest.raises(TaskRevokedError, match="not needed"):
        fresh.get(WITHIN_S)
    assert client.revoke() == {}


def test_more_tasks_than_a_call_takes_are_revoked(client: Client) -> None:
    results = client.options(queue="never").map("square", [(number,) for number in range(1001)])

    states = client.revoke(*results)

    assert states == dict.fromkeys((result.id for result in results), "REVOKED")


def test_an_id_that_is_none_is_refused_and_the_others_are_revoked(client: Client) -> None:
    result = client.options(queue="never").submit("task")

    with pytest.raises(InvalidRequestError) as caught:
        client.revoke("no id", result)

    assert caught.value.task_id == "no id"
    assert result.state == "REVOKED"


def test_a_list_of_results_is_refused_with_what_to_do(client: Client) -> None:
    with pytest.raises(TypeError, match=r"client\.revoke\(\*results\)"):
        client.revoke([client.result("t1")])  # type: ignore[arg-type]


async def test_the_asyncio_client_gathers(async_client: AsyncClient, async_worker: HandWorker) -> None:
    results = await async_client.map("square", [(number,) for number in range(10)])
    gathering = asyncio.create_task(async_client.gather(results, WITHIN_S))
    await asyncio.to_thread(async_worker.work_through, 10)

    assert await gathering == [number * number for number in range(10)]
    assert all(result.successful() for result in results)
    unknown = async_client.result("nobody-submitted-this")
    with pytest.raises(TaskNotFoundError):
        await async_client.gather([*results, unknown], WITHIN_S)
    kept = await async_client.gather([unknown, results[9]], WITHIN_S, return_exceptions=True)
    assert isinstance(kept[0], TaskNotFoundError)
    assert kept[1] == 81


async def test_the_asyncio_client_revokes_many(async_client: AsyncClient) -> None:
    results = await async_client.map("square", [(1,), (2,)])

    states = await async_client.revoke(*results, "nobody-submitted-this")

    assert states == {result.id: "REVOKED" for result in results}
    with pytest.raises(TaskRevokedError):
        await async_client.gather(results, WITHIN_S)

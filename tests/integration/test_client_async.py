"""The asyncio client against a real server."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tailrace.client import (
    AsyncClient,
    TaskFailedError,
    TaskNotFoundError,
    TaskRevokedError,
    WaitTimeoutError,
)
from tailrace.testing import run_server_async
from tests.integration.hand_worker import TRACEBACK, HandWorker


@pytest.fixture
async def address() -> AsyncIterator[str]:
    async with run_server_async() as server:
        yield server.address


@pytest.fixture
async def client(address: str) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(address, call_timeout=20) as connected:
        yield connected


@pytest.fixture
async def worker(address: str) -> AsyncIterator[HandWorker]:
    worker = HandWorker(address)
    yield worker
    # Closing waits for the channel's threads, and they for the server on this loop.
    await asyncio.to_thread(worker.close)


async def take_and(worker: HandWorker, ending: str, *args: object, **fields: object) -> None:
    assignment = await asyncio.to_thread(worker.take)
    await asyncio.to_thread(getattr(worker, ending), assignment, *args, **fields)


async def test_a_task_returns_its_value(client: AsyncClient, worker: HandWorker) -> None:
    result = await client.submit("add", 10, 20)
    assert (result.state, result.ready(), result.result) == ("PENDING", False, None)
    await take_and(worker, "succeed", 30)

    assert await result.get(timeout=10) == 30
    assert (result.state, result.ready(), result.successful(), result.failed()) == ("SUCCESS", True, True, False)
    assert (result.result, result.traceback) == (30, None)


async def test_the_state_is_the_last_known_until_it_is_refreshed(client: AsyncClient, worker: HandWorker) -> None:
    result = await client.submit("add", 10, 20)
    assignment = await asyncio.to_thread(worker.take)

    assert result.state == "PENDING"
    assert await result.refresh() == "STARTED"
    assert result.state == "STARTED"
    await asyncio.to_thread(worker.succeed, assignment, 30)
    assert await result.refresh() == "SUCCESS"
    assert result.result == 30


async def test_a_task_that_raised_raises_here(client: AsyncClient, worker: HandWorker) -> None:
    result = await client.submit("divide", 1, 0)
    await take_and(worker, "fail", type="ZeroDivisionError", message="division by zero")

    with pytest.raises(ZeroDivisionError) as caught:
        await result.get(timeout=10)

    assert isinstance(caught.value.__cause__, TaskFailedError)
    assert (result.failed(), result.traceback, str(result.result)) == (True, TRACEBACK, "division by zero")


async def test_a_revoked_task_raises_that(client: AsyncClient, worker: HandWorker) -> None:
    result = await client.submit("add")
    await take_and(worker, "revoke", "no longer wanted")

    with pytest.raises(TaskRevokedError, match="no longer wanted"):
        await result.get(timeout=10)
    assert await result.wait() == "REVOKED"


async def test_a_wait_that_timed_out_or_was_cancelled_can_be_repeated(client: AsyncClient, worker: HandWorker) -> None:
    result = await client.submit("add", 1, 2)
    with pytest.raises(WaitTimeoutError):
        await result.get(timeout=0.2)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await result.get()
    await take_and(worker, "succeed", 3)

    assert await result.get(timeout=10) == 3


async def test_an_id_nobody_submitted_is_unknown(client: AsyncClient) -> None:
    result = client.result("nobody-submitted-this")

    for question in (result.get, result.wait, result.refresh):
        with pytest.raises(TaskNotFoundError):
            await question()
    assert result.state is None


async def test_many_waits_at_once_each_get_their_own(client: AsyncClient, worker: HandWorker) -> None:
    results = await client.map("square", [(number,) for number in range(250)])
    working = asyncio.create_task(asyncio.to_thread(worker.work_through, 250))

    values = await asyncio.gather(*(result.get(60) for result in results))
    await working

    assert values == [number * number for number in range(250)]


async def test_results_are_yielded_as_they_are_done(client: AsyncClient, worker: HandWorker) -> None:
    results = await client.map("square", [(number,) for number in range(20)])
    working = asyncio.create_task(asyncio.to_thread(worker.work_through, 20))

    done = [result async for result in client.as_completed(results, timeout=30)]
    await working

    assert {result.id for result in done} == {result.id for result in results}
    assert all(result.successful() for result in results)


async def test_as_completed_ends_in_time(client: AsyncClient) -> None:
    results = await client.map("square", [(1,), (2,)])

    with pytest.raises(WaitTimeoutError, match="2 tasks were not done"):
        await anext(client.as_completed(results, timeout=0.3))


async def test_the_server_tells_its_limits(client: AsyncClient) -> None:
    assert (await client.server_info()).max_wait_targets == 1000


async def test_a_task_is_revoked_and_its_state_known_from_then_on(client: AsyncClient) -> None:
    result = await client.submit("nobody_runs_this")

    assert await result.revoke(reason="not needed") == "REVOKED"

    assert (result.state, result.ready(), result.failed()) == ("REVOKED", True, False)
    with pytest.raises(TaskRevokedError, match="not needed"):
        await result.get(timeout=10)
    assert await result.revoke(force=True) == "REVOKED"


async def test_an_unknown_task_cannot_be_revoked(client: AsyncClient) -> None:
    with pytest.raises(TaskNotFoundError):
        await client.result("nobody-submitted-this").revoke()

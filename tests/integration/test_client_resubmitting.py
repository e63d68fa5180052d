"""Running tasks again and forgetting them, by both clients."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest

from tailrace.client import (
    AsyncClient,
    Client,
    TaskIdConflictError,
    TaskNotFoundError,
    TaskNotResubmittableError,
    TaskNotTerminalError,
)
from tailrace.client._task_id import new_task_id
from tailrace.testing import run_server, run_server_async
from tests.integration.hand_worker import HandWorker, arguments_of

WITHIN_S = 20.0


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


def test_a_failed_task_runs_again_as_a_new_one(client: Client, worker: HandWorker) -> None:
    first = client.options(priority=4, headers={"tenant": "acme"}).submit("add", 1, y=2)
    worker.fail(worker.take())
    assert first.wait(WITHIN_S) == "FAILURE"

    again = first.resubmit()
    assignment = worker.take()
    worker.succeed(assignment, 3)

    assert again.id == assignment.lease.task_id != first.id
    assert assignment.parent_task_id == first.id
    assert arguments_of(assignment) == {"args": [1], "kwargs": {"y": 2}}
    assert (assignment.spec.priority, dict(assignment.spec.headers)) == (4, {"tenant": "acme"})
    assert again.get(WITHIN_S) == 3
    assert first.state == "FAILURE"


def test_a_task_known_by_its_id_alone_runs_again_once_under_one_new_id(client: Client, worker: HandWorker) -> None:
    task_id = client.submit("add", 1, 2).id
    client.result(task_id).revoke()
    again_id = new_task_id()

    first, second = (client.resubmit(task_id, new_task_id=again_id) for _ in range(2))
    worker.succeed(worker.take(), 3)

    assert first.id == second.id == again_id
    assert second.get(WITHIN_S) == 3
    with pytest.raises(TaskNotResubmittableError):
        second.resubmit()


def test_what_cannot_run_again_says_why(client: Client) -> None:
    waiting = client.options(queue="never").submit("add", 1, 2)
    revoked = client.options(queue="never").submit("add", 3, 4)
    revoked.revoke()

    with pytest.raises(TaskNotResubmittableError) as caught:
        waiting.resubmit()
    with pytest.raises(TaskNotFoundError):
        client.resubmit("nobody-submitted-this")
    with pytest.raises(TaskIdConflictError):
        revoked.resubmit(new_task_id=waiting.id)

    assert caught.value.task_id == waiting.id


def test_a_forgotten_task_is_unknown_to_everyone(client: Client, worker: HandWorker) -> None:
    result = client.submit("add", 1, 2)
    worker.succeed(worker.take(), 3)
    assert result.get(WITHIN_S) == 3

    result.forget()
    result.forget()

    for handle in (result, client.result(result.id)):
        with pytest.raises(TaskNotFoundError):
            handle.get(WITHIN_S)


def test_a_task_that_is_not_done_is_not_forgotten(client: Client) -> None:
    result = client.options(queue="never", delay=timedelta(minutes=1)).submit("add", 1, 2)

    with pytest.raises(TaskNotTerminalError) as caught:
        result.forget()

    assert caught.value.task_id == result.id
    assert result.state == "PENDING"


async def test_the_asyncio_client_runs_tasks_again_and_forgets_them(
    async_client: AsyncClient, async_worker: HandWorker
) -> None:
    first = await async_client.submit("add", 1, 2)
    with pytest.raises(TaskNotTerminalError):
        await first.forget()
    await first.revoke()

    again = await first.resubmit()
    assert (again.state, first.state) == ("PENDING", "REVOKED")
    assignment = await asyncio.to_thread(async_worker.take)
    await asyncio.to_thread(async_worker.succeed, assignment, 3)
    assert await again.get(WITHIN_S) == 3
    with pytest.raises(TaskNotResubmittableError):
        await async_client.resubmit(again.id)

    await again.forget()
    assert (again.state, again.ready()) == (None, False)
    with pytest.raises(TaskNotFoundError):
        await again.refresh()

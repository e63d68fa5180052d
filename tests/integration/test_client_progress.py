"""How far a task has come, as both clients tell it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import Queue

import grpc
import pytest

from tailrace.client import AsyncClient, Client, Progress, WaitTimeoutError
from tailrace.testing import run_server, run_server_async
from tailrace.v1 import task_pb2
from tests.integration.hand_worker import HandWorker

WITHIN_S = 20.0
HALF_WAY = task_pb2.Progress(
    current=5,
    total=10,
    message="half way",
    details=task_pb2.Payload(content_type="application/json", data=b'{"row": 5}'),
)


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


def test_a_task_tells_how_far_it_has_come_until_it_is_done(client: Client, worker: HandWorker) -> None:
    result = client.submit("count")
    assert result.progress is None
    assignment = worker.take()
    worker.say_progress(assignment, HALF_WAY)

    progress = result.progress

    assert progress is not None
    assert (progress.current, progress.total, progress.message) == (5, 10, "half way")
    assert progress.details == {"row": 5}
    worker.succeed(assignment, 10)
    assert result.refresh() == "SUCCESS"
    assert result.progress is None


def test_a_wait_is_told_of_progress_on_the_way(client: Client, worker: HandWorker) -> None:
    result = client.submit("count")
    assignment = worker.take()
    worker.say_progress(assignment, task_pb2.Progress(current=1))
    told: Queue[Progress] = Queue()
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(result.get, WITHIN_S, on_progress=told.put)
        heard = [told.get(timeout=WITHIN_S).current]
        for current in (2, 3):
            worker.say_progress(assignment, task_pb2.Progress(current=current))
            heard.append(told.get(timeout=WITHIN_S).current)
        worker.succeed(assignment, 10)

        assert waiting.result(WITHIN_S) == 10

    assert heard == [1, 2, 3]
    assert told.empty()


def test_a_wait_for_the_end_alone_is_told_too(client: Client, worker: HandWorker) -> None:
    result = client.submit("count")
    assignment = worker.take()
    worker.say_progress(assignment, HALF_WAY)

    def end_it(progress: Progress) -> None:
        worker.fail(assignment, message=progress.message)

    assert result.wait(WITHIN_S, on_progress=end_it) == "FAILURE"


class _ProgressBarBrokeError(Exception):
    pass


# The last is one that the client itself could take for the end of its stream.
@pytest.mark.parametrize("error", [_ProgressBarBrokeError(), StopIteration(), grpc.RpcError()])
def test_what_the_callback_raises_ends_the_wait_and_not_the_task(
    client: Client, worker: HandWorker, error: Exception
) -> None:
    result = client.submit("count")
    assignment = worker.take()
    worker.say_progress(assignment, HALF_WAY)

    def break_down(progress: Progress) -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        result.get(WITHIN_S, on_progress=break_down)

    assert caught.value is error
    worker.succeed(assignment, 10)
    assert result.get(WITHIN_S) == 10


def test_progress_does_not_keep_a_wait_beyond_its_time(client: Client, worker: HandWorker) -> None:
    result = client.submit("count")
    assignment = worker.take()
    worker.say_progress(assignment, HALF_WAY)
    told: list[Progress] = []

    with pytest.raises(WaitTimeoutError):
        result.get(0.3, on_progress=told.append)

    assert [progress.current for progress in told] == [5]
    worker.succeed(assignment, 10)
    assert result.get(WITHIN_S, on_progress=told.append) == 10
    assert len(told) == 1


async def test_an_asyncio_wait_is_told_of_progress_on_the_way(
    async_client: AsyncClient, async_worker: HandWorker
) -> None:
    result = await async_client.submit("count")
    assignment = await asyncio.to_thread(async_worker.take)
    told: asyncio.Queue[Progress] = asyncio.Queue()
    waiting = asyncio.create_task(result.get(WITHIN_S, on_progress=told.put))
    heard = []
    for current in (1, 2):
        await asyncio.to_thread(async_worker.say_progress, assignment, task_pb2.Progress(current=current))
        async with asyncio.timeout(WITHIN_S):
            heard.append(await told.get())

    assert [progress.current for progress in heard] == [1, 2]
    assert (result.state, result.progress) == ("STARTED", heard[-1])
    await asyncio.to_thread(async_worker.succeed, assignment, 10)
    assert await waiting == 10
    assert result.progress is None


async def test_what_the_callback_raises_ends_the_asyncio_wait(
    async_client: AsyncClient, async_worker: HandWorker
) -> None:
    result = await async_client.submit("count")
    assignment = await asyncio.to_thread(async_worker.take)
    await asyncio.to_thread(async_worker.say_progress, assignment, HALF_WAY)

    def break_down(progress: Progress) -> None:
        raise _ProgressBarBrokeError

    with pytest.raises(_ProgressBarBrokeError):
        await result.get(WITHIN_S, on_progress=break_down)
    assert await result.refresh() == "STARTED"
    assert result.progress is not None
    assert result.progress.details == {"row": 5}


async def test_a_result_can_be_awaited_itself(async_client: AsyncClient, async_worker: HandWorker) -> None:
    result = await async_client.submit("count")
    assignment = await asyncio.to_thread(async_worker.take)
    await asyncio.to_thread(async_worker.succeed, assignment, 10)

    assert await result == 10

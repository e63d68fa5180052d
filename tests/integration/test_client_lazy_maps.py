"""More tasks than fit into memory, by both clients: submitted as they are drawn, yielded as they are done."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tailrace.client import AsyncClient, Client, InvalidRequestError, PayloadError, WaitTimeoutError
from tailrace.testing import run_server, run_server_async
from tests.integration.hand_worker import HandWorker

WITHIN_S = 30.0


class Source:
    """Arguments without end, and how many were drawn."""

    def __init__(self, count: int) -> None:
        self.drawn = 0
        self._count = count

    def __iter__(self) -> Iterator[tuple[int]]:
        for number in range(self._count):
            self.drawn += 1
            yield (number,)

    async def slowly(self) -> AsyncIterator[tuple[int]]:
        for item in self:
            await asyncio.sleep(0)
            yield item


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


def test_nothing_is_drawn_before_it_is_asked_for_and_little_ahead(client: Client) -> None:
    source = Source(1_000_000)
    results = client.options(queue="never").imap("square", source, look_ahead=10)
    assert source.drawn == 0

    states = [next(results).state for _ in range(5)]

    assert states == ["PENDING"] * 5
    assert 5 <= source.drawn <= 5 + 10


def test_results_come_in_the_order_of_the_arguments(client: Client, worker: HandWorker) -> None:
    results = list(client.imap("square", Source(20), look_ahead=3))
    with ThreadPoolExecutor(1) as threads:
        working = threads.submit(worker.work_through, 20)

        assert client.gather(results, WITHIN_S) == [number * number for number in range(20)]
        working.result(WITHIN_S)


def test_what_is_done_is_yielded_while_more_is_drawn(client: Client, address: str) -> None:
    source, worker = Source(1_000_000), HandWorker(address, queue="drawn")
    with ThreadPoolExecutor(1) as threads:
        working = threads.submit(worker.work_through, 20)
        completed = client.as_completed(client.options(queue="drawn").imap("square", source), WITHIN_S)
        done = [next(completed) for _ in range(20)]
        working.result(WITHIN_S)
    worker.close()

    assert {result.get() for result in done} == {number * number for number in range(20)}
    assert source.drawn <= 20 + 1000 + 1000


def test_what_was_yielded_is_not_kept(client: Client) -> None:
    results = client.options(queue="never").imap("square", Source(100), look_ahead=2)
    first = weakref.ref(next(results))
    next(results)
    gc.collect()

    assert first() is None


def test_an_iterator_of_results_is_followed_whole(client: Client, worker: HandWorker) -> None:
    results = client.map("square", [(number,) for number in range(20)])
    with ThreadPoolExecutor(1) as threads:
        working = threads.submit(worker.work_through, 20)
        done = list(client.as_completed(iter(results), WITHIN_S))
        working.result(WITHIN_S)

    assert {result.id for result in done} == {result.id for result in results}
    assert list(client.as_completed(iter([results[3], results[3]]))) == [results[3], results[3]]
    with pytest.raises(WaitTimeoutError):
        list(client.as_completed(client.options(queue="never").imap("square", Source(3)), 0.3))


def test_what_cannot_be_submitted_ends_the_iteration(client: Client) -> None:
    with pytest.raises(PayloadError, match="item 1"):
        list(client.options(queue="never").imap("square", iter([(1,), (object(),), (2,)])))
    with pytest.raises(InvalidRequestError):
        list(client.imap("no spaces", [(1,)]))
    with pytest.raises(TypeError, match="item 0"):
        next(client.imap("square", [1]))  # type: ignore[list-item]
    with pytest.raises(ValueError, match="look_ahead must be at least 1"):
        client.imap("square", [(1,)], look_ahead=0)


@pytest.mark.parametrize("is_async", [False, True])
async def test_the_asyncio_client_draws_from_either_kind_of_source(async_client: AsyncClient, is_async: bool) -> None:
    source = Source(1_000_000)
    results = async_client.options(queue="never").imap("square", source.slowly() if is_async else source, look_ahead=10)
    assert source.drawn == 0

    states = [(await anext(results)).state for _ in range(5)]
    await results.aclose()

    assert states == ["PENDING"] * 5
    assert 5 <= source.drawn <= 5 + 11


async def test_the_asyncio_client_yields_what_is_done_while_more_is_drawn(
    async_client: AsyncClient, async_worker: HandWorker
) -> None:
    working = asyncio.create_task(asyncio.to_thread(async_worker.work_through, 50))

    done = [result async for result in async_client.as_completed(async_client.imap("square", Source(50)), WITHIN_S)]
    await working

    assert sorted(result.result for result in done) == [number * number for number in range(50)]


async def test_a_source_that_takes_its_time_does_not_hold_up_what_is_done(
    async_client: AsyncClient, async_worker: HandWorker
) -> None:
    go_on = asyncio.Event()

    async def source() -> AsyncIterator[tuple[int]]:
        yield (5,)
        await go_on.wait()
        yield (6,)

    working = asyncio.create_task(asyncio.to_thread(async_worker.work_through, 2))
    completed = async_client.as_completed(async_client.imap("square", source()), WITHIN_S)
    first = await anext(completed)
    go_on.set()
    rest = [result async for result in completed]
    await working

    assert [first.result, *(result.result for result in rest)] == [25, 36]


async def test_the_asyncio_client_maps_an_asynchronous_source(
    async_client: AsyncClient, async_worker: HandWorker
) -> None:
    results = await async_client.map("square", Source(10).slowly())
    working = asyncio.create_task(asyncio.to_thread(async_worker.work_through, 10))

    assert await async_client.gather(results, WITHIN_S) == [number * number for number in range(10)]
    await working


async def test_leaving_early_ends_what_is_under_way(async_client: AsyncClient) -> None:
    completed = async_client.as_completed(async_client.options(queue="never").imap("square", Source(10_000)), 0.5)
    with pytest.raises(WaitTimeoutError):
        await anext(completed)

    of_the_iteration = ("AsyncSubmitter", "AsyncFollowing", "asend", "anext")
    assert [task for task in asyncio.all_tasks() if any(name in repr(task) for name in of_the_iteration)] == []


async def test_what_cannot_be_submitted_ends_the_iteration_in_asyncio(async_client: AsyncClient) -> None:
    with pytest.raises(PayloadError, match="item 1"):
        _ = [each async for each in async_client.options(queue="never").imap("square", [(1,), (object(),)])]
    with pytest.raises(InvalidRequestError):
        _ = [each async for each in async_client.imap("no spaces", [(1,)])]

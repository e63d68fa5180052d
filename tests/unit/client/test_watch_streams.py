"""Both clients on their Watch stream, with a server and a network at fault."""

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from tailrace.client import (
    AsyncClient,
    AsyncioResult,
    AsyncResult,
    BatchSubmitError,
    Client,
    ClientClosedError,
    InvalidRequestError,
    LimitExceededError,
    ServerUnavailableError,
    StoreEmptiedError,
    WaitTimeoutError,
)
from tailrace.client._outgoing import MAX_WAITING
from tailrace.v1.task_pb2 import ItemError
from tailrace.v1.task_service_pb2 import (
    WAIT_END_REASON_RECONNECT,
    SubmitItem,
    WaitForRequest,
    WaitForResponse,
    WatchRequest,
    WatchResponse,
)
from tests.unit.client.scripted_server import Context, StreamScript, fail, stay_silent, success
from tests.unit.client.watching_server import (
    WatchingServer,
    accept,
    accept_only,
    break_off,
    finish_all,
    say_nothing,
    watching_server,
)
from tests.wait import eventually, eventually_async

THREADS = 50


@pytest.fixture
def server() -> Iterator[WatchingServer]:
    with watching_server() as running:
        yield running


@pytest.fixture
def client(server: WatchingServer) -> Iterator[Client]:
    with Client(server.address, call_timeout=20) as connected:
        yield connected


@pytest.fixture
async def async_client(server: WatchingServer) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(server.address, call_timeout=20) as connected:
        yield connected


def refuse_the_second(requests: Iterator[WatchRequest], context: Context) -> Iterator[WatchResponse]:
    """Accept all but the second task of a message."""
    for request in requests:
        answer = accept(request)
        refusal = ItemError(code=3, reason="INVALID_REQUEST", message="no")
        answer.submitted[1].CopyFrom(SubmitItem(task_id=request.submit[1].task_id, error=refusal))
        yield answer


def accept_one_and_leave(requests: Iterator[WatchRequest], context: Context) -> Iterator[WatchResponse]:
    """Accept the first task, then ask the client to go elsewhere."""
    yield accept(next(requests))
    yield WatchResponse(end_reason=WAIT_END_REASON_RECONNECT)


def no_store_at_first(requests: Iterator[WatchRequest], context: Context) -> Iterator[WatchResponse]:
    """Say of the first task that the store is away; accept and finish what comes then."""
    first = next(requests)
    away = ItemError(code=14, reason="STORE_UNAVAILABLE")
    yield WatchResponse(submitted=[SubmitItem(task_id=each.task_id, error=away) for each in first.submit])
    for request in requests:
        yield accept(request)
        yield finish_all(request)


def test_many_threads_share_one_stream_and_one_message(server: WatchingServer, client: Client) -> None:
    with ThreadPoolExecutor(THREADS) as threads:
        values = list(threads.map(lambda number: client.submit("add", number).get(timeout=20), range(500)))

    assert values == [30] * 500
    assert len(server.streams) == 1
    assert (server.submits, server.waits) == ([], [])
    assert len(set(server.submitted_ids[0])) == 500
    assert len([message for message in server.streams[0] if message.submit]) < 500


async def test_many_coroutines_share_one_stream_and_few_messages(
    server: WatchingServer, async_client: AsyncClient
) -> None:
    async def one(number: int) -> object:
        return await (await async_client.submit("add", number)).get(timeout=20)

    assert await asyncio.gather(*(one(number) for number in range(1000))) == [30] * 1000
    assert len(server.streams) == 1
    assert (server.submits, server.waits) == ([], [])
    assert len([message for message in server.streams[0] if message.submit]) < 100


async def test_more_coroutines_than_there_is_room_for_get_their_turn_in_the_order_of_their_calls(
    server: WatchingServer, async_client: AsyncClient
) -> None:
    async def one(number: int) -> str:
        return (await async_client.submit("add", number)).id

    submits = [asyncio.create_task(one(number)) for number in range(2 * MAX_WAITING)]
    await asyncio.sleep(0)
    for given_up in submits[MAX_WAITING + 500 : MAX_WAITING + 1500]:
        given_up.cancel()
    submits.append(asyncio.create_task(one(2 * MAX_WAITING)))
    ended = await asyncio.gather(*submits, return_exceptions=True)

    assert [type(each) for each in ended].count(asyncio.CancelledError) == 1000
    assert server.submitted_ids == [[each for each in ended if not isinstance(each, asyncio.CancelledError)]]


def test_one_thread_keeps_its_order(server: WatchingServer, client: Client) -> None:
    ids = [client.submit("add", number).id for number in range(20)] + [
        result.id for result in client.map("add", [(number,) for number in range(3000)])
    ]

    assert server.submitted_ids == [ids]
    assert max(len(message.submit) for message in server.streams[0]) <= 1000


def test_a_submit_is_repeated_on_the_next_stream_under_its_id(server: WatchingServer, client: Client) -> None:
    server.watch_scripts = [break_off(1), break_off(0)]
    first, second = client.submit("add", 1), client.submit("add", 2)

    assert server.submitted_ids == [[first.id, second.id], [second.id], [second.id]]


async def test_a_submit_is_repeated_on_the_next_stream_under_its_id_in_asyncio(
    server: WatchingServer, async_client: AsyncClient
) -> None:
    server.watch_scripts = [break_off(1), break_off(0)]
    first, second = await async_client.submit("add", 1), await async_client.submit("add", 2)

    assert server.submitted_ids == [[first.id, second.id], [second.id], [second.id]]


def test_a_wait_goes_on_on_the_next_stream(server: WatchingServer, client: Client) -> None:
    server.watch_scripts = [break_off(1)]
    result = client.submit("add", 1)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(result.get, 20)
        client.submit("add", 2)

        assert waiting.result(20) == 30


def test_a_wait_that_begins_after_the_stream_ended_opens_another(server: WatchingServer, client: Client) -> None:
    server.watch_scripts = [accept_one_and_leave]
    result = client.submit("add", 1)
    assert server.stream_ended.acquire(timeout=10)
    eventually(lambda: client._calls._mine.watch._stream is None, "the client knows")

    assert result.get(timeout=20) == 30
    assert [message.add[0].task_id for message in server.streams[1]] == [result.id]


async def test_a_wait_that_begins_after_the_stream_ended_opens_another_in_asyncio(
    server: WatchingServer, async_client: AsyncClient
) -> None:
    server.watch_scripts = [accept_one_and_leave]
    result = await async_client.submit("add", 1)
    assert await asyncio.to_thread(server.stream_ended.acquire, timeout=10)
    await asyncio.sleep(0)

    assert await result.get(timeout=20) == 30


def test_what_the_store_did_not_take_is_tried_again(server: WatchingServer, client: Client) -> None:
    server.watch_scripts = [no_store_at_first]
    result = client.submit("add", 1)

    assert result.get(timeout=20) == 30
    assert server.submitted_ids == [[result.id, result.id]]


def test_what_is_refused_is_refused_alone(server: WatchingServer, client: Client) -> None:
    server.watch_scripts = [refuse_the_second]

    with pytest.raises(BatchSubmitError, match="1 of 3 tasks were not accepted; item 1: no") as caught:
        client.map("add", [(1,), (2,), (3,)])

    assert isinstance(caught.value.errors[1], InvalidRequestError)
    assert [result.id for result in caught.value.accepted] == [server.submitted_ids[0][index] for index in (0, 2)]
    assert server.batches == []


async def test_what_is_refused_is_refused_alone_in_asyncio(server: WatchingServer, async_client: AsyncClient) -> None:
    server.watch_scripts = [refuse_the_second]

    with pytest.raises(BatchSubmitError, match="1 of 3 tasks were not accepted; item 1: no") as caught:
        await async_client.map("add", [(1,), (2,), (3,)])

    assert len(caught.value.accepted) == 2


@pytest.mark.parametrize("code", [grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.RESOURCE_EXHAUSTED])
def test_where_the_stream_is_refused_calls_of_their_own_do(
    server: WatchingServer, client: Client, code: grpc.StatusCode
) -> None:
    server.watch_scripts = [break_off(0, code)]

    assert client.submit("add", 1).get(timeout=20) == 30
    assert client.gather(client.map("add", [(1,), (2,)]), 20) == [30, 30]
    assert (len(server.streams), len(server.submits), len(server.batches), len(server.waits)) == (1, 1, 1, 2)


async def test_where_the_stream_is_refused_calls_of_their_own_do_in_asyncio(
    server: WatchingServer, async_client: AsyncClient
) -> None:
    server.watch_scripts = [break_off(0, grpc.StatusCode.UNIMPLEMENTED)]

    assert await (await async_client.submit("add", 1)).get(timeout=20) == 30
    assert await async_client.gather(await async_client.map("add", [(1,), (2,)]), 20) == [30, 30]
    assert (len(server.streams), len(server.submits), len(server.batches), len(server.waits)) == (1, 1, 1, 2)


def test_a_source_without_an_end_does_not_keep_a_wait_from_its_own(server: WatchingServer, client: Client) -> None:
    server.watch_scripts = [accept_only]
    end_s = time.monotonic() + 0.3
    drawn: list[AsyncResult] = []

    def one_after_the_other() -> Iterator[AsyncResult]:
        while True:
            drawn.append(client.result(f"t{len(drawn)}"))
            yield drawn[-1]
            eventually(lambda: time.monotonic() > end_s, "the time is up")

    with pytest.raises(WaitTimeoutError):
        next(client.as_completed(one_after_the_other(), timeout=0.2))

    assert len(drawn) == 2


async def test_a_source_that_gives_nothing_does_not_keep_a_wait_from_its_end_in_asyncio(
    async_client: AsyncClient,
) -> None:
    async def nothing() -> AsyncIterator[AsyncioResult]:
        await asyncio.Event().wait()
        yield async_client.result("never")

    with pytest.raises(WaitTimeoutError, match=r"there was no task to wait for yet after 0\.2 s"):
        await anext(async_client.as_completed(nothing(), timeout=0.2))


def finish_all_but(open_id: str) -> StreamScript:
    """Have every target succeed but one, and say nothing more until the client is gone."""

    def script(request: WaitForRequest, context: Context) -> Iterator[WaitForResponse]:
        ids = [target.task_id for target in request.targets]
        yield WaitForResponse(tasks=[success(each) for each in ids if each != open_id], snapshot_complete=True)
        if open_id in ids:
            yield from stay_silent(request, context)

    return script


def test_where_the_stream_is_refused_results_of_an_iterator_come_as_they_are_done(
    server: WatchingServer, client: Client
) -> None:
    server.watch_scripts = [break_off(0, grpc.StatusCode.UNIMPLEMENTED)]
    results = [client.submit("add", number) for number in range(3)]
    server.stream_scripts = [finish_all_but(results[2].id)] * 2
    done = client.as_completed(iter(results), timeout=1)

    assert [next(done), next(done)] == results[:2]
    with pytest.raises(WaitTimeoutError):
        next(done)
    assert server.stream_ended.acquire(timeout=20)


async def test_where_the_stream_is_refused_results_of_an_iterator_come_as_they_are_done_in_asyncio(
    server: WatchingServer, async_client: AsyncClient
) -> None:
    server.watch_scripts = [break_off(0, grpc.StatusCode.UNIMPLEMENTED)]
    results = [await async_client.submit("add", number) for number in range(3)]
    server.stream_scripts = [finish_all_but(results[2].id)] * 2
    done = async_client.as_completed(iter(results), timeout=1)

    assert [await anext(done), await anext(done)] == results[:2]
    with pytest.raises(WaitTimeoutError):
        await anext(done)


def test_what_would_end_the_stream_of_all_goes_by_a_call_of_its_own(server: WatchingServer, client: Client) -> None:
    server.call_scripts = [fail(grpc.StatusCode.RESOURCE_EXHAUSTED, tailrace_reason="LIMIT_EXCEEDED")]
    kept = client.submit("add", 1)

    with pytest.raises(LimitExceededError):
        client.submit("add", "x" * 3_600_000)
    client.result("no id").get(timeout=20)

    assert kept.get(timeout=20) == 30
    assert (len(server.submits), len(server.waits), len(server.streams)) == (1, 1, 1)


def test_a_wait_of_no_time_asks(server: WatchingServer, client: Client) -> None:
    server.watch_scripts = [accept_only]
    result = client.submit("add", 1)

    assert result.get(timeout=0) == 30
    assert len(server.waits) == 1


def test_a_task_is_followed_for_as_long_as_any_handle_to_it_lives(server: WatchingServer, client: Client) -> None:
    server.watch_scripts = [accept_only]
    typed = client.submit("add", 1).returning(int)
    gone_id = client.submit("add", 2).id
    gc.collect()
    client.submit("add", 3)

    eventually(lambda: gone_id in server.dropped_ids, "what has no handle is followed no longer")
    assert typed.id not in server.dropped_ids


async def test_a_task_of_asyncio_is_followed_for_as_long_as_any_handle_to_it_lives(
    server: WatchingServer, async_client: AsyncClient
) -> None:
    server.watch_scripts = [accept_only]
    typed = (await async_client.submit("add", 1)).returning(int)
    gone_id = (await async_client.submit("add", 2)).id
    gc.collect()
    await async_client.submit("add", 3)

    await eventually_async(lambda: gone_id in server.dropped_ids, "what has no handle is followed no longer")
    assert typed.id not in server.dropped_ids


def test_waits_end_in_time_and_are_forgotten(server: WatchingServer, client: Client) -> None:
    server.watch_scripts = [accept_only]
    result = client.result("elsewhere")
    client.submit("add", 1)

    with pytest.raises(WaitTimeoutError, match=r"task elsewhere was not done after 0\.2 s"):
        result.get(timeout=0.2)

    eventually(lambda: "elsewhere" in server.dropped_ids, "it is followed no longer")


def test_a_submit_that_is_not_answered_fails_in_time_and_names_its_task(server: WatchingServer) -> None:
    server.watch_scripts = [say_nothing]
    with Client(server.address, call_timeout=0.5) as client, pytest.raises(ServerUnavailableError) as caught:
        client.options(task_id="t1").submit("add", 1)

    assert caught.value.task_id == "t1"


async def test_a_submit_that_is_not_answered_fails_in_time_in_asyncio(server: WatchingServer) -> None:
    server.watch_scripts = [say_nothing]
    async with AsyncClient(server.address, call_timeout=0.5) as client:
        with pytest.raises(ServerUnavailableError) as caught:
            await client.options(task_id="t1").submit("add", 1)

    assert caught.value.task_id == "t1"


def test_a_store_that_lost_its_data_ends_the_waits(server: WatchingServer, client: Client) -> None:
    server.watch_scripts = [break_off(1, grpc.StatusCode.DATA_LOSS, tailrace_reason="STORE_EMPTIED"), accept_only]
    result = client.submit("add", 1)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(result.get, 20)
        eventually(lambda: client._calls._mine.watch._watch.targets.is_waited_for, "somebody waits")
        client.submit("add", 2)

        with pytest.raises(StoreEmptiedError):
            waiting.result(20)


def test_closing_ends_waits_and_submits_of_other_threads(server: WatchingServer, client: Client) -> None:
    server.watch_scripts = [say_nothing]
    with ThreadPoolExecutor(2) as threads:
        calls = [threads.submit(client.submit, "add", 1), threads.submit(client.result("t1").get)]
        eventually(lambda: server.item_count == 2, "both are sent")
        client.close()

        for call in calls:
            with pytest.raises(ClientClosedError):
                call.result(10)


async def test_closing_ends_waits_and_submits_of_other_tasks(server: WatchingServer, async_client: AsyncClient) -> None:
    server.watch_scripts = [say_nothing]
    calls = [asyncio.create_task(async_client.submit("add", 1)), asyncio.create_task(async_client.result("t1").get())]
    await eventually_async(lambda: server.item_count == 2, "both are sent")
    await async_client.close()

    assert [type(each) for each in await asyncio.gather(*calls, return_exceptions=True)] == [ClientClosedError] * 2


async def test_a_cancelled_wait_is_dropped(server: WatchingServer, async_client: AsyncClient) -> None:
    server.watch_scripts = [accept_only]
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(0.3):
            await async_client.result("elsewhere").get()

    assert type(caught.value) is TimeoutError
    await eventually_async(lambda: "elsewhere" in server.dropped_ids, "it is followed no longer")


def tailrace_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("tailrace")]


def test_a_client_that_is_collected_closes_its_stream_and_its_threads(server: WatchingServer) -> None:
    before = len(tailrace_threads())
    client = Client(server.address)
    assert client.submit("add", 1).get(timeout=20) == 30
    assert len(tailrace_threads()) > before
    gone = weakref.ref(client._calls)

    del client
    gc.collect()

    assert gone() is None
    assert server.stream_ended.acquire(timeout=10)
    eventually(lambda: len(tailrace_threads()) <= before, "its threads have ended")


async def test_an_asyncio_client_that_is_collected_closes_its_stream(server: WatchingServer) -> None:
    client = AsyncClient(server.address)
    assert await (await client.submit("add", 1)).get(timeout=20) == 30
    gone = weakref.ref(client._calls)

    del client
    gc.collect()

    assert gone() is None
    assert await asyncio.to_thread(server.stream_ended.acquire, timeout=10)
    await eventually_async(lambda: len(asyncio.all_tasks()) == 1, "its tasks have ended")

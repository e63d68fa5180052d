"""What the asyncio client makes of a server and a network at fault."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

import grpc
import pytest

from tailrace.client import (
    AsyncClient,
    ClientClosedError,
    ServerUnavailableError,
    StoreUnavailableError,
    WaitTimeoutError,
)
from tailrace.client._async_calls import AsyncCalls
from tailrace.client._settings import ClientSettings
from tailrace.v1.task_service_pb2 import WAIT_END_REASON_RECONNECT, WaitForResponse
from tests.unit.client.scripted_server import (
    ScriptedServer,
    advanced,
    fail,
    fail_stream,
    finish,
    leave_unanswered,
    pending,
    say,
    scripted_server,
    stay_silent,
    success,
)

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
SNAPSHOT = WaitForResponse(tasks=[pending("t1", revision=5)], snapshot_complete=True)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as running:
        yield running


@pytest.fixture
async def client(server: ScriptedServer) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(server.address, call_timeout=20) as connected:
        yield connected


async def called(server: ScriptedServer) -> bool:
    return await asyncio.to_thread(server.called.acquire, timeout=10)


async def ended_streams(server: ScriptedServer, count: int) -> bool:
    return all([await asyncio.to_thread(server.stream_ended.acquire, timeout=10) for _ in range(count)])


async def test_a_submit_is_repeated_under_the_id_it_was_first_made_with(
    server: ScriptedServer, client: AsyncClient
) -> None:
    server.call_scripts = [fail(UNAVAILABLE), fail(grpc.StatusCode.CANCELLED)]

    result = await client.submit("add", 1, 2)

    assert [request.task_id for request in server.submits] == [result.id] * 3
    assert result.state == "PENDING"


async def test_without_a_server_a_call_fails_when_its_time_is_up_and_names_its_task() -> None:
    async with AsyncClient("127.0.0.1:1", call_timeout=0.5) as client:
        with pytest.raises(ServerUnavailableError) as caught:
            await client.options(task_id="t1").submit("add", 1, 2)

    assert caught.value.task_id == "t1"


async def test_a_resubmit_is_repeated_under_one_new_id_which_its_error_names(
    server: ScriptedServer, client: AsyncClient
) -> None:
    server.call_scripts = [fail(UNAVAILABLE)]
    again = await client.resubmit("t1")
    server.call_scripts = [fail(UNAVAILABLE, tailrace_reason="STORE_UNAVAILABLE", grpc_retry_pushback_ms="-1")]
    with pytest.raises(StoreUnavailableError) as caught:
        await client.resubmit("t1")

    first, second, last = (request.new_task_id for request in server.resubmits)
    assert (first, second) == (again.id, again.id)
    assert caught.value.task_id == last != again.id


async def test_a_wait_goes_on_over_streams_that_break(server: ScriptedServer, client: AsyncClient) -> None:
    server.stream_scripts = [
        fail_stream(UNAVAILABLE, SNAPSHOT),
        fail_stream(grpc.StatusCode.CANCELLED),
        fail_stream(grpc.StatusCode.INTERNAL, SNAPSHOT),
        say(SNAPSHOT, WaitForResponse(end_reason=WAIT_END_REASON_RECONNECT)),
        say(SNAPSHOT),
    ]

    assert await client.result("t1").get(timeout=20) == 30
    assert [wait.targets[0].after_revision for wait in server.waits] == [0, 5, 5, 5, 5, 5]


async def test_progress_is_told_once_over_streams_that_break(server: ScriptedServer, client: AsyncClient) -> None:
    server.stream_scripts = [
        fail_stream(UNAVAILABLE, WaitForResponse(tasks=[advanced("t1", 1)], snapshot_complete=True)),
        fail_stream(
            UNAVAILABLE, WaitForResponse(tasks=[advanced("t1", 1)]), WaitForResponse(tasks=[advanced("t1", 2)])
        ),
    ]
    told: list[int] = []

    assert await client.result("t1").get(timeout=20, on_progress=lambda progress: told.append(progress.current)) == 30

    assert told == [1, 2]
    assert [wait.include_progress for wait in server.waits] == [True] * 3


async def test_a_silent_stream_is_given_up_and_opened_again(server: ScriptedServer) -> None:
    server.stream_scripts = [stay_silent, finish]
    calls = AsyncCalls(ClientSettings(address=server.address, call_timeout_s=20), silence_limit_s=0.2)

    async with aclosing(calls.follow(["t1"], timeout_s=20)) as news:
        finished = [each.task_id async for each in news]
    await calls.close()

    assert finished == ["t1"]
    assert len(server.waits) == 2


async def test_a_mute_server_does_not_keep_a_wait_beyond_its_time(server: ScriptedServer, client: AsyncClient) -> None:
    server.stream_scripts = [stay_silent]
    started_s = time.monotonic()

    with pytest.raises(WaitTimeoutError) as caught:
        await client.result("t1").get(timeout=1)

    assert time.monotonic() - started_s < 3
    assert isinstance(caught.value.__cause__, ServerUnavailableError)


async def test_a_cancelled_wait_is_cancelled_and_ends_its_stream(server: ScriptedServer, client: AsyncClient) -> None:
    server.stream_scripts = [stay_silent]

    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(0.3):
            await client.result("t1").get()

    assert type(caught.value) is TimeoutError
    assert await ended_streams(server, 1)


async def test_a_cancelled_call_is_cancelled_and_not_repeated(server: ScriptedServer, client: AsyncClient) -> None:
    server.call_scripts = [leave_unanswered]
    submitting = asyncio.create_task(client.submit("add", 1, 2))
    assert await called(server)

    submitting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await submitting
    assert len(server.submits) == 1


async def test_leaving_as_completed_ends_its_streams(server: ScriptedServer, client: AsyncClient) -> None:
    def one_and_wait(request, context):  # type: ignore[no-untyped-def]
        yield WaitForResponse(tasks=[success(request.targets[0].task_id)])
        yield from stay_silent(request, context)

    server.stream_scripts = [one_and_wait, one_and_wait]
    results = [client.result(f"t{number}") for number in range(1500)]

    async with aclosing(client.as_completed(results)) as completed:
        first = await anext(completed)
        assert await called(server)
        assert await called(server)

    assert first.id in {"t0", "t1000"}
    assert await ended_streams(server, 2)


async def test_closing_the_client_ends_the_waits_of_other_tasks(server: ScriptedServer, client: AsyncClient) -> None:
    server.stream_scripts = [stay_silent]
    waiting = asyncio.create_task(client.result("t1").get())
    assert await called(server)

    await client.close()

    with pytest.raises(ClientClosedError):
        await waiting


async def test_a_closed_client_says_so_and_may_be_closed_again(client: AsyncClient) -> None:
    await client.close()
    await client.close()

    with pytest.raises(ClientClosedError):
        await client.submit("add", 1, 2)
    with pytest.raises(ClientClosedError):
        await client.result("t1").get()


async def test_thousands_of_tasks_are_waited_for_over_several_streams(
    server: ScriptedServer, client: AsyncClient
) -> None:
    results = [client.result(f"t{number}") for number in range(2500)]

    done = [result async for result in client.as_completed(results, timeout=30)]

    assert {result.id for result in done} == {result.id for result in results}
    assert sorted(len(wait.targets) for wait in server.waits) == [500, 1000, 1000]
    assert all(result.successful() for result in done)


async def test_more_waits_than_one_connection_should_carry_are_spread(server: ScriptedServer) -> None:
    calls = AsyncCalls(ClientSettings(address=server.address, call_timeout_s=20))
    streams = calls._mine.streams
    with streams.lend() as first:
        others = [streams.lend() for _ in range(100)]
        stubs = [other.__enter__() for other in others]

        assert {stub is first for stub in stubs} == {True, False}
        for other in others:
            other.__exit__(None, None, None)
    await calls.close()


async def test_nothing_is_known_of_a_task_before_the_server_was_asked(client: AsyncClient) -> None:
    result = client.result("t1")

    assert (result.state, result.ready(), result.successful(), result.failed()) == (None, False, False, False)
    assert (result.result, result.traceback) == (None, None)
    assert await result.refresh() == "SUCCESS"
    assert (result.state, result.ready(), result.successful(), result.result) == ("SUCCESS", True, True, 30)

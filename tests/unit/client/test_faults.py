"""What the synchronous client makes of a server and a network at fault."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from tailrace.client import (
    BatchSubmitError,
    Client,
    ClientClosedError,
    InvalidRequestError,
    ServerUnavailableError,
    StoreUnavailableError,
    TaskNotFoundError,
    WaitTimeoutError,
)
from tailrace.client._settings import ClientSettings
from tailrace.client._silence_watch import SilenceWatch
from tailrace.client._sync_calls import SyncCalls
from tailrace.v1.task_pb2 import ItemError
from tailrace.v1.task_service_pb2 import (
    WAIT_END_REASON_RECONNECT,
    BatchSubmitResponse,
    RevokeResponse,
    SubmitItem,
    WaitForResponse,
)
from tests.unit.client.scripted_server import (
    ScriptedServer,
    advanced,
    fail,
    fail_stream,
    finish,
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
def client(server: ScriptedServer) -> Iterator[Client]:
    with Client(server.address, call_timeout=20) as connected:
        yield connected


def test_a_submit_is_repeated_under_the_id_it_was_first_made_with(server: ScriptedServer, client: Client) -> None:
    server.call_scripts = [fail(UNAVAILABLE), fail(grpc.StatusCode.CANCELLED)]

    result = client.submit("add", 1, 2)

    assert [request.task_id for request in server.submits] == [result.id] * 3
    assert server.submits[0] == server.submits[2]


def test_a_submit_that_was_refused_is_not_repeated(server: ScriptedServer, client: Client) -> None:
    server.call_scripts = [fail(grpc.StatusCode.INVALID_ARGUMENT, tailrace_reason="INVALID_REQUEST")]

    with pytest.raises(InvalidRequestError) as caught:
        client.submit("no such:::type")

    assert len(server.submits) == 1
    assert caught.value.task_id == server.submits[0].task_id


def test_a_server_that_pushes_back_for_good_is_left_alone(server: ScriptedServer, client: Client) -> None:
    server.call_scripts = [fail(UNAVAILABLE, tailrace_reason="STORE_UNAVAILABLE", grpc_retry_pushback_ms="-1")]

    with pytest.raises(StoreUnavailableError):
        client.submit("add", 1, 2)

    assert len(server.submits) == 1


def test_without_a_server_a_call_fails_when_its_time_is_up_and_names_its_task() -> None:
    with Client("127.0.0.1:1", call_timeout=0.5) as client, pytest.raises(ServerUnavailableError) as caught:
        client.options(task_id="t1").submit("add", 1, 2)

    assert caught.value.task_id == "t1"


def test_a_resubmit_is_repeated_under_one_new_id_which_its_error_names(server: ScriptedServer, client: Client) -> None:
    server.call_scripts = [fail(UNAVAILABLE)]
    again = client.resubmit("t1")
    server.call_scripts = [fail(UNAVAILABLE, tailrace_reason="STORE_UNAVAILABLE", grpc_retry_pushback_ms="-1")]
    with pytest.raises(StoreUnavailableError) as caught:
        client.resubmit("t1")

    assert [request.task_id for request in server.resubmits] == ["t1"] * 3
    first, second, last = (request.new_task_id for request in server.resubmits)
    assert (first, second) == (again.id, again.id)
    assert caught.value.task_id == last != again.id


def test_a_task_whose_deletion_was_not_heard_of_is_forgotten_all_the_same(
    server: ScriptedServer, client: Client
) -> None:
    server.call_scripts = [fail(UNAVAILABLE)]

    client.result("t1").forget()

    assert [(request.task_id, request.allow_missing) for request in server.deletes] == [("t1", True)] * 2


def test_a_wait_goes_on_over_streams_that_break(server: ScriptedServer, client: Client) -> None:
    server.stream_scripts = [
        fail_stream(UNAVAILABLE, SNAPSHOT),
        fail_stream(grpc.StatusCode.CANCELLED),
        fail_stream(grpc.StatusCode.INTERNAL, SNAPSHOT),
        say(SNAPSHOT, WaitForResponse(end_reason=WAIT_END_REASON_RECONNECT)),
        say(SNAPSHOT),
    ]

    assert client.result("t1").get(timeout=20) == 30
    assert [wait.targets[0].after_revision for wait in server.waits] == [0, 5, 5, 5, 5, 5]


def test_progress_is_told_once_over_streams_that_break(server: ScriptedServer, client: Client) -> None:
    server.stream_scripts = [
        fail_stream(UNAVAILABLE, WaitForResponse(tasks=[advanced("t1", 1)], snapshot_complete=True)),
        fail_stream(
            UNAVAILABLE, WaitForResponse(tasks=[advanced("t1", 1)]), WaitForResponse(tasks=[advanced("t1", 2)])
        ),
    ]
    told: list[int] = []

    assert client.result("t1").get(timeout=20, on_progress=lambda progress: told.append(progress.current)) == 30

    assert told == [1, 2]
    assert [wait.include_progress for wait in server.waits] == [True] * 3


def test_a_silent_stream_is_given_up_and_opened_again(server: ScriptedServer) -> None:
    server.stream_scripts = [stay_silent, finish]
    settings = ClientSettings(address=server.address, call_timeout_s=20)
    calls = SyncCalls(settings, silence_watch=SilenceWatch(limit_s=0.2))

    finished = list(calls.follow(["t1"], timeout_s=20))
    calls.close()

    assert [each.task_id for each in finished] == ["t1"]
    assert len(server.waits) == 2


def test_a_mute_server_does_not_keep_a_wait_beyond_its_time(server: ScriptedServer, client: Client) -> None:
    server.stream_scripts = [stay_silent]
    started_s = time.monotonic()

    with pytest.raises(WaitTimeoutError) as caught:
        client.result("t1").get(timeout=1)

    assert time.monotonic() - started_s < 3
    assert isinstance(caught.value.__cause__, ServerUnavailableError)


def test_without_a_server_a_wait_ends_in_time_and_tells_why() -> None:
    with Client("127.0.0.1:1") as client, pytest.raises(WaitTimeoutError) as caught:
        client.result("t1").get(timeout=0.7)

    assert isinstance(caught.value.__cause__, ServerUnavailableError)


def test_an_outcome_that_is_final_is_asked_for_once(server: ScriptedServer, client: Client) -> None:
    result = client.result("t1")

    assert [result.get(), result.get(), result.wait(), result.result, result.state] == [
        30,
        30,
        "SUCCESS",
        30,
        "SUCCESS",
    ]
    assert len(server.waits) == 1


def test_leaving_as_completed_ends_its_stream(server: ScriptedServer, client: Client) -> None:
    def one_and_wait(request, context):  # type: ignore[no-untyped-def]
        yield WaitForResponse(tasks=[success("t1")])
        yield from stay_silent(request, context)

    server.stream_scripts = [one_and_wait]

    for done in client.as_completed([client.result("t1"), client.result("t2")]):
        assert done.id == "t1"
        break

    assert server.stream_ended.acquire(timeout=10)


def test_closing_the_client_ends_the_waits_of_other_threads(server: ScriptedServer, client: Client) -> None:
    server.stream_scripts = [stay_silent]
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(client.result("t1").get)
        assert server.called.acquire(timeout=10)

        client.close()

        with pytest.raises(ClientClosedError):
            waiting.result(10)


def test_a_closed_client_says_so_and_may_be_closed_again(client: Client) -> None:
    client.close()
    client.close()

    with pytest.raises(ClientClosedError):
        client.submit("add", 1, 2)
    with pytest.raises(ClientClosedError):
        client.result("t1").get()


def test_thousands_of_tasks_are_waited_for_over_several_streams(server: ScriptedServer, client: Client) -> None:
    results = [client.result(f"t{number}") for number in range(2500)]

    done = list(client.as_completed(results, timeout=30))

    assert {result.id for result in done} == {result.id for result in results}
    assert sorted(len(wait.targets) for wait in server.waits) == [500, 1000, 1000]
    assert all(result.get() == 30 for result in done)


def test_a_batch_repeats_what_was_not_answered_and_tells_what_was_refused(
    server: ScriptedServer, client: Client
) -> None:
    def answer_in_part(request, context):  # type: ignore[no-untyped-def]
        ids = [each.task_id for each in request.requests]
        refusal = ItemError(code=3, reason="LIMIT_EXCEEDED", message="too large")
        no_answer = ItemError(code=14, reason="STORE_UNAVAILABLE", message="no answer")
        return BatchSubmitResponse(
            items=[
                SubmitItem(task_id=ids[0], submitted={"created": True}),  # type: ignore[arg-type]
                SubmitItem(task_id=ids[1], error=refusal),
                SubmitItem(task_id=ids[2], error=no_answer),
            ]
        )

    server.call_scripts = [answer_in_part]

    with pytest.raises(BatchSubmitError, match="1 of 3 tasks were not accepted; item 1: too large") as caught:
        client.map("add", [(1, 2), (3, 4), (5, 6)])

    first, again = server.batches
    assert [each.task_id for each in again.requests] == [first.requests[2].task_id]
    assert [result.id for result in caught.value.accepted] == [first.requests[0].task_id, first.requests[2].task_id]
    assert {index: error.task_id for index, error in caught.value.errors.items()} == {1: first.requests[1].task_id}


def test_a_batch_goes_on_after_a_part_that_was_refused_as_a_whole(server: ScriptedServer, client: Client) -> None:
    server.call_scripts = [fail(grpc.StatusCode.INVALID_ARGUMENT, tailrace_reason="LIMIT_EXCEEDED")]

    with pytest.raises(BatchSubmitError) as caught:
        client.map("add", [(number, 0) for number in range(1001)])

    assert len(server.batches) == 2
    assert len(caught.value.errors) == 1000
    assert len(caught.value.accepted) == 1


def a_revoke_answer(error: ItemError | None = None) -> RevokeResponse:
    task = None if error else success("t1")
    return RevokeResponse(items=[RevokeResponse.Item(task_id="t1", error=error, task=task)])


def test_a_revocation_that_the_store_did_not_take_is_repeated(server: ScriptedServer) -> None:
    away = ItemError(code=UNAVAILABLE.value[0], reason="STORE_UNAVAILABLE")
    server.call_scripts = [fail(UNAVAILABLE), lambda *_: a_revoke_answer(away), lambda *_: a_revoke_answer()]

    with Client(server.address) as client:
        state = client.result("t1").revoke()

    assert (state, server.call_scripts) == ("SUCCESS", [])


def test_a_revocation_that_cannot_be_done_is_refused_at_once(server: ScriptedServer) -> None:
    server.call_scripts = [lambda *_: a_revoke_answer(ItemError(code=5, reason="TASK_NOT_FOUND"))]

    with Client(server.address) as client, pytest.raises(TaskNotFoundError):
        client.result("t1").revoke()

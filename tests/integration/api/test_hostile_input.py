"""Whatever is sent: a clear status with its reason, nothing stored, and a server that goes on as before."""

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import grpc
import psutil
import pytest

from tailrace.server.coordinator.coordinator import Coordinator
from tailrace.server.domain import limits
from tailrace.v1 import task_pb2, task_service_pb2, worker_service_pb2
from tailrace.v1 import worker_service_pb2 as pb
from tests.integration.api.serving import (
    CALL_S,
    MIB,
    Api,
    Refusal,
    a_request,
    a_success,
    a_worker,
    refused,
    seconds,
    serving,
)
from tests.integration.api.work_peer import WorkPeer
from tests.store.harness import Harness
from tests.wait import eventually_async

SERVICES = (
    task_service_pb2.DESCRIPTOR.services_by_name["TaskService"],
    worker_service_pb2.DESCRIPTOR.services_by_name["WorkerService"],
)
METHODS = [method for service in SERVICES for method in service.methods]
GARBAGE = [
    pytest.param(b"\xff" * 64, id="ones"),
    pytest.param(b"\x0a\xff\xff\xff\xff\x07short", id="length beyond the end"),
    pytest.param(b"\x0b\x0b\x0b\x0b", id="groups without an end"),
]
HOSTILE_NAMES = [
    "{}",
    "{a}",
    "a\n",
    "a\nb",
    "a\r\nHTTP/1.1 200",
    "../../etc",
    "a b",
    "\0",
    "a" * 129,
    "\N{SNOWMAN}",
    "*",
]
INVALID_ARGUMENT = grpc.StatusCode.INVALID_ARGUMENT
INVALID = (INVALID_ARGUMENT, "INVALID_REQUEST")


def outcome(refusal: Refusal) -> tuple[grpc.StatusCode, str | None]:
    return refusal.code, refusal.reason


async def is_empty(api: Api) -> bool:
    """Tell whether no queue that these tests name has a task."""
    return await api.lease_many(100, queues=("default", "other")) == []


def path_of(method: Any) -> str:
    return f"/{method.containing_service.full_name}/{method.name}"


async def call_raw(api: Api, method: Any, *requests: bytes) -> Refusal:
    """Call a method with any bytes."""
    path = path_of(method)
    if method.client_streaming:
        bidi: Any = api.channel.stream_stream(path)(timeout=CALL_S)
        with contextlib.suppress(asyncio.InvalidStateError):
            for request in requests:
                await bidi.write(request)
            await bidi.done_writing()
        return await refused(bidi.read())
    if method.server_streaming:
        unary_stream: Any = api.channel.unary_stream(path)
        return await refused(unary_stream(requests[0], timeout=CALL_S).read())
    unary: Any = api.channel.unary_unary(path)
    return await refused(unary(requests[0], timeout=CALL_S))


@pytest.mark.parametrize("garbage", GARBAGE)
async def test_bytes_that_are_no_message_are_refused_by_every_method(lone_api: Api, garbage: bytes) -> None:
    refusals = {method: await call_raw(lone_api, method, garbage) for method in METHODS}

    assert {method.name: outcome(refusal) for method, refusal in refusals.items()} == {
        method.name: INVALID for method in METHODS
    }
    assert all(method.input_type.full_name in refusal.message for method, refusal in refusals.items())
    await lone_api.check_unharmed()


async def test_method_that_is_not_there_is_unimplemented(lone_api: Api) -> None:
    nothing: Any = lone_api.channel.unary_unary("/tailrace.v1.TaskService/Nothing")

    refusal = await refused(nothing(b"", timeout=CALL_S))

    assert refusal.code is grpc.StatusCode.UNIMPLEMENTED


def calls_with(api: Api, name: str) -> list[Awaitable[object]]:
    target = task_service_pb2.WaitTarget(task_id=name)
    return [
        api.tasks.Submit(a_request(name), timeout=CALL_S),
        api.tasks.Submit(a_request("good", task_type=name), timeout=CALL_S),
        api.tasks.Submit(a_request("good", queue=name), timeout=CALL_S),
        api.tasks.GetResult(task_service_pb2.GetResultRequest(task_id=name), timeout=CALL_S),
        api.tasks.WaitFor(task_service_pb2.WaitForRequest(targets=[target]), timeout=CALL_S).read(),
        api.workers.LeaseTasks(pb.LeaseTasksRequest(worker=a_worker(name), max_tasks=1), timeout=CALL_S),
    ]


async def test_hostile_names_are_refused_wherever_they_stand_and_nothing_is_stored(api: Api) -> None:
    refusals = {name: [await refused(call) for call in calls_with(api, name)] for name in HOSTILE_NAMES}

    assert {name: [outcome(refusal) for refusal in each] for name, each in refusals.items()} == {
        name: [INVALID] * 6 for name in HOSTILE_NAMES
    }
    assert (await refused(api.result("good"))).reason == "TASK_NOT_FOUND"
    assert await is_empty(api)
    await api.check_unharmed()


async def test_hostile_names_of_items_and_leases_are_answered_one_by_one(lone_api: Api) -> None:
    submits = [a_request(name) for name in HOSTILE_NAMES]
    submitted = await lone_api.tasks.BatchSubmit(task_service_pb2.BatchSubmitRequest(requests=submits), timeout=CALL_S)
    read = await lone_api.tasks.BatchGetResults(
        task_service_pb2.BatchGetResultsRequest(task_ids=HOSTILE_NAMES), timeout=CALL_S
    )
    leases = [pb.LeaseRef(task_id=name, lease_token=b"token") for name in HOSTILE_NAMES]
    acks = await lone_api.store_many(*[a_success(lease) for lease in leases])
    statuses = [await lone_api.beat(lease) for lease in leases]

    count = len(HOSTILE_NAMES)
    assert [item.error.reason for item in submitted.items] == ["INVALID_REQUEST"] * count
    assert [item.error.reason for item in read.items] == ["INVALID_REQUEST"] * count
    assert [ack.error.reason for ack in acks] == ["LEASE_LOST"] * count
    assert [status.held for status in statuses] == [False] * count
    assert await is_empty(lone_api)


async def test_payload_of_five_mib_is_refused_by_our_limit_and_not_by_grpc(api: Api) -> None:
    request = a_request(data=b"x" * (5 * MIB))

    refusal = await refused(api.tasks.Submit(request, timeout=CALL_S))

    assert outcome(refusal) == (INVALID_ARGUMENT, "LIMIT_EXCEEDED")
    assert "spec.input.data" in refusal.message
    assert (await refused(api.result())).reason == "TASK_NOT_FOUND"
    assert await is_empty(api)
    await api.check_unharmed()


async def test_message_beyond_every_limit_is_refused_by_grpc_and_harms_nobody(lone_api: Api) -> None:
    refusal = await refused(lone_api.tasks.Submit(a_request(data=b"x" * (17 * MIB)), timeout=CALL_S))

    assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    await lone_api.check_unharmed()


async def test_five_mib_that_are_no_known_field_are_not_stored(lone_api: Api) -> None:
    request = a_request()
    length = 5 * MIB
    varint = bytes([length & 0x7F | 0x80, length >> 7 & 0x7F | 0x80, length >> 14 & 0x7F | 0x80, length >> 21])
    request.spec.MergeFromString(b"\xfa\x3e" + varint + b"x" * length)

    await lone_api.tasks.Submit(request, timeout=CALL_S)

    assert (await lone_api.lease()).ByteSize() < 1_000


async def test_unknown_values_of_enums_are_refused_and_change_nothing(api: Api) -> None:
    await api.submit()
    assignment = await api.lease(start=True)
    failure = task_pb2.Failure(kind=77, message="of no known kind")  # type: ignore[arg-type]
    strange = pb.AttemptResult(lease=assignment.lease, failure=failure)
    wait = task_service_pb2.WaitForRequest(targets=[task_service_pb2.WaitTarget(task_id="task-1")], condition=77)  # type: ignore[arg-type]

    refusals = [
        await refused(api.store(strange)),
        await refused(api.tasks.WaitFor(wait, timeout=CALL_S).read()),
    ]

    assert [outcome(refusal) for refusal in refusals] == [INVALID, INVALID]
    assert ["result.failure.kind" in refusals[0].message, "condition" in refusals[1].message] == [True, True]
    assert await api.state() == "STARTED"
    assert (await api.store(a_success(assignment.lease))).state == task_pb2.TASK_STATE_SUCCESS


async def test_failure_of_a_forged_kind_is_refused(api: Api) -> None:
    await api.submit()
    assignment = await api.lease(start=True)
    forged = task_pb2.Failure(kind=task_pb2.FAILURE_KIND_LEASE_EXPIRED)

    refusal = await refused(api.store(pb.AttemptResult(lease=assignment.lease, failure=forged)))

    assert outcome(refusal) == INVALID
    assert await api.state() == "STARTED"


async def test_stream_that_opens_with_nothing_is_refused(lone_api: Api) -> None:
    peer = WorkPeer(lone_api)
    await peer.close_without_a_word()

    refusal = await peer.refusal()

    assert outcome(refusal) == INVALID
    assert refusal.message.startswith("hello: is required")
    await lone_api.check_unharmed()


async def test_stream_that_stays_silent_is_refused(lone_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HELLO_S", 0.05)
    peer = WorkPeer(lone_api)

    refusal = await peer.refusal()

    assert outcome(refusal) == INVALID
    assert refusal.message.startswith("hello: is required")


FLOW = pb.FlowControl(max_outstanding_tasks=1)
LEASE = pb.LeaseRef(task_id="unknown", lease_token=b"token")


@pytest.mark.parametrize(
    ("frame", "field"),
    [
        pytest.param(pb.WorkRequest(), "hello", id="nothing"),
        pytest.param(pb.WorkRequest(flow_control=FLOW), "hello", id="flow control"),
        pytest.param(pb.WorkRequest(beats=pb.LeaseBeats()), "hello", id="beats"),
        pytest.param(pb.WorkRequest(results=pb.AttemptResults(results=[a_success(LEASE)])), "hello", id="results"),
        pytest.param(pb.WorkRequest(drain=pb.Drain()), "hello", id="drain"),
        pytest.param(
            pb.WorkRequest(hello=pb.Hello(protocol_version=1, flow_control=FLOW)), "hello.worker.queues", id="nobody"
        ),
        pytest.param(
            pb.WorkRequest(hello=pb.Hello(protocol_version=1, worker=a_worker("{}"), flow_control=FLOW)),
            "hello.worker.queues[0]",
            id="hostile queue",
        ),
        pytest.param(
            pb.WorkRequest(hello=pb.Hello(protocol_version=1, worker=a_worker())),
            "hello.flow_control",
            id="no flow control",
        ),
        pytest.param(
            pb.WorkRequest(
                hello=pb.Hello(
                    protocol_version=1, worker=a_worker(), flow_control=pb.FlowControl(max_outstanding_tasks=-1)
                )
            ),
            "hello.flow_control.max_outstanding_tasks",
            id="negative credit",
        ),
        pytest.param(
            pb.WorkRequest(
                hello=pb.Hello(
                    protocol_version=1, worker=a_worker(), flow_control=pb.FlowControl(max_outstanding_tasks=10_001)
                )
            ),
            "hello.flow_control.max_outstanding_tasks",
            id="too much credit",
        ),
    ],
)
async def test_stream_that_opens_with_the_wrong_frame_is_refused_by_field(
    lone_api: Api, frame: pb.WorkRequest, field: str
) -> None:
    await lone_api.submit()
    peer = WorkPeer(lone_api)
    await peer.say(**{kind.name: value for kind, value in frame.ListFields()})

    refusal = await peer.refusal()

    assert outcome(refusal) == INVALID
    assert refusal.message.startswith(f"{field}: ")
    assert await lone_api.state() == "PENDING/QUEUED"


async def test_hello_with_too_much_of_something_is_refused(lone_api: Api) -> None:
    many_queues, many_leases = WorkPeer(lone_api), WorkPeer(lone_api)
    await many_queues.say(hello=pb.Hello(protocol_version=1, worker=a_worker(*["q"] * 65), flow_control=FLOW))
    await many_leases.say(
        hello=pb.Hello(protocol_version=1, worker=a_worker(), flow_control=FLOW, held_leases=[LEASE] * 10_001)
    )

    refusals = [await many_queues.refusal(), await many_leases.refusal()]

    assert [outcome(refusal) for refusal in refusals] == [(INVALID_ARGUMENT, "LIMIT_EXCEEDED")] * 2


async def test_ten_thousand_held_leases_of_any_form_are_answered_within_a_message(lone_api: Api) -> None:
    peer = WorkPeer(lone_api)

    welcome = await peer.hello(held=[pb.LeaseRef(task_id="\N{SNOWMAN}" * 300, lease_token=b"t" * 300)] * 10_000)

    assert len(welcome.leases) == 10_000
    assert not any(status.held for status in welcome.leases)
    await peer.close()


@pytest.mark.parametrize("version", [0, 2, -1])
async def test_protocol_of_another_time_is_refused_with_those_that_are_spoken(lone_api: Api, version: int) -> None:
    peer = WorkPeer(lone_api)
    await peer.say(hello=pb.Hello(protocol_version=version, worker=a_worker(), flow_control=FLOW))

    refusal = await peer.refusal()

    assert outcome(refusal) == (grpc.StatusCode.FAILED_PRECONDITION, "PROTOCOL_UNSUPPORTED")
    assert "only 1 to 1" in refusal.message


TOO_MANY = 1_001


@pytest.mark.parametrize(
    ("frame", "expected", "field"),
    [
        pytest.param(
            {"hello": pb.Hello(protocol_version=1, worker=a_worker(), flow_control=FLOW)},
            "INVALID_REQUEST",
            "hello",
            id="second hello",
        ),
        pytest.param(
            {"flow_control": pb.FlowControl(max_outstanding_tasks=10_001)},
            "INVALID_REQUEST",
            "flow_control.max_outstanding_tasks",
            id="too much credit",
        ),
        pytest.param(
            {"beats": pb.LeaseBeats(beats=[pb.LeaseBeat(lease=LEASE)] * TOO_MANY)},
            "LIMIT_EXCEEDED",
            "beats.beats",
            id="too many beats",
        ),
        pytest.param(
            {"results": pb.AttemptResults(results=[a_success(LEASE)] * TOO_MANY)},
            "LIMIT_EXCEEDED",
            "results.results",
            id="too many results",
        ),
        pytest.param(
            {"releases": pb.LeaseReleases(leases=[LEASE] * TOO_MANY)},
            "LIMIT_EXCEEDED",
            "releases.leases",
            id="too many releases",
        ),
        pytest.param(
            {"releases": pb.LeaseReleases(leases=[LEASE], delay=seconds(3_601))},
            "INVALID_REQUEST",
            "releases.delay",
            id="too long a rest",
        ),
    ],
)
async def test_frame_that_breaks_the_protocol_ends_the_stream_by_field(
    api: Api, frame: dict[str, Any], expected: str, field: str
) -> None:
    await api.submit()
    peer = WorkPeer(api)
    await peer.hello(credit=1)
    (assignment,) = await peer.assigned()
    await peer.start(assignment.lease)

    await peer.say(**frame)
    refusal = await peer.refusal()

    assert outcome(refusal) == (INVALID_ARGUMENT, expected)
    assert refusal.message.startswith(f"{field}: ")
    assert await api.state() == "STARTED"
    await eventually_async(lambda: api.server.dispatcher.consumer_count == 0, "the stream is over")
    assert (await api.store(a_success(assignment.lease))).state == task_pb2.TASK_STATE_SUCCESS


async def test_garbage_in_the_midst_of_a_stream_ends_it_and_nothing_else(lone_api: Api) -> None:
    (work,) = [method for method in METHODS if method.name == "Work"]
    hello = pb.WorkRequest(hello=pb.Hello(protocol_version=1, worker=a_worker(), flow_control=FLOW))
    call: Any = lone_api.channel.stream_stream(path_of(work))(timeout=CALL_S)
    await call.write(hello.SerializeToString())
    assert pb.WorkResponse.FromString(await call.read()).HasField("welcome")

    await call.write(b"\xff" * 64)
    refusal = await refused(call.read())

    assert outcome(refusal) == INVALID
    await lone_api.check_unharmed()


async def test_result_over_the_limit_is_a_failure_and_its_worker_goes_on(api: Api) -> None:
    await api.submit("large")
    await api.submit("small")
    peer = WorkPeer(api)
    await peer.hello(credit=2)
    large, small = [assignment.lease for assignment in await peer.assigned(2)]
    await peer.start(large, small)

    acks = await peer.finish(a_success(large, b"x" * (MIB + 1)), a_success(small))

    assert [(ack.state, ack.HasField("error")) for ack in acks] == [
        (task_pb2.TASK_STATE_FAILURE, False),
        (task_pb2.TASK_STATE_SUCCESS, False),
    ]
    failure = (await api.result("large")).failure
    assert (failure.kind, failure.type) == (task_pb2.FAILURE_KIND_SYSTEM, "ResultTooLarge")
    assert str(MIB) in failure.message
    await peer.close()


def http_1() -> bytes:
    return b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


def noise() -> bytes:
    return os.urandom(4_096)


def tls_hello() -> bytes:
    """Make the first flight of a TLS client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def broken_http_2() -> bytes:
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 64


@pytest.mark.parametrize("opening", [http_1, noise, tls_hello, broken_http_2])
async def test_bytes_that_are_no_grpc_close_their_connection_and_harm_nobody(lone_api: Api, opening: Any) -> None:
    host, _, port = lone_api.server.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(opening())
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(CALL_S):
                while await reader.read(65_536):
                    pass
        assert reader.at_eof() or reader.exception() is not None
    finally:
        writer.close()
    await lone_api.check_unharmed()


async def test_many_connections_that_say_nothing_keep_nobody_out(lone_api: Api) -> None:
    host, _, port = lone_api.server.address.rpartition(":")
    process = psutil.Process()

    def open_count() -> int:
        return sum(connection.laddr.port == int(port) for connection in process.net_connections("tcp4"))

    before = open_count()
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(socket.create_connection((host, int(port)), timeout=CALL_S))

        await lone_api.check_unharmed()
    # Before the server stops: gRPC 1.78 may crash when it does so with connections that never spoke.
    await eventually_async(lambda: open_count() <= before, "the server has let go of them")


@pytest.fixture
async def crashing(sqlite: Harness, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Api, pb.LeaseRef]]:
    """Run a server that has a bug; a worker holds a lease from before it came up."""

    async def crash(*_: object, **__: object) -> None:
        raise KeyError("redis://:secret@internal-host:6379 is what nobody outside may read")

    async with serving(sqlite) as api:
        await api.submit("held")
        assignment = await api.lease(start=True)
        for use_case in ("submit", "read", "lease", "heartbeat", "store_results", "release"):
            monkeypatch.setattr(Coordinator, use_case, crash)
        yield api, assignment.lease
        monkeypatch.undo()


async def test_bug_is_told_as_an_incident_and_leaks_nothing(crashing: tuple[Api, pb.LeaseRef]) -> None:
    api, lease = crashing
    refusals = [
        await refused(api.tasks.Submit(a_request(), timeout=CALL_S)),
        await refused(api.result()),
        await refused(api.lease_many()),
        await refused(api.beat(lease)),
        await refused(api.store(a_success(lease))),
        await refused(api.workers.ReleaseTasks(pb.ReleaseTasksRequest(leases=[lease]), timeout=CALL_S)),
    ]

    assert {outcome(refusal) for refusal in refusals} == {(grpc.StatusCode.INTERNAL, "INTERNAL")}
    for refusal in refusals:
        said = repr((refusal.message, refusal.trailers))
        assert "secret" not in said
        assert "KeyError" not in said
        assert refusal.message.startswith("internal error, incident ")
    assert len({refusal.message for refusal in refusals}) == len(refusals)


async def test_bug_ends_a_work_stream_with_an_incident(crashing: tuple[Api, pb.LeaseRef]) -> None:
    api, lease = crashing
    peer = WorkPeer(api)
    await peer.say(hello=pb.Hello(protocol_version=1, worker=a_worker(), flow_control=FLOW, held_leases=[lease]))

    refusal = await peer.refusal()

    assert outcome(refusal) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert "secret" not in repr(refusal)


async def test_interrupted_call_is_told_that_its_outcome_is_unknown(
    lone_api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def interrupt(*_: object) -> None:
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    monkeypatch.setattr(Coordinator, "read", interrupt)

    async with asyncio.timeout(CALL_S / 2):
        refusal = await refused(lone_api.result())

    assert outcome(refusal) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
    assert "unknown" in refusal.message

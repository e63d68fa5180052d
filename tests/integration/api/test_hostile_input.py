"""Whatever is sent: a clear status with its reason, nothing stored, and a server that goes on as before."""

import asyncio
import contextlib
from collections.abc import Awaitable
from typing import Any

import grpc
import pytest

from tailrace.v1 import admin_service_pb2, task_pb2, task_service_pb2, worker_service_pb2
from tailrace.v1 import worker_service_pb2 as pb
from tests.integration.api.serving import CALL_S, MIB, Api, Refusal, a_request, a_success, a_worker, refused

SERVICES = (
    task_service_pb2.DESCRIPTOR.services_by_name["TaskService"],
    worker_service_pb2.DESCRIPTOR.services_by_name["WorkerService"],
    admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"],
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

    assert {method.name: refusal.outcome for method, refusal in refusals.items()} == {
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

    assert {name: [refusal.outcome for refusal in each] for name, each in refusals.items()} == {
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

    assert refusal.outcome == (INVALID_ARGUMENT, "LIMIT_EXCEEDED")
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

    assert [refusal.outcome for refusal in refusals] == [INVALID, INVALID]
    assert ["result.failure.kind" in refusals[0].message, "condition" in refusals[1].message] == [True, True]
    assert await api.state() == "STARTED"
    assert (await api.store(a_success(assignment.lease))).state == task_pb2.TASK_STATE_SUCCESS


async def test_failure_of_a_forged_kind_is_refused(api: Api) -> None:
    await api.submit()
    assignment = await api.lease(start=True)
    forged = task_pb2.Failure(kind=task_pb2.FAILURE_KIND_LEASE_EXPIRED)

    refusal = await refused(api.store(pb.AttemptResult(lease=assignment.lease, failure=forged)))

    assert refusal.outcome == INVALID
    assert await api.state() == "STARTED"

"""Streams end, and say why, whatever the other side was doing when they had to."""

import grpc
import pytest

from tailrace.server.domain import limits
from tailrace.v1 import worker_service_pb2 as pb
from tailrace.v1.task_service_pb2 import WaitForRequest, WaitTarget
from tests.integration.api.serving import MIB, Api, a_worker
from tests.integration.api.work_peer import WorkPeer
from tests.wait import eventually_async


async def test_worker_refused_while_something_is_being_written_to_it_hears_why(lone_api: Api) -> None:
    # The welcome is on its way out, or not, when the second frame is refused: chance decides, so it gets some.
    for _ in range(10):
        peer = WorkPeer(lone_api)
        hello = pb.Hello(protocol_version=1, worker=a_worker(), flow_control=pb.FlowControl(max_outstanding_tasks=1))
        await peer.say(hello=hello)
        await peer.say(flow_control=pb.FlowControl(max_outstanding_tasks=-1))

        refusal = await peer.refusal()

        assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")


async def test_client_that_stops_reading_is_let_go_and_can_tell_that_it_has_to_come_again(
    lone_api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SILENCE_S", 0.2)
    names = [f"task-{number}" for number in range(20)]
    for name in names:
        await lone_api.submit(name)
        await lone_api.run(name, data=bytes(MIB - 1_000))
    targets = [WaitTarget(task_id=name) for name in names]
    call = lone_api.tasks.WaitFor(WaitForRequest(targets=targets), timeout=60)
    await eventually_async(lambda: lone_api.server.waiting.task_count > 0, "the call is being served")

    await eventually_async(lambda: lone_api.server.waiting.task_count == 0, "the client is let go")

    messages = [message async for message in call]
    assert 0 < sum(len(message.tasks) for message in messages) < len(names)
    assert not any(message.end_reason for message in messages)
    assert await call.code() is grpc.StatusCode.OK

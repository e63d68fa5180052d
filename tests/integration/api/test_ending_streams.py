"""Streams end, and say why, whatever the other side was doing when they had to."""

import grpc

from tailrace.v1 import worker_service_pb2 as pb
from tests.integration.api.serving import Api, a_worker
from tests.integration.api.work_peer import WorkPeer


async def test_worker_refused_while_something_is_being_written_to_it_hears_why(lone_api: Api) -> None:
    # The welcome is on its way out, or not, when the second frame is refused: chance decides, so it gets some.
    for _ in range(10):
        peer = WorkPeer(lone_api)
        hello = pb.Hello(protocol_version=1, worker=a_worker(), flow_control=pb.FlowControl(max_outstanding_tasks=1))
        await peer.say(hello=hello)
        await peer.say(flow_control=pb.FlowControl(max_outstanding_tasks=-1))

        refusal = await peer.refusal()

        assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")

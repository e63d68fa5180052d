"""Steps that several tests of leases take."""

from collections.abc import Awaitable

import grpc

from tailrace.v1 import worker_service_pb2 as pb
from tests.integration.api.serving import CALL_S, Api, refused

UNKNOWN = pb.LeaseRef(task_id="unknown", lease_token=b"never handed out")


def stale(lease: pb.LeaseRef) -> pb.LeaseRef:
    return pb.LeaseRef(task_id=lease.task_id, lease_token=lease.lease_token[:-1] + bytes([lease.lease_token[-1] ^ 1]))


async def heartbeat(api: Api, *beats: pb.LeaseBeat) -> pb.HeartbeatResponse:
    return await api.workers.Heartbeat(pb.HeartbeatRequest(worker_id="w", beats=beats), timeout=CALL_S)


async def is_lost(call: Awaitable[object]) -> bool:
    refusal = await refused(call)
    return (refusal.code, refusal.reason) == (grpc.StatusCode.ABORTED, "LEASE_LOST")

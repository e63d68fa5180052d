"""Steps that several tests of the Work stream take."""

from typing import Any

from tailrace.v1 import worker_service_pb2 as pb
from tests.integration.api.serving import Api
from tests.integration.api.work_peer import WorkPeer
from tests.wait import eventually_answers, eventually_async


def ids(assignments: list[pb.Assignment]) -> list[str]:
    return [assignment.lease.task_id for assignment in assignments]


async def peer_with_task(api: Api, task_id: str = "task-1", **spec: Any) -> tuple[WorkPeer, pb.Assignment]:
    await api.submit(task_id, **spec)
    peer = WorkPeer(api)
    await peer.hello()
    (assignment,) = await peer.assigned()
    return peer, assignment


async def until_state(api: Api, task_id: str, state: str) -> None:
    await eventually_answers(lambda: api.state(task_id), state, within_s=30)


async def nobody_is_served(api: Api) -> None:
    await eventually_async(lambda: api.server.dispatcher.consumer_count == 0, "the stream is over")


async def nothing_more_is_drawn(api: Api) -> None:
    pools = api.server.dispatcher._pools
    await eventually_async(lambda: not any(pool.room for pool in pools.values()), "nobody has room")

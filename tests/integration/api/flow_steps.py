"""Steps that several tests of credits take."""

from collections.abc import Mapping
from random import Random

from tailrace.v1 import worker_service_pb2 as pb
from tests.integration.api.serving import Api, a_success
from tests.integration.api.work_peer import WorkPeer

KIB = 1 << 10
SURROUNDING_BYTES = 64
"""What goes around the data of an input here, at most: its content type, and tags."""


def flow(tasks: int, max_bytes: int = 0) -> pb.FlowControl:
    return pb.FlowControl(max_outstanding_tasks=tasks, max_outstanding_bytes=max_bytes)


def for_kib(kib: int, tasks: int = 100) -> pb.FlowControl:
    """Have room for so many inputs of a KiB each, and not for one more."""
    return flow(tasks, kib * (KIB + SURROUNDING_BYTES))


async def submit_kib(api: Api, **sizes_kib: int) -> None:
    for task_id, size_kib in sizes_kib.items():
        await api.submit(task_id, data=bytes(size_kib * KIB))


async def work_off(api: Api, sizes_kib: Mapping[str, int], dice: Random) -> list[str]:
    """Do all these tasks on one stream, ending some of those held at a time, and see that it never holds too much."""
    max_tasks, max_kib = 5, 6
    peer = WorkPeer(api)
    await peer.hello(flow_control=for_kib(max_kib, tasks=max_tasks))
    order: list[str] = []
    held: list[pb.LeaseRef] = []
    while len(order) < len(sizes_kib) or held:
        frame = await peer.hear()
        assert frame is not None
        leases = [assignment.lease for assignment in frame.assignments.assignments]
        order += [lease.task_id for lease in leases]
        held += leases
        assert len(held) <= max_tasks
        assert sum(sizes_kib[lease.task_id] for lease in held) <= max_kib or len(held) == 1
        if held:
            done = dice.sample(held, dice.randint(1, len(held)))
            held = [lease for lease in held if lease not in done]
            await peer.say(results=pb.AttemptResults(results=map(a_success, done)))
    await peer.close()
    return order

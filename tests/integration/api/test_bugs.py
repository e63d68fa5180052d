"""A bug of the server: told as an incident, with nothing of it leaking out."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest

from tailrace.server.coordinator.coordinator import Coordinator
from tailrace.v1 import worker_service_pb2 as pb
from tests.integration.api.serving import CALL_S, Api, a_request, a_success, a_worker, refused, serving
from tests.integration.api.work_peer import WorkPeer
from tests.store.harness import Harness


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

    assert {refusal.outcome for refusal in refusals} == {(grpc.StatusCode.INTERNAL, "INTERNAL")}
    for refusal in refusals:
        said = repr((refusal.message, refusal.trailers))
        assert "secret" not in said
        assert "KeyError" not in said
        assert refusal.message.startswith("internal error, incident ")
    assert len({refusal.message for refusal in refusals}) == len(refusals)


async def test_bug_ends_a_work_stream_with_an_incident(crashing: tuple[Api, pb.LeaseRef]) -> None:
    api, lease = crashing
    peer = WorkPeer(api)
    await peer.say(
        hello=pb.Hello(protocol_version=1, worker=a_worker(), flow_control=pb.FlowControl(), held_leases=[lease])
    )

    refusal = await peer.refusal()

    assert refusal.outcome == (grpc.StatusCode.INTERNAL, "INTERNAL")
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

    assert refusal.outcome == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
    assert "unknown" in refusal.message

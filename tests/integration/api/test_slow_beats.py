"""A beat whose answer is on its way while something happens to the lease: the worker hears of that all the same."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from tailrace.server.store.sqlite.store import SqliteStore
from tailrace.server.store.values import Beat, LeaseHeld
from tailrace.v1 import worker_service_pb2 as pb
from tailrace.v1.task_service_pb2 import RevokeRequest
from tests.integration.api.serving import CALL_S, Api, serving
from tests.integration.api.work_peer import WorkPeer
from tests.store.sqlite_harness import SqliteHarness


class SlowBeats(SqliteStore):
    """The embedded store, whose answers to beats are held back."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.has_beaten = asyncio.Event()
        self.may_answer = asyncio.Event()

    async def beat_leases(self, partition: int, beats: Sequence[Beat]) -> list[LeaseHeld | None]:
        answers = await super().beat_leases(partition, beats)
        self.has_beaten.set()
        await self.may_answer.wait()
        return answers


@pytest.fixture
def store(tmp_path: Path) -> SlowBeats:
    return SlowBeats(tmp_path / "tailrace.db")


@pytest.fixture
async def api(store: SlowBeats, tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(SqliteHarness(tmp_path / "unused.db", partitions=1), store) as api:
        yield api


async def test_revoke_right_after_the_first_beat_is_told_at_once(api: Api, store: SlowBeats) -> None:
    await api.submit()
    peer = WorkPeer(api)
    await peer.hello()
    (assignment,) = await peer.assigned()
    await peer.say(beats=pb.LeaseBeats(beats=[pb.LeaseBeat(lease=assignment.lease)]))
    await asyncio.wait_for(store.has_beaten.wait(), CALL_S)

    await api.tasks.Revoke(RevokeRequest(task_ids=["task-1"]), timeout=CALL_S)
    (news,) = (await peer.expect("lease_statuses")).statuses
    store.may_answer.set()
    (answer,) = (await peer.expect("lease_statuses")).statuses

    assert [status.held for status in (news, answer)] == [True, True]
    assert news.revoke_requested
    await peer.succeed(assignment.lease)
    await peer.close()

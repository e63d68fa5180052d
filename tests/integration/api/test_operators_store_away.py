"""A store that does not answer those who look at tasks and operate queues: each call says so and can be repeated."""

from collections.abc import AsyncIterator, Awaitable, Sequence
from pathlib import Path
from typing import TypeVar

import grpc
import pytest

from tailrace.server.domain.detail import TaskDetail
from tailrace.server.domain.errors import StoreUnavailableError
from tailrace.server.domain.task import Submission
from tailrace.server.store.operators import Listed, Purged, QueueStats, WorkerPresence
from tailrace.server.store.sqlite.store import SqliteStore
from tailrace.server.store.values import Submitted
from tailrace.v1 import admin_service_pb2 as admin_pb
from tests.integration.api.looking_steps import delete, fail, page_of, queue_of, resubmit, task_of, workers_of
from tests.integration.api.serving import CALL_S, Api, refused, serving
from tests.store.sqlite_harness import SqliteHarness

Answer = TypeVar("Answer")

UNAVAILABLE = (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")


class LossyStore(SqliteStore):
    """The embedded store, whose answers to operators get lost for a while: what was asked has happened all the same."""

    is_away = False

    async def list_tasks(self, partition: int, cursor: str, limit: int, *, with_payloads: bool) -> Listed:
        return self._lose(await super().list_tasks(partition, cursor, limit, with_payloads=with_payloads))

    async def list_queues(self, partition: int, after: str, limit: int) -> list[QueueStats]:
        return self._lose(await super().list_queues(partition, after, limit))

    async def pause_queue(self, partition: int, queue: str, *, is_paused: bool) -> QueueStats:
        return self._lose(await super().pause_queue(partition, queue, is_paused=is_paused))

    async def purge_queue(self, partition: int, queue: str, cursor: str, limit: int, failure: bytes) -> Purged:
        return self._lose(await super().purge_queue(partition, queue, cursor, limit, failure))

    async def delete_tasks(self, partition: int, task_ids: Sequence[str]) -> list[bool | None]:
        return self._lose(await super().delete_tasks(partition, task_ids))

    async def read_details(self, partition: int, task_ids: Sequence[str]) -> list[TaskDetail | None]:
        return self._lose(await super().read_details(partition, task_ids))

    async def list_workers(self) -> list[WorkerPresence]:
        return self._lose(await super().list_workers())

    async def submit_tasks(
        self, partition: int, submissions: Sequence[Submission], *, max_queue_depth: int | None = None
    ) -> list[Submitted]:
        return self._lose(await super().submit_tasks(partition, submissions, max_queue_depth=max_queue_depth))

    def _lose(self, answer: Answer) -> Answer:
        if self.is_away:
            raise StoreUnavailableError("the answer was lost")
        return answer


@pytest.fixture
def store(tmp_path: Path) -> LossyStore:
    return LossyStore(tmp_path / "tailrace.db")


@pytest.fixture
async def api(store: LossyStore, tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(SqliteHarness(tmp_path / "unused.db", partitions=1), store) as api:
        yield api


def pausing(api: Api) -> Awaitable[admin_pb.PauseQueueResponse]:
    return api.admin.PauseQueue(admin_pb.PauseQueueRequest(queue="default"), timeout=CALL_S)


def purging(api: Api) -> Awaitable[admin_pb.PurgeQueueResponse]:
    return api.admin.PurgeQueue(admin_pb.PurgeQueueRequest(queue="default", force=True), timeout=CALL_S)


async def test_every_call_says_that_the_store_did_not_answer(api: Api, store: LossyStore) -> None:
    drain = admin_pb.DrainWorkerRequest(worker_id="worker-1")
    resume = admin_pb.ResumeQueueRequest(queue="default")
    store.is_away = True

    refusals = [
        await refused(call)
        for call in (
            task_of(api),
            page_of(api),
            delete(api, allow_missing=True),
            resubmit(api),
            queue_of(api),
            pausing(api),
            api.admin.ResumeQueue(resume, timeout=CALL_S),
            purging(api),
            workers_of(api),
            api.admin.DrainWorker(drain, timeout=CALL_S),
        )
    ]

    assert [refusal.outcome for refusal in refusals] == [UNAVAILABLE] * 10
    assert {refusal.trailers["grpc-retry-pushback-ms"] for refusal in refusals} == {"200"}


async def test_pause_and_purge_whose_answers_were_lost_can_be_repeated(api: Api, store: LossyStore) -> None:
    await api.submit_many("task-1", "task-2")
    store.is_away = True
    await refused(pausing(api))
    await refused(purging(api))
    store.is_away = False

    paused, purged = await pausing(api), await purging(api)

    assert (paused.queue.paused, purged.purge_count, purged.remaining_count) == (True, 0, 0)
    assert [await api.state(task_id) for task_id in ("task-1", "task-2")] == ["REVOKED", "REVOKED"]


async def test_delete_whose_answer_was_lost_can_be_repeated_where_it_may_be_missing(
    api: Api, store: LossyStore
) -> None:
    await fail(api)
    store.is_away = True
    await refused(delete(api))
    store.is_away = False

    await delete(api, allow_missing=True)

    assert (await refused(delete(api))).reason == "TASK_NOT_FOUND"


async def test_running_again_says_under_which_id_it_may_have_happened(
    api: Api, store: LossyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fail(api)
    monkeypatch.setattr(store, "read_details", super(LossyStore, store).read_details)
    store.is_away = True
    refusal = await refused(resubmit(api))
    store.is_away = False

    again = await resubmit(api, new_task_id=refusal.trailers["task_id"])

    assert (refusal.outcome, again.created) == (UNAVAILABLE, False)
    await api.run(again.task.task_id)
    assert await api.lease_many() == []

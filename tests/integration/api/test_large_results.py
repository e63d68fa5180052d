"""Many large results: each comes whole, and no call of the store is made to carry them all."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import pytest

from tailrace.server.domain.task import TaskSnapshot
from tailrace.server.store.base import MAX_CALL_BYTES
from tailrace.v1.task_service_pb2 import BatchGetResultsRequest, WaitForRequest, WaitTarget
from tests.integration.api.serving import CALL_S, Api, serving
from tests.store.harness import Harness

NAMES = [f"task-{number:02}" for number in range(24)]
RESULT_BYTES = 300_000
Read = Callable[[int, Sequence[str]], Awaitable[list[TaskSnapshot | None]]]


def value_of(name: str) -> bytes:
    return name.encode() * (RESULT_BYTES // len(name))


@pytest.fixture
def carried(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the bytes of results that each read of the store brings."""
    carried: list[int] = []
    store = harness.store
    for name in ("read_tasks", "register_waits"):
        monkeypatch.setattr(store, name, counting(getattr(store, name), carried))
    return carried


def counting(read: Read, carried: list[int]) -> Read:
    async def read_and_count(partition: int, task_ids: Sequence[str]) -> list[TaskSnapshot | None]:
        snapshots = await read(partition, task_ids)
        carried.append(sum(len(snapshot.result or b"") for snapshot in snapshots if snapshot))
        return snapshots

    return read_and_count


@pytest.fixture
async def api(harness: Harness, carried: list[int]) -> AsyncIterator[Api]:
    """Run a server whose tasks all have their results."""
    async with serving(harness) as api:
        for name in NAMES:
            await api.submit(name)
            await api.run(name, data=value_of(name))
        carried.clear()
        yield api


async def test_wait_brings_them_all(api: Api, carried: list[int]) -> None:
    request = WaitForRequest(targets=[WaitTarget(task_id=name) for name in NAMES])

    messages = [message async for message in api.tasks.WaitFor(request, timeout=60)]

    assert {task.task_id: task.result.data for m in messages for task in m.tasks} == {n: value_of(n) for n in NAMES}
    assert sum(m.snapshot_complete for m in messages) == 1
    assert max(carried) < MAX_CALL_BYTES + 2 * RESULT_BYTES
    assert len(carried) < len(NAMES)


async def test_batch_after_batch_brings_them_all(api: Api, carried: list[int]) -> None:
    results: dict[str, bytes] = {}
    left = NAMES
    while left:
        response = await api.tasks.BatchGetResults(BatchGetResultsRequest(task_ids=left), timeout=CALL_S)
        assert response.items
        results.update((item.task_id, item.task.result.data) for item in response.items)
        left = list(response.remaining_task_ids)

    assert results == {name: value_of(name) for name in NAMES}
    assert max(carried) < MAX_CALL_BYTES + 2 * RESULT_BYTES

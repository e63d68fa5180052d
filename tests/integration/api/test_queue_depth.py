"""--max-queue-depth: a full queue refuses, and takes again once there is room."""

import time
from collections.abc import AsyncIterator

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from tailrace.client import AsyncClient, BatchSubmitError, QueueFullError
from tailrace.v1 import task_service_pb2
from tests.integration.api.looking_steps import fail, queue_of, resubmit
from tests.integration.api.serving import CALL_S, Api, a_request, refused, seconds, serving
from tests.store.harness import Harness

FULL = (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL")


@pytest.fixture
async def shallow(harness: Harness) -> AsyncIterator[Api]:
    """Run a server whose queues take three waiting tasks."""
    async with serving(harness, max_queue_depth=3) as api:
        yield api


async def test_full_queue_refuses_and_says_when_to_come_back(shallow: Api) -> None:
    await shallow.submit_many("a-1", "a-2", "a-3")

    refusal = await refused(shallow.tasks.Submit(a_request("a-4"), timeout=CALL_S))

    assert refusal.outcome == FULL
    assert "default" in refusal.message
    details = Status.FromString(refusal.trailers["grpc-status-details-bin"]).details
    assert [detail.Is(RetryInfo.DESCRIPTOR) for detail in details].count(True) == 1
    assert int(refusal.trailers["grpc-retry-pushback-ms"]) > 0
    assert (await refused(shallow.result("a-4"))).reason == "TASK_NOT_FOUND"


async def test_delayed_tasks_count_and_running_ones_do_not(shallow: Api) -> None:
    await shallow.submit_many("a-1", "a-2")
    await shallow.submit("later", start_delay=seconds(60))
    assert (await refused(shallow.submit("a-3"))).outcome == FULL

    await shallow.lease(start=True)
    await shallow.submit("a-3")

    assert (await refused(shallow.submit("a-4"))).outcome == FULL


async def test_room_is_made_by_whatever_ends_a_task(shallow: Api) -> None:
    await shallow.submit_many("a-1", "a-2", "a-3")
    await shallow.run("a-1")

    await shallow.submit("a-4")

    assert await shallow.state("a-4") == "PENDING/QUEUED"


async def test_repeated_submit_is_answered_by_a_full_queue_too(shallow: Api) -> None:
    await shallow.submit_many("a-1", "a-2", "a-3")

    again = await shallow.tasks.Submit(a_request("a-2"), timeout=CALL_S)
    conflict = await refused(shallow.tasks.Submit(a_request("a-2", data=b"other"), timeout=CALL_S))

    assert not again.created
    assert conflict.reason == "TASK_ID_CONFLICT"


async def test_each_queue_has_its_own_limit(shallow: Api) -> None:
    await shallow.submit_many("a-1", "a-2", "a-3")

    await shallow.submit("b-1", queue="other")

    assert [(await queue_of(shallow, name)).max_depth for name in ("default", "other")] == [3, 3]


async def test_batch_is_taken_as_far_as_there_is_room(shallow: Api) -> None:
    requests = [a_request(f"a-{number}") for number in range(5)]

    response = await shallow.tasks.BatchSubmit(task_service_pb2.BatchSubmitRequest(requests=requests), timeout=CALL_S)

    assert [item.submitted.created for item in response.items] == [True, True, True, False, False]
    errors = [item.error for item in response.items if item.HasField("error")]
    assert [(error.code, error.reason) for error in errors] == [(FULL[0].value[0], "QUEUE_FULL")] * 2
    assert dict(errors[0].metadata) == {"queue": "default", "max_depth": "3"}
    assert [(await refused(shallow.result(f"a-{number}"))).reason for number in (3, 4)] == ["TASK_NOT_FOUND"] * 2


async def test_task_is_not_run_again_into_a_full_queue(shallow: Api) -> None:
    await fail(shallow)
    await shallow.submit_many("a-1", "a-2", "a-3")

    assert (await refused(resubmit(shallow, new_task_id="again"))).outcome == FULL


async def test_retries_find_room_in_a_full_queue(shallow: Api) -> None:
    await shallow.submit_many("a-1", "a-2", "a-3")
    await shallow.lease(start=True)
    await shallow.submit("a-4")

    await shallow.pass_time(40_000)

    assert await shallow.state("a-1") == "RETRY/QUEUED"
    assert (await queue_of(shallow)).queued_count == 4
    assert (await refused(shallow.submit("a-5"))).outcome == FULL


@pytest.mark.parametrize("max_queue_depth", [None, 0])
async def test_without_a_limit_none_is_full(sqlite: Harness, max_queue_depth: int | None) -> None:
    async with serving(sqlite, max_queue_depth=max_queue_depth) as api:
        await api.submit_many(*[f"task-{number}" for number in range(100)])

        queue = await queue_of(api)

    assert (queue.queued_count, queue.max_depth) == (100, 0)


async def test_python_client_names_what_was_refused_and_does_not_try_again(sqlite: Harness) -> None:
    async with serving(sqlite, max_queue_depth=3) as api, AsyncClient(api.server.address) as client:
        await client.submit("add", 1, 2)

        with pytest.raises(BatchSubmitError) as caught:
            await client.map("add", [(1, 2), (3, 4), (5, 6)])
        began_at = time.monotonic()
        with pytest.raises(QueueFullError, match="default"):
            await client.submit("add", 1, 2)

        assert time.monotonic() - began_at < 1.0
        assert [type(error) for error in caught.value.errors.values()] == [QueueFullError]
        assert len(caught.value.accepted) == 2

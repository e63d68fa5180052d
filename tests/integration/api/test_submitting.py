"""Submit and BatchSubmit: accepted once, refused by name, each item for itself."""

import uuid

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest
from google.rpc.status_pb2 import Status

from tailrace.v1 import task_pb2
from tailrace.v1.task_service_pb2 import BatchSubmitRequest, BatchSubmitResponse, SubmitRequest
from tests.integration.api.serving import CALL_S, MIB, Api, a_request, refused, seconds

ALREADY_EXISTS = grpc.StatusCode.ALREADY_EXISTS
INVALID_ARGUMENT = grpc.StatusCode.INVALID_ARGUMENT


async def batch(api: Api, *requests: SubmitRequest) -> BatchSubmitResponse:
    return await api.tasks.BatchSubmit(BatchSubmitRequest(requests=requests), timeout=CALL_S)


async def test_accepted_task_is_pending_and_says_what_it_waits_for(api: Api) -> None:
    response = await api.tasks.Submit(a_request("task-1"), timeout=CALL_S)

    assert response.created
    task = response.task
    assert (task.task_id, task.state, task.done, task.revision, task.attempt) == (
        "task-1",
        task_pb2.TASK_STATE_PENDING,
        False,
        1,
        0,
    )
    assert task.pending_reason == task_pb2.PENDING_REASON_QUEUED
    assert task.update_time.ToMilliseconds() == api.harness.now_ms
    assert not task.HasField("expire_time")
    assert await api.result() == task


async def test_delayed_task_says_so_until_its_time_has_come(api: Api) -> None:
    task = await api.submit(start_delay=seconds(3))

    assert task.pending_reason == task_pb2.PENDING_REASON_DELAYED
    await api.pass_time(2_999)
    assert await api.state() == "PENDING/DELAYED"
    await api.pass_time(1)
    assert await api.state() == "PENDING/QUEUED"


async def test_server_makes_an_id_for_who_gave_none(api: Api) -> None:
    response = await api.tasks.Submit(a_request(""), timeout=CALL_S)

    assert uuid.UUID(response.task.task_id).version == 7
    assert await api.state(response.task.task_id) == "PENDING/QUEUED"


async def test_same_request_again_is_the_same_task(api: Api) -> None:
    first = await api.tasks.Submit(a_request(), timeout=CALL_S)
    again = await api.tasks.Submit(a_request(priority=5), timeout=CALL_S)

    assert (first.created, again.created) == (True, False)
    assert again.task == first.task


async def test_repeated_submit_of_a_task_that_is_done_tells_its_state_without_its_result(api: Api) -> None:
    await api.submit()
    await api.run(data=b"3")

    again = await api.tasks.Submit(a_request(), timeout=CALL_S)

    assert (again.created, again.task.state, again.task.done) == (False, task_pb2.TASK_STATE_SUCCESS, True)
    assert not again.task.HasField("result")


async def test_id_taken_by_another_request_is_a_conflict(api: Api) -> None:
    await api.submit()

    refusal = await refused(api.tasks.Submit(a_request(data=b"[3, 4]"), timeout=CALL_S))

    assert (refusal.code, refusal.reason) == (ALREADY_EXISTS, "TASK_ID_CONFLICT")
    assert "task-1" in refusal.message


async def test_who_asks_for_it_gets_the_task_that_has_the_id(api: Api) -> None:
    await api.submit()
    request = a_request(data=b"[3, 4]")
    request.return_existing = True

    response = await api.tasks.Submit(request, timeout=CALL_S)

    assert (response.created, response.task.task_id) == (False, "task-1")


async def test_id_is_free_again_when_the_record_is_gone(api: Api) -> None:
    await api.submit(result_ttl=seconds(1))
    await api.run()
    await api.pass_time(1_000)

    response = await api.tasks.Submit(a_request(data=b"[3, 4]"), timeout=CALL_S)

    assert response.created


async def test_malformed_request_is_refused_by_field_and_leaves_nothing(api: Api) -> None:
    request = a_request("task-1", priority=10, task_type="{}")

    refusal = await refused(api.tasks.Submit(request, timeout=CALL_S))

    assert (refusal.code, refusal.reason) == (INVALID_ARGUMENT, "INVALID_REQUEST")
    assert "spec.task_type" in refusal.message
    assert (await refused(api.result())).reason == "TASK_NOT_FOUND"


async def test_first_ten_of_many_faults_arrive_with_the_status(lone_api: Api) -> None:
    requests = [a_request(f"task-{number}") for number in range(999)]
    worst = a_request("x" * 129, priority=10, retry_policy=task_pb2.RetryPolicy(non_retryable_types=["x" * 257] * 32))

    refusal = await refused(lone_api.tasks.Submit(worst, timeout=CALL_S))
    item = (await batch(lone_api, *requests, worst)).items[-1]

    status = Status.FromString(refusal.trailers["grpc-status-details-bin"])
    bad_request = BadRequest()
    assert any(detail.Unpack(bad_request) for detail in status.details)
    assert [violation.field for violation in bad_request.field_violations][:3] == [
        "task_id",
        "spec.priority",
        "spec.retry_policy.non_retryable_types[0]",
    ]
    assert len(bad_request.field_violations) == 10
    assert item.error.message.startswith("requests[999].task_id: ")


async def test_payload_over_the_limit_is_refused_with_the_limit(api: Api) -> None:
    refusal = await refused(api.tasks.Submit(a_request(data=b"x" * (MIB + 1)), timeout=CALL_S))

    assert (refusal.code, refusal.reason) == (INVALID_ARGUMENT, "LIMIT_EXCEEDED")
    assert str(MIB) in refusal.message
    assert (await refused(api.result())).reason == "TASK_NOT_FOUND"


async def test_payload_at_the_limit_arrives_whole(api: Api) -> None:
    data = bytes(range(256)) * (MIB // 256)
    await api.submit(data=data)

    assignment = await api.lease()

    assert assignment.spec.input.data == data


async def test_items_of_a_batch_succeed_and_fail_by_themselves(api: Api) -> None:
    await api.submit("taken")
    await api.submit("same")

    response = await batch(
        api,
        a_request("new"),
        a_request("taken", data=b"[3, 4]"),
        a_request("same"),
        a_request("no id\n"),
        a_request("large", data=b"x" * (MIB + 1)),
        a_request(""),
    )

    outcomes = [(item.task_id, item.submitted.created, item.error.reason) for item in response.items[:5]]
    assert outcomes == [
        ("new", True, ""),
        ("taken", False, "TASK_ID_CONFLICT"),
        ("same", False, ""),
        ("no id\n", False, "INVALID_REQUEST"),
        ("large", False, "LIMIT_EXCEEDED"),
    ]
    made = response.items[5]
    assert made.submitted.created
    assert uuid.UUID(made.task_id).version == 7
    assert made.submitted.task.task_id == made.task_id
    codes = [item.error.code for item in response.items]
    assert codes == [0, ALREADY_EXISTS.value[0], 0, INVALID_ARGUMENT.value[0], INVALID_ARGUMENT.value[0], 0]
    assert "requests[3].task_id" in response.items[3].error.message
    assert response.items[4].error.metadata["field"] == "requests[4].spec.input.data"


async def test_batch_sent_again_creates_nothing_anew(api: Api) -> None:
    requests = [a_request(f"task-{number}") for number in range(300)]

    first, again = await batch(api, *requests), await batch(api, *requests)

    assert all(item.submitted.created for item in first.items)
    assert not any(item.submitted.created or item.HasField("error") for item in again.items)
    assert len(await api.lease_many(100)) == 100


async def test_id_twice_in_a_batch_is_one_task(api: Api) -> None:
    response = await batch(api, a_request("a"), a_request("a"), a_request("a", data=b"[3, 4]"))

    assert [(item.submitted.created, item.error.reason) for item in response.items] == [
        (True, ""),
        (False, ""),
        (False, "TASK_ID_CONFLICT"),
    ]


@pytest.mark.parametrize("count", [0, 1_001])
async def test_batch_of_nothing_or_of_too_much_is_refused_whole(lone_api: Api, count: int) -> None:
    refusal = await refused(batch(lone_api, *[a_request(f"task-{number}") for number in range(count)]))

    assert refusal.code is INVALID_ARGUMENT
    assert refusal.reason == ("LIMIT_EXCEEDED" if count else "INVALID_REQUEST")
    assert "requests" in refusal.message
    assert await lone_api.lease_many(100) == []


async def test_batch_of_a_thousand_is_taken(lone_api: Api) -> None:
    response = await batch(lone_api, *[a_request(f"task-{number}") for number in range(1_000)])

    assert sum(item.submitted.created for item in response.items) == 1_000


async def test_batch_over_four_mib_is_refused_whole(lone_api: Api) -> None:
    requests = [a_request(f"task-{number}", data=b"x" * MIB) for number in range(4)]

    refusal = await refused(batch(lone_api, *requests))

    assert (refusal.code, refusal.reason) == (INVALID_ARGUMENT, "LIMIT_EXCEEDED")
    assert await lone_api.lease_many(100) == []


async def test_malformed_id_of_any_length_is_answered_within_a_message(lone_api: Api) -> None:
    response = await batch(lone_api, a_request("{" * 4_000_000), a_request("good"))

    assert [item.error.reason for item in response.items] == ["INVALID_REQUEST", ""]
    assert response.items[0].task_id == "{" * 128
    assert response.ByteSize() < 1_000

"""ResubmitTask: a failed or revoked task again, as a new one."""

from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from tailrace.v1 import task_pb2
from tailrace.v1.task_service_pb2 import RevokeRequest
from tests.integration.api.looking_steps import FULL, delete, fail, resubmit, task_of
from tests.integration.api.serving import CALL_S, Api, a_failure, a_request, refused, seconds
from tests.store.harness import START_MS


def point(ms: int) -> Timestamp:
    at = Timestamp()
    at.FromMilliseconds(ms)
    return at


async def test_failed_task_runs_again_under_a_new_id(api: Api) -> None:
    spec: dict[str, Any] = {"priority": 4, "labels": {"customer": "acme"}, "headers": {"trace": "7"}, "data": b"[3, 4]"}
    await fail(api, **spec)

    response = await resubmit(api, new_task_id="task-2")

    assert (response.created, response.task.task_id) == (True, "task-2")
    assert (response.task.state, response.task.attempt) == (task_pb2.TASK_STATE_PENDING, 0)
    again, first = await task_of(api, "task-2", view=FULL), await task_of(api, view=FULL)
    assert again.spec == first.spec
    assert (again.parent_task_id, first.parent_task_id) == ("task-1", "")
    assignment = await api.lease(start=True)
    assert (assignment.lease.task_id, assignment.spec.input.data) == ("task-2", b"[3, 4]")
    assert (assignment.attempt, assignment.parent_task_id) == (1, "task-1")
    assert await api.state() == "FAILURE"


async def test_revoked_task_runs_again(api: Api) -> None:
    await api.submit()
    await api.tasks.Revoke(RevokeRequest(task_ids=["task-1"]), timeout=CALL_S)

    await resubmit(api, new_task_id="task-2")
    await api.run("task-2")

    assert (await api.state(), await api.state("task-2")) == ("REVOKED", "SUCCESS")


async def test_server_makes_the_id_where_none_is_given(api: Api) -> None:
    await fail(api)

    first, second = await resubmit(api), await resubmit(api)

    assert (first.created, second.created) == (True, True)
    assert len({"task-1", first.task.task_id, second.task.task_id}) == 3


async def test_repeated_call_with_the_same_new_id_makes_no_second_task(api: Api) -> None:
    await fail(api)
    await resubmit(api, new_task_id="task-2")

    again = await resubmit(api, new_task_id="task-2")

    assert (again.created, again.task.task_id) == (False, "task-2")
    await api.run("task-2")
    assert await api.lease_many() == []
    assert not (await resubmit(api, new_task_id="task-2")).created


async def test_call_is_safe_to_repeat_though_the_old_record_is_gone_meanwhile(api: Api) -> None:
    await fail(api)
    await resubmit(api, new_task_id="task-2")
    await api.run("task-2")
    await delete(api)

    again = await resubmit(api, new_task_id="task-2")

    assert (again.created, again.task.state) == (False, task_pb2.TASK_STATE_SUCCESS)
    assert not again.task.HasField("result")


async def test_task_of_another_parent_is_no_answer_for_a_record_that_is_gone(api: Api) -> None:
    await api.submit("task-2")

    refusals = [await refused(resubmit(api, new_task_id=name)) for name in ("task-2", "task-3")]

    assert [refusal.reason for refusal in refusals] == ["TASK_NOT_FOUND"] * 2
    assert all("task-1" in refusal.message for refusal in refusals)


async def test_new_task_is_the_same_request_as_one_that_was_submitted_so(api: Api) -> None:
    await fail(api)
    await resubmit(api, new_task_id="task-2")

    assert not (await api.tasks.Submit(a_request("task-2"), timeout=CALL_S)).created


async def test_new_id_that_is_taken_by_another_request_is_a_conflict(api: Api) -> None:
    await fail(api)
    await api.submit("task-2", data=b"[5, 6]")

    refusal = await refused(resubmit(api, new_task_id="task-2"))

    assert refusal.outcome == (grpc.StatusCode.ALREADY_EXISTS, "TASK_ID_CONFLICT")


async def test_run_again_task_can_fail_and_be_run_again_in_turn(api: Api) -> None:
    await fail(api)
    await resubmit(api, new_task_id="task-2")
    await api.tasks.Revoke(RevokeRequest(task_ids=["task-2"]), timeout=CALL_S)

    await resubmit(api, "task-2", "task-3")

    assert (await task_of(api, "task-3", view=FULL)).parent_task_id == "task-2"
    await delete(api)
    await api.run("task-3")


async def test_spans_count_anew_and_points_in_time_are_left_behind(api: Api) -> None:
    await api.submit(schedule_time=point(START_MS + 1_000), start_within=seconds(60), total_timeout=seconds(3600))
    await api.submit("task-2", start_delay=seconds(5), start_deadline=point(START_MS + 60_000))
    await api.tasks.Revoke(RevokeRequest(task_ids=["task-1", "task-2"]), timeout=CALL_S)
    await api.pass_time(120_000)

    await resubmit(api, "task-1", "again-1")
    await resubmit(api, "task-2", "again-2")

    one, two = await task_of(api, "again-1"), await task_of(api, "again-2")
    assert (one.spec.HasField("schedule_time"), two.spec.HasField("start_deadline")) == (False, False)
    assert (one.spec.start_within, one.spec.total_timeout) == (seconds(60), seconds(3600))
    assert (await api.state("again-1"), await api.state("again-2")) == ("PENDING/QUEUED", "PENDING/DELAYED")
    await api.pass_time(5_000)
    assert await api.state("again-2") == "PENDING/QUEUED"


@pytest.mark.parametrize("state", ["PENDING/QUEUED", "STARTED", "RETRY/DELAYED", "SUCCESS"])
async def test_task_in_any_other_state_is_not_run_again(api: Api, state: str) -> None:
    await api.submit(retry_policy=task_pb2.RetryPolicy(max_attempts=3))
    if state == "SUCCESS":
        await api.run()
    elif state != "PENDING/QUEUED":
        lease = (await api.lease(start=True)).lease
        if state == "RETRY/DELAYED":
            await api.store(a_failure(lease))
    assert await api.state() == state

    refusal = await refused(resubmit(api, new_task_id="task-2"))

    assert refusal.outcome == (grpc.StatusCode.FAILED_PRECONDITION, "TASK_NOT_RESUBMITTABLE")
    assert state.partition("/")[0] in refusal.message
    assert (await refused(api.result("task-2"))).reason == "TASK_NOT_FOUND"


async def test_unknown_or_expired_task_is_not_found(api: Api) -> None:
    await fail(api, result_ttl=seconds(60))
    await api.harness.advance(60_000)

    refusals = [await refused(resubmit(api, task_id)) for task_id in ("unknown", "task-1")]

    assert [refusal.outcome for refusal in refusals] == [(grpc.StatusCode.NOT_FOUND, "TASK_NOT_FOUND")] * 2


@pytest.mark.parametrize(
    ("task_id", "new_task_id", "field"),
    [
        ("", "", "task_id"),
        ("a b", "", "task_id"),
        ("task-1", "a b", "new_task_id"),
        ("task-1", "task-1", "new_task_id"),
    ],
)
async def test_id_that_makes_no_sense_is_refused(lone_api: Api, task_id: str, new_task_id: str, field: str) -> None:
    await fail(lone_api)

    refusal = await refused(resubmit(lone_api, task_id, new_task_id))

    assert refusal.outcome == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert refusal.message.startswith(f"{field}:")

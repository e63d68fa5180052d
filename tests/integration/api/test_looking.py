"""GetTask: the whole record of one task, in every state."""

import grpc
import pytest

from tailrace.v1 import task_pb2
from tailrace.v1.task_service_pb2 import REVOKE_MODE_REQUEST, GetTaskRequest, RevokeRequest, SubmitRequest
from tailrace.v1.worker_service_pb2 import LeaseReleases
from tests.integration.api.looking_steps import FULL, fail, task_of
from tests.integration.api.serving import CALL_S, MIB, Api, a_failure, a_spec, a_success, refused, seconds
from tests.integration.api.work_peer import WorkPeer
from tests.store.harness import START_MS

INVALID_ARGUMENT = grpc.StatusCode.INVALID_ARGUMENT


def ms_of(message: object, field: str) -> int | None:
    """Read a Timestamp in milliseconds; None when it is unset."""
    assert isinstance(message, task_pb2.Task)
    if not message.HasField(field):  # type: ignore[arg-type]
        return None
    milliseconds: int = getattr(message, field).ToMilliseconds()
    return milliseconds


def times_of(task: task_pb2.Task) -> dict[str, int | None]:
    fields = ("create_time", "start_time", "end_time", "lease_expire_time")
    return {field: None if (at := ms_of(task, field)) is None else at - START_MS for field in fields}


async def test_waiting_task_is_shown_as_it_was_submitted(api: Api) -> None:
    spec = a_spec(priority=3, labels={"customer": "acme"}, headers={"trace": "7"}, result_ttl=seconds(60))
    await api.tasks.Submit(SubmitRequest(task_id="task-1", spec=spec, parent_task_id="parent-1"), timeout=CALL_S)

    task = await task_of(api, view=FULL)

    assert (task.task_id, task.spec, task.parent_task_id) == ("task-1", spec, "parent-1")
    assert task.outcome == await api.result()
    assert times_of(task) == {"create_time": 0, "start_time": None, "end_time": None, "lease_expire_time": None}
    assert (task.worker_id, task.delivery_count, task.revoke_requested) == ("", 0, False)


@pytest.mark.parametrize("view", [task_pb2.TASK_VIEW_UNSPECIFIED, task_pb2.TASK_VIEW_BASIC])
async def test_basic_view_leaves_the_input_out(api: Api, view: task_pb2.TaskView.ValueType) -> None:
    await api.submit(labels={"customer": "acme"})

    task = await task_of(api, view=view)

    assert not task.spec.HasField("input")
    assert (task.spec.task_type, dict(task.spec.labels)) == ("add", {"customer": "acme"})


async def test_delivered_task_shows_its_lease_and_then_its_start_and_who_runs_it(api: Api) -> None:
    await api.submit()
    await api.pass_time(1_000)
    peer = WorkPeer(api)
    await peer.hello()
    (assignment,) = await peer.assigned()

    delivered = await task_of(api)
    await api.harness.advance(500)
    await peer.start(assignment.lease)
    started = await task_of(api)

    assert delivered.outcome.pending_reason == task_pb2.PENDING_REASON_DISPATCHED
    assert (delivered.delivery_count, times_of(delivered)["lease_expire_time"]) == (1, 11_000)
    assert times_of(started) == {
        "create_time": 0,
        "start_time": 1_500,
        "end_time": None,
        "lease_expire_time": 31_500,
    }
    assert (started.worker_id, started.outcome.attempt) == ("worker-1", 1)
    await peer.succeed(assignment.lease)
    await peer.close()


async def test_succeeded_task_shows_its_result_and_dropped_its_input(api: Api) -> None:
    await api.submit()
    await api.pass_time(1_000)
    lease = (await api.lease(start=True)).lease
    await api.pass_time(1_000)
    await api.store(a_success(lease))

    full, basic = await task_of(api, view=FULL), await task_of(api)

    assert full.outcome == await api.result()
    assert full.outcome.result.data == b"3"
    assert not full.spec.HasField("input")
    assert times_of(full) == {"create_time": 0, "start_time": 1_000, "end_time": 2_000, "lease_expire_time": None}
    assert (basic.outcome.state, basic.outcome.HasField("result")) == (task_pb2.TASK_STATE_SUCCESS, False)
    assert full.worker_id == "worker-1"


async def test_failed_task_keeps_what_it_takes_to_run_it_again(api: Api) -> None:
    await fail(api, data=b"[3, 4]")

    full, basic = await task_of(api, view=FULL), await task_of(api)

    assert full.spec == a_spec(data=b"[3, 4]")
    assert (full.outcome.failure.type, full.outcome.failure.traceback) == ("ValueError", "line 1")
    assert (basic.outcome.failure.type, basic.outcome.failure.message) == ("ValueError", "no")
    assert not basic.outcome.failure.traceback


async def test_task_between_two_attempts_shows_its_last_failure_and_who_had_it(api: Api) -> None:
    await api.submit(retry_policy=task_pb2.RetryPolicy(max_attempts=3))
    await api.store(a_failure((await api.lease(start=True)).lease, traceback="line 1"))

    full = await task_of(api, view=FULL)

    assert full.outcome == await api.result()
    assert full.outcome.last_failure.traceback == "line 1"
    assert (full.worker_id, full.delivery_count) == ("worker-1", 1)
    assert times_of(full)["lease_expire_time"] is None


async def test_running_task_that_was_asked_to_stop_says_so_until_it_ends(api: Api) -> None:
    await api.submit()
    lease = (await api.lease(start=True)).lease
    before = await task_of(api)
    await api.tasks.Revoke(RevokeRequest(task_ids=["task-1"], mode=REVOKE_MODE_REQUEST), timeout=CALL_S)
    asked = await task_of(api)
    await api.store(a_failure(lease))
    ended = await task_of(api)

    assert [task.revoke_requested for task in (before, asked, ended)] == [False, True, False]
    assert ended.outcome.state == task_pb2.TASK_STATE_REVOKED


async def test_released_task_counts_its_deliveries(api: Api) -> None:
    await api.submit()
    peer = WorkPeer(api)
    await peer.hello(credit=1)
    for _ in range(2):
        (assignment,) = await peer.assigned()
        await peer.say(releases=LeaseReleases(leases=[assignment.lease]))
        await peer.expect("release_acks")
    (assignment,) = await peer.assigned()

    assert (await task_of(api)).delivery_count == 3
    await peer.start(assignment.lease)
    await peer.succeed(assignment.lease)
    await peer.close()


async def test_large_task_is_shown_whole(sqlite_large: Api) -> None:
    data = b"x" * (3 * MIB)
    await fail(sqlite_large, data=data)

    assert (await task_of(sqlite_large, view=FULL)).spec.input.data == data


async def test_unknown_task_is_not_found_and_so_is_an_expired_one(api: Api) -> None:
    await fail(api, result_ttl=seconds(60))
    await api.harness.advance(60_000)

    refusals = [await refused(task_of(api, task_id)) for task_id in ("unknown", "task-1")]

    assert [refusal.outcome for refusal in refusals] == [(grpc.StatusCode.NOT_FOUND, "TASK_NOT_FOUND")] * 2


@pytest.mark.parametrize("task_id", ["", "a b", "a" * 129, "\N{SNOWMAN}"])
async def test_id_that_is_none_is_refused(lone_api: Api, task_id: str) -> None:
    refusal = await refused(task_of(lone_api, task_id))

    assert refusal.outcome == (INVALID_ARGUMENT, "INVALID_REQUEST")
    assert "task_id" in refusal.message


async def test_view_that_is_not_known_is_refused(lone_api: Api) -> None:
    await lone_api.submit()
    request = GetTaskRequest(task_id="task-1", view=77)  # type: ignore[arg-type]

    refusal = await refused(lone_api.tasks.GetTask(request, timeout=CALL_S))

    assert refusal.outcome == (INVALID_ARGUMENT, "INVALID_REQUEST")
    assert "view" in refusal.message

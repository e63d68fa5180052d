"""Revoke, over each store and through the wire: both modes, whatever the task is doing."""

import asyncio
import time
from typing import Any

import grpc
import pytest

from tailrace.v1 import task_pb2
from tailrace.v1 import worker_service_pb2 as worker_pb
from tailrace.v1.task_service_pb2 import (
    REVOKE_MODE_FORCE,
    REVOKE_MODE_REQUEST,
    REVOKE_MODE_UNSPECIFIED,
    GetResultRequest,
    RevokeMode,
    RevokeRequest,
    RevokeResponse,
)
from tests.integration.api.serving import CALL_S, Api, a_failure, a_success, refused, seconds
from tests.integration.api.work_peer import WorkPeer
from tests.wait import eventually_async

NEWS_S = 1.0
"""How soon a running task hears that it is to stop."""
BOTH = pytest.mark.parametrize("mode", [REVOKE_MODE_REQUEST, REVOKE_MODE_FORCE])


async def revoke(
    api: Api, *task_ids: str, mode: RevokeMode.ValueType = REVOKE_MODE_REQUEST, reason: str = "not needed"
) -> list[RevokeResponse.Item]:
    request = RevokeRequest(task_ids=task_ids or ("task-1",), mode=mode, reason=reason)
    return list((await api.tasks.Revoke(request, timeout=CALL_S)).items)


async def check_revoked(api: Api, reason: str = "not needed") -> None:
    task = await api.result()
    assert (task.state, task.done) == (task_pb2.TASK_STATE_REVOKED, True)
    assert (task.failure.kind, task.failure.type) == (task_pb2.FAILURE_KIND_REVOKED, "Revoked")
    assert task.failure.message == reason


async def running(api: Api, **fields: Any) -> worker_pb.LeaseRef:
    await api.submit(**fields)
    return (await api.lease(start=True)).lease


@BOTH
@pytest.mark.parametrize("delay_s", [0, 60])
async def test_waiting_task_ends_at_once(api: Api, mode: RevokeMode.ValueType, delay_s: int) -> None:
    await api.submit(start_delay=seconds(delay_s))

    (item,) = await revoke(api, mode=mode)

    assert (item.task_id, item.task.state, item.task.done) == ("task-1", task_pb2.TASK_STATE_REVOKED, True)
    assert not item.task.HasField("failure")
    await check_revoked(api)
    await api.pass_time(60_000)
    assert await api.lease_many() == []


@BOTH
async def test_task_between_two_attempts_ends_at_once(api: Api, mode: RevokeMode.ValueType) -> None:
    lease = await running(api, retry_policy=task_pb2.RetryPolicy(max_attempts=3))
    await api.store(a_failure(lease))
    assert await api.state() == "RETRY/DELAYED"

    await revoke(api, mode=mode)

    await check_revoked(api)


@BOTH
async def test_delivered_task_ends_at_once_and_its_lease_is_lost(api: Api, mode: RevokeMode.ValueType) -> None:
    await api.submit()
    lease = (await api.lease()).lease

    await revoke(api, mode=mode)

    assert not (await api.beat(lease)).held
    refusal = await refused(api.store(a_success(lease)))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.ABORTED, "LEASE_LOST")
    await check_revoked(api)


async def test_running_task_is_asked_to_stop_by_its_heartbeats(api: Api) -> None:
    lease = await running(api)

    (item,) = await revoke(api, mode=REVOKE_MODE_UNSPECIFIED)

    assert item.task.state == task_pb2.TASK_STATE_STARTED
    for _ in range(2):
        status = await api.beat(lease)
        assert (status.held, status.revoke_requested, status.revoke_reason) == (True, True, "not needed")
    await api.store(worker_pb.AttemptResult(lease=lease, revoked=worker_pb.RevokedOutcome()))
    await check_revoked(api)


async def test_running_task_that_was_asked_to_stop_may_succeed(api: Api) -> None:
    lease = await running(api)
    await revoke(api)

    response = await api.store(a_success(lease))

    assert (response.state, await api.state()) == (task_pb2.TASK_STATE_SUCCESS, "SUCCESS")


async def test_running_task_that_was_asked_to_stop_and_fails_is_revoked(api: Api) -> None:
    lease = await running(api, retry_policy=task_pb2.RetryPolicy(max_attempts=3))
    await revoke(api)

    response = await api.store(a_failure(lease))
    again = await api.store(a_failure(lease))

    assert (response.state, again.duplicate) == (task_pb2.TASK_STATE_REVOKED, True)
    await check_revoked(api)


async def test_result_over_the_limit_of_a_task_that_was_asked_to_stop_is_revoked(api: Api) -> None:
    lease = await running(api)
    await revoke(api)

    response = await api.store(a_success(lease, data=b"x" * ((1 << 20) + 1)))

    assert response.state == task_pb2.TASK_STATE_REVOKED
    await check_revoked(api)


async def test_released_task_that_was_asked_to_stop_is_revoked(api: Api) -> None:
    lease = await running(api)
    await revoke(api)

    await api.workers.ReleaseTasks(worker_pb.ReleaseTasksRequest(leases=[lease]), timeout=CALL_S)

    await check_revoked(api)


async def test_lost_task_that_was_asked_to_stop_is_revoked(api: Api) -> None:
    await running(api, lease_duration=seconds(2))
    await revoke(api)

    await api.pass_time(4_000)

    await check_revoked(api)


async def test_force_ends_a_running_task_and_its_late_result_is_refused(api: Api) -> None:
    lease = await running(api)

    (item,) = await revoke(api, mode=REVOKE_MODE_FORCE)

    assert item.task.state == task_pb2.TASK_STATE_REVOKED
    refusal = await refused(api.store(a_success(lease)))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.ABORTED, "LEASE_LOST")
    await check_revoked(api)


@BOTH
async def test_task_that_is_done_is_answered_as_it_is(api: Api, mode: RevokeMode.ValueType) -> None:
    await api.submit()
    await api.run()
    before = await api.result()

    (item,) = await revoke(api, mode=mode)

    assert (item.task.state, item.task.revision) == (before.state, before.revision)
    assert not item.task.HasField("result")
    assert await api.result() == before


async def test_long_poll_is_told_at_once(api: Api) -> None:
    await api.submit()
    request = GetResultRequest(task_id="task-1", wait_timeout=seconds(30))
    polling = asyncio.ensure_future(api.tasks.GetResult(request, timeout=CALL_S))
    await eventually_async(lambda: api.server.waiting.task_count == 1, "the server waits")

    await revoke(api, reason="")

    assert (await polling).task.state == task_pb2.TASK_STATE_REVOKED
    await check_revoked(api, reason="")


async def test_each_id_is_answered_by_itself_in_order(api: Api) -> None:
    await api.submit_many("a", "b")

    items = await revoke(api, "b", "unknown", "no id!", "a", "b")

    assert [item.task_id for item in items] == ["b", "unknown", "no id!", "a", "b"]
    assert [item.error.reason for item in items] == ["", "TASK_NOT_FOUND", "INVALID_REQUEST", "", ""]
    assert {item.task.state for item in items if item.HasField("task")} == {task_pb2.TASK_STATE_REVOKED}


async def test_what_makes_no_sense_is_refused(lone_api: Api) -> None:
    await lone_api.submit()
    cases = {
        "INVALID_REQUEST": [
            RevokeRequest(),
            RevokeRequest(task_ids=["task-1"], mode=99),  # type: ignore[arg-type]  # a mode of a later version
            RevokeRequest(task_ids=["task-1"], reason="x" * 1025),
        ],
        "LIMIT_EXCEEDED": [RevokeRequest(task_ids=["task-1"] * 1001)],
    }

    for reason, requests in cases.items():
        for request in requests:
            refusal = await refused(lone_api.tasks.Revoke(request, timeout=CALL_S))
            assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, reason)
    assert await lone_api.state() == "PENDING/QUEUED"


async def test_worker_stream_is_told_within_a_second_that_its_task_is_to_stop(api: Api) -> None:
    await api.submit()
    peer = WorkPeer(api)
    await peer.hello()
    (assignment,) = await peer.assigned()
    await peer.start(assignment.lease)

    asked_at = time.monotonic()
    await revoke(api)
    (status,) = (await peer.expect("lease_statuses")).statuses

    assert time.monotonic() - asked_at < NEWS_S
    assert (status.task_id, status.lease_token) == ("task-1", assignment.lease.lease_token)
    assert (status.held, status.revoke_requested, status.revoke_reason) == (True, True, "not needed")
    (ack,) = await peer.finish(worker_pb.AttemptResult(lease=assignment.lease, revoked=worker_pb.RevokedOutcome()))
    assert ack.state == task_pb2.TASK_STATE_REVOKED
    await check_revoked(api)
    await peer.close()


@pytest.mark.parametrize("is_started", [True, False])
async def test_worker_stream_is_told_within_a_second_that_force_ended_its_task(api: Api, is_started: bool) -> None:
    await api.submit()
    peer = WorkPeer(api)
    await peer.hello(credit=1)
    (assignment,) = await peer.assigned()
    await peer.start(assignment.lease, waiting=not is_started)

    asked_at = time.monotonic()
    await revoke(api, mode=REVOKE_MODE_FORCE)
    (status,) = (await peer.expect("lease_statuses")).statuses

    assert time.monotonic() - asked_at < NEWS_S
    assert (status.lease_token, status.held) == (assignment.lease.lease_token, False)
    await api.submit("task-2")
    (next_one,) = await peer.assigned()
    assert next_one.lease.task_id == "task-2"
    await peer.close()


async def test_worker_stream_is_told_of_a_lease_that_ran_out(api: Api) -> None:
    await api.submit(lease_duration=seconds(2))
    peer = WorkPeer(api)
    await peer.hello(credit=1, queues=["default"])
    (assignment,) = await peer.assigned()
    await peer.start(assignment.lease)
    await peer.say(flow_control=worker_pb.FlowControl(max_outstanding_tasks=0))
    assert await peer.is_quiet()

    await api.pass_time(4_000)

    (status,) = (await peer.expect("lease_statuses")).statuses
    assert (status.lease_token, status.held) == (assignment.lease.lease_token, False)
    await peer.close()


async def test_worker_on_its_way_out_may_leave_once_its_last_task_was_revoked(api: Api) -> None:
    await api.submit()
    peer = WorkPeer(api)
    await peer.hello()
    (assignment,) = await peer.assigned()
    await peer.start(assignment.lease)
    await peer.say(drain=worker_pb.Drain())
    assert await peer.is_quiet()

    await revoke(api, mode=REVOKE_MODE_FORCE)

    await peer.expect("lease_statuses")
    await peer.expect("drained")
    await peer.ended()


async def test_worker_that_comes_back_is_told_what_it_missed(api: Api) -> None:
    lease = await running(api)
    await revoke(api)
    peer = WorkPeer(api)

    (status,) = (await peer.hello(held=[lease])).leases

    assert (status.held, status.revoke_requested, status.revoke_reason) == (True, True, "not needed")
    await peer.close()


async def test_worker_that_has_not_mentioned_a_task_is_told_when_it_does(api: Api) -> None:
    await api.submit()
    peer = WorkPeer(api)
    await peer.hello(credit=1)
    (assignment,) = await peer.assigned()

    await revoke(api)

    assert await peer.is_quiet()
    (status,) = await peer.start(assignment.lease)
    assert not status.held
    await api.submit("task-2")
    (next_one,) = await peer.assigned()
    assert next_one.lease.task_id == "task-2"
    await peer.close()

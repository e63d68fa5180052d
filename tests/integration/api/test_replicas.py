"""Two servers on one Redis: what one of them accepts, delivers or ends, the other one knows at once."""

import asyncio
import time

import pytest

from tailrace.server.dispatch import dispatcher as dispatcher_module
from tailrace.v1 import task_pb2
from tailrace.v1.task_service_pb2 import (
    REVOKE_MODE_FORCE,
    REVOKE_MODE_REQUEST,
    GetResultRequest,
    RevokeRequest,
    WaitForRequest,
    WaitForResponse,
    WaitTarget,
)
from tailrace.v1.worker_service_pb2 import ReleaseTasksRequest
from tests.integration.api.serving import CALL_S, Api, a_success, seconds
from tests.integration.api.work_peer import WorkPeer
from tests.wait import eventually_async


async def test_task_accepted_by_one_is_run_through_the_other(servers: tuple[Api, Api]) -> None:
    one, other = servers
    await one.submit()

    assignment = await other.lease(start=True)
    await one.store(a_success(assignment.lease))

    assert (await one.state(), await other.state()) == ("SUCCESS", "SUCCESS")
    assert (await other.store(a_success(assignment.lease))).duplicate


async def test_wait_on_one_hears_of_an_end_on_the_other(servers: tuple[Api, Api]) -> None:
    one, other = servers
    await one.submit()
    call = one.tasks.WaitFor(WaitForRequest(targets=[WaitTarget(task_id="task-1")]), timeout=CALL_S)
    await call.read()

    await other.run()

    states: list[int] = []
    while isinstance(message := await call.read(), WaitForResponse):
        states += [task.state for task in message.tasks]
    assert states[-1] == task_pb2.TASK_STATE_SUCCESS


async def test_long_poll_on_one_hears_of_a_start_on_the_other(servers: tuple[Api, Api]) -> None:
    one, other = servers
    await one.submit()
    request = GetResultRequest(task_id="task-1", wait_timeout=seconds(30), after_revision=1)
    polling = asyncio.ensure_future(one.tasks.GetResult(request, timeout=CALL_S))
    await eventually_async(lambda: one.server.waiting.task_count == 1, "the server waits")

    await other.lease(start=True)

    assert (await polling).task.state == task_pb2.TASK_STATE_STARTED


async def test_worker_on_one_is_pushed_what_the_other_accepts(
    servers: tuple[Api, Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher_module, "LOOK_AGAIN_S", 600.0)
    one, other = servers
    peer = WorkPeer(one)
    await peer.hello()
    assert await peer.is_quiet()

    await other.submit()

    assert [assignment.lease.task_id for assignment in await peer.assigned()] == ["task-1"]
    await peer.close()


async def test_worker_goes_on_with_its_leases_on_the_other(servers: tuple[Api, Api]) -> None:
    one, other = servers
    await one.submit()
    first = WorkPeer(one)
    welcome = await first.hello()
    (assignment,) = await first.assigned()
    await first.start(assignment.lease)
    first.break_off()

    second = WorkPeer(other)
    again = await second.hello(session_id=welcome.session_id, held=[assignment.lease])
    (ack,) = await second.succeed(assignment.lease)

    assert [status.held for status in again.leases] == [True]
    assert again.session_id != welcome.session_id
    assert ack.state == task_pb2.TASK_STATE_SUCCESS
    await second.close()


async def test_running_task_hears_within_a_second_that_the_other_server_was_asked_to_revoke_it(
    servers: tuple[Api, Api],
) -> None:
    one, other = servers
    await one.submit()
    peer = WorkPeer(one)
    await peer.hello()
    (assignment,) = await peer.assigned()
    await peer.start(assignment.lease)

    for mode in (REVOKE_MODE_REQUEST, REVOKE_MODE_FORCE):
        asked_at = time.monotonic()
        await other.tasks.Revoke(RevokeRequest(task_ids=["task-1"], mode=mode, reason="why"), timeout=CALL_S)
        (status,) = (await peer.expect("lease_statuses")).statuses
        assert time.monotonic() - asked_at < 1.0
        is_request = mode == REVOKE_MODE_REQUEST
        assert (status.lease_token, status.held) == (assignment.lease.lease_token, is_request)
        assert (status.revoke_requested, status.revoke_reason) == (is_request, "why" if is_request else "")

    (ack,) = await peer.succeed(assignment.lease)
    assert ack.error.reason == "LEASE_LOST"
    assert (await one.state(), await other.state()) == ("REVOKED", "REVOKED")
    await peer.close()


async def test_worker_that_moved_to_the_other_server_is_told_there(servers: tuple[Api, Api]) -> None:
    one, other = servers
    await one.submit()
    first = WorkPeer(one)
    await first.hello()
    (assignment,) = await first.assigned()
    await first.start(assignment.lease)
    first.break_off()
    moved = WorkPeer(other)
    await moved.hello(held=[assignment.lease])

    asked_at = time.monotonic()
    await one.tasks.Revoke(RevokeRequest(task_ids=["task-1"]), timeout=CALL_S)
    (status,) = (await moved.expect("lease_statuses")).statuses

    assert time.monotonic() - asked_at < 1.0
    assert (status.held, status.revoke_requested) == (True, True)
    await moved.close()


async def test_credit_comes_back_when_a_call_to_the_other_server_ends_the_attempt(servers: tuple[Api, Api]) -> None:
    one, other = servers
    await one.submit_many("stored", "released", "last")
    peer = WorkPeer(one)
    await peer.hello(credit=1)

    (stored,) = await peer.assigned()
    await peer.start(stored.lease)
    await other.store(a_success(stored.lease))
    (status,) = (await peer.expect("lease_statuses")).statuses
    assert (status.task_id, status.held) == ("stored", False)
    (released,) = await peer.assigned()
    await peer.start(released.lease)
    await other.workers.ReleaseTasks(ReleaseTasksRequest(leases=[released.lease], delay=seconds(60)), timeout=CALL_S)
    (status,) = (await peer.expect("lease_statuses")).statuses
    assert (status.task_id, status.held) == ("released", False)

    assert [assignment.lease.task_id for assignment in await peer.assigned()] == ["last"]
    await peer.close()

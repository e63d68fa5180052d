"""The Work stream, frame by frame: credits, starts, results, releases, drain, and what outlives a broken stream."""

from collections.abc import Awaitable, Callable

import grpc
import pytest

from tailrace.server.dispatch import dispatcher as dispatcher_module
from tailrace.v1 import task_pb2
from tailrace.v1 import worker_service_pb2 as pb
from tests.integration.api.serving import MIB, Api, a_failure, a_success, seconds
from tests.integration.api.stream_steps import ids, nothing_more_is_drawn, peer_with_task, until_state
from tests.integration.api.work_peer import WorkPeer

INVALID_ARGUMENT = grpc.StatusCode.INVALID_ARGUMENT


async def test_welcome_tells_the_terms(lone_api: Api) -> None:
    peer = WorkPeer(lone_api)

    welcome = await peer.hello()

    assert welcome.protocol_version == 1
    assert len(welcome.session_id) == 32
    assert (welcome.heartbeat_interval.seconds, welcome.session_timeout.seconds) == (10, 50)
    assert welcome.max_stream_duration.seconds == 1_800
    assert welcome.max_frame_bytes == 16 * MIB
    assert not welcome.leases
    await peer.close()


async def test_task_goes_through_a_stream(api: Api) -> None:
    peer, assignment = await peer_with_task(api)
    states = [await api.state()]
    (status,) = await peer.start(assignment.lease)
    states.append(await api.state())
    (ack,) = await peer.succeed(assignment.lease)
    states.append(await api.state())

    assert states == ["PENDING/DISPATCHED", "STARTED", "SUCCESS"]
    assert (status.task_id, status.lease_token, status.held) == (
        "task-1",
        assignment.lease.lease_token,
        True,
    )
    assert status.expire_time.ToMilliseconds() == api.harness.now_ms + 30_000
    assert (ack.task_id, ack.lease_token, ack.state, ack.duplicate) == (
        "task-1",
        assignment.lease.lease_token,
        task_pb2.TASK_STATE_SUCCESS,
        False,
    )
    await peer.close()


async def test_task_that_comes_later_is_pushed(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher_module, "LOOK_AGAIN_S", 600.0)
    peer = WorkPeer(api)
    await peer.hello()
    assert await peer.is_quiet()

    await api.submit()

    assert ids(await peer.assigned()) == ["task-1"]
    await peer.close()


async def test_worker_gets_no_more_than_it_asked_for(api: Api) -> None:
    await api.submit_many(*[f"task-{number}" for number in range(5)])
    peer = WorkPeer(api)
    await peer.hello(credit=2)

    first = await peer.assigned(2)
    assert await peer.is_quiet()
    await peer.succeed(first[0].lease)
    second = await peer.assigned(1)
    assert await peer.is_quiet()

    assert ids(first + second) == ["task-0", "task-1", "task-2"]
    await peer.close()


async def test_credit_may_change_any_time(api: Api) -> None:
    await api.submit_many(*[f"task-{number}" for number in range(6)])
    peer = WorkPeer(api)
    await peer.hello(credit=0)
    assert await peer.is_quiet()

    await peer.say(flow_control=pb.FlowControl(max_outstanding_tasks=2))
    first = await peer.assigned(2)
    await peer.say(flow_control=pb.FlowControl(max_outstanding_tasks=4))
    second = await peer.assigned(2)
    await peer.say(flow_control=pb.FlowControl(max_outstanding_tasks=0))
    await peer.succeed(*[assignment.lease for assignment in first + second])

    assert await peer.is_quiet()
    await peer.close()


async def test_settled_leases_return_their_credit_however_they_end(api: Api) -> None:
    await api.submit_many(*[f"task-{number}" for number in range(5)])
    peer = WorkPeer(api)
    await peer.hello(credit=1)

    async def settle(how: Callable[[pb.LeaseRef], Awaitable[object]]) -> str:
        (assignment,) = await peer.assigned()
        await how(assignment.lease)
        return assignment.lease.task_id

    settled = [
        await settle(peer.succeed),
        await settle(lambda lease: peer.finish(a_failure(lease))),
        await settle(lambda lease: peer.release(lease, delay=seconds(60))),
        await settle(lambda lease: peer.finish(a_success(lease, b"x" * (MIB + 1)))),
    ]

    assert ids(await peer.assigned()) == ["task-4"]
    assert settled == ["task-0", "task-1", "task-2", "task-3"]
    assert [await api.state(task_id) for task_id in settled] == ["SUCCESS", "FAILURE", "PENDING/DELAYED", "FAILURE"]
    await peer.close()


async def test_lease_that_is_lost_returns_its_credit_when_the_worker_mentions_it(api: Api) -> None:
    await api.submit("a")
    await api.submit("b")
    peer = WorkPeer(api)
    await peer.hello(credit=1)
    (assignment,) = await peer.assigned()
    await api.pass_time(10_000)
    assert await peer.is_quiet()

    (status,) = await peer.start(assignment.lease)

    assert not status.held
    assert ids(await peer.assigned()) == ["a"]
    await peer.close()


async def test_peer_that_reads_nothing_swallows_its_credits_once(api: Api) -> None:
    names = [f"task-{number}" for number in range(6)]
    await api.submit_many(*names)
    deaf = WorkPeer(api)
    await deaf.hello(credit=2)
    await until_state(api, "task-0", "PENDING/DISPATCHED")
    await until_state(api, "task-1", "PENDING/DISPATCHED")

    for _ in range(3):
        await api.pass_time(10_000)
        for name in names:
            assert await api.state(name) == "PENDING/QUEUED"

    assert ids(await api.lease_many(6)) == names
    deaf.break_off()


async def test_peer_that_reads_slowly_leaves_large_tasks_in_the_store_and_gets_them_all(lone_api: Api) -> None:
    names = [f"task-{number:02}" for number in range(40)]
    for name in names:
        await lone_api.submit(name, data=bytes(MIB - 1_000))
    peer = WorkPeer(lone_api)

    await peer.hello(credit=100)

    await until_state(lone_api, names[0], "PENDING/DISPATCHED")
    await nothing_more_is_drawn(lone_api)
    assert await lone_api.state(names[-1]) == "PENDING/QUEUED"
    assert sorted(ids(await peer.assigned(len(names)))) == names
    peer.break_off()


async def test_assignments_are_shared_among_streams(api: Api) -> None:
    peers = [WorkPeer(api) for _ in range(3)]
    for peer in peers:
        await peer.hello(credit=4)

    await api.submit_many(*[f"task-{number}" for number in range(12)])

    shares = [await peer.assigned(4) for peer in peers]
    assert sorted(name for share in shares for name in ids(share)) == sorted(f"task-{number}" for number in range(12))
    for peer in peers:
        await peer.close()


async def test_streams_draw_from_their_queues_in_their_order(api: Api) -> None:
    await api.submit("low", queue="low")
    await api.submit("high", queue="high")
    await api.submit("other", queue="other")
    peer = WorkPeer(api)

    await peer.hello(queues=["high", "low"])

    assert ids(await peer.assigned(2)) == ["high", "low"]
    assert await peer.is_quiet()
    await peer.close()


async def test_waiting_beat_keeps_a_delivery_in_the_workers_buffer(api: Api) -> None:
    peer, assignment = await peer_with_task(api)
    await api.pass_time(8_000)
    (status,) = await peer.start(assignment.lease, waiting=True)
    await api.pass_time(8_000)

    assert status.held
    assert await api.state() == "PENDING/DISPATCHED"
    await peer.close()


async def test_delivery_that_is_not_confirmed_goes_to_another_worker(api: Api) -> None:
    await api.submit()
    silent, other = WorkPeer(api), WorkPeer(api)
    await silent.hello(credit=1)
    (first,) = await silent.assigned()
    await other.hello(credit=1)

    await api.pass_time(10_000)

    (second,) = await other.assigned()
    assert (second.lease.task_id, second.attempt) == ("task-1", 1)
    assert second.lease.lease_token != first.lease.lease_token
    assert [ack.error.reason for ack in await silent.succeed(first.lease)] == ["LEASE_LOST"]
    assert [ack.state for ack in await other.succeed(second.lease)] == [task_pb2.TASK_STATE_SUCCESS]
    await silent.close()
    await other.close()


async def test_result_of_any_size_over_the_limit_does_not_end_the_stream(api: Api) -> None:
    peer, assignment = await peer_with_task(api)
    await peer.start(assignment.lease)

    (ack,) = await peer.finish(a_success(assignment.lease, b"x" * (5 * MIB)))

    assert (ack.state, ack.HasField("error")) == (task_pb2.TASK_STATE_FAILURE, False)
    assert (await api.result()).failure.type == "ResultTooLarge"
    await api.submit("next")
    assert ids(await peer.assigned()) == ["next"]
    await peer.close()


async def test_items_at_fault_are_answered_one_by_one_and_the_stream_goes_on(api: Api) -> None:
    peer, assignment = await peer_with_task(api)
    malformed = pb.LeaseRef(task_id="{}\n", lease_token=b"x")

    statuses = await peer.start(malformed, assignment.lease, pb.LeaseRef())
    acks = await peer.finish(
        a_success(malformed),
        pb.AttemptResult(lease=assignment.lease),
        pb.AttemptResult(),
    )
    items = await peer.release(malformed, pb.LeaseRef(task_id="unknown"))

    assert [status.held for status in statuses] == [False, True, False]
    assert [ack.error.reason for ack in acks] == ["LEASE_LOST", "INVALID_REQUEST", "LEASE_LOST"]
    assert [item.error.reason for item in items] == ["LEASE_LOST", "LEASE_LOST"]
    assert await api.state() == "STARTED"
    await peer.close()


async def test_same_result_twice_is_a_duplicate(api: Api) -> None:
    peer, assignment = await peer_with_task(api)

    (first,) = await peer.succeed(assignment.lease)
    (again,) = await peer.succeed(assignment.lease)

    assert (first.duplicate, again.duplicate, again.state) == (False, True, task_pb2.TASK_STATE_SUCCESS)
    await peer.close()


async def test_beat_and_result_in_one_burst_are_both_answered(api: Api) -> None:
    peer, assignment = await peer_with_task(api)

    await peer.say(beats=pb.LeaseBeats(beats=[pb.LeaseBeat(lease=assignment.lease)]))
    await peer.say(results=pb.AttemptResults(results=[a_success(assignment.lease)]))

    assert (await peer.expect("lease_statuses")).statuses[0].held
    assert (await peer.expect("result_acks")).acks[0].state == task_pb2.TASK_STATE_SUCCESS
    await peer.close()


async def test_frame_that_this_server_does_not_know_is_passed_over(api: Api) -> None:
    peer, assignment = await peer_with_task(api)

    await peer.say()

    assert (await peer.start(assignment.lease))[0].held
    await peer.close()


async def test_thousand_tasks_go_through_one_stream(api: Api) -> None:
    names = [f"task-{number}" for number in range(1_000)]
    peer = WorkPeer(api)
    await peer.hello(credit=10_000)
    await api.submit_many(*names)

    leases = [assignment.lease for assignment in await peer.assigned(1_000)]
    statuses = await peer.start(*leases)
    acks = await peer.succeed(*leases)

    assert sorted(lease.task_id for lease in leases) == sorted(names)
    assert all(status.held for status in statuses)
    assert [ack.task_id for ack in acks] == [lease.task_id for lease in leases]
    assert {ack.state for ack in acks} == {task_pb2.TASK_STATE_SUCCESS}
    await peer.close()


async def test_large_inputs_come_in_frames_that_every_client_takes(lone_api: Api) -> None:
    names = [f"task-{number}" for number in range(10)]
    for name in names:
        await lone_api.submit(name, data=b"x" * MIB)
    peer = WorkPeer(lone_api)

    await peer.hello(credit=10)

    assert ids(await peer.assigned(10)) == names
    await peer.close()

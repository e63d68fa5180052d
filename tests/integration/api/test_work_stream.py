"""The Work stream, frame by frame: credits, starts, results, releases, drain, and what outlives a broken stream."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import grpc
import pytest

from tailrace.server.api import work_outbox as work_outbox_module
from tailrace.server.api import work_stream as work_stream_module
from tailrace.server.dispatch import dispatcher as dispatcher_module
from tailrace.server.domain import limits
from tailrace.v1 import task_pb2
from tailrace.v1 import worker_service_pb2 as pb
from tests.integration.api.serving import MIB, Api, a_failure, a_success, seconds
from tests.integration.api.work_peer import WorkPeer
from tests.wait import eventually_answers, eventually_async

INVALID_ARGUMENT = grpc.StatusCode.INVALID_ARGUMENT


def ids(assignments: list[pb.Assignment]) -> list[str]:
    return [assignment.lease.task_id for assignment in assignments]


async def peer_with_task(api: Api, task_id: str = "task-1", **spec: Any) -> tuple[WorkPeer, pb.Assignment]:
    await api.submit(task_id, **spec)
    peer = WorkPeer(api)
    await peer.hello()
    (assignment,) = await peer.assigned()
    return peer, assignment


async def until_state(api: Api, task_id: str, state: str) -> None:
    await eventually_answers(lambda: api.state(task_id), state, within_s=30)


async def nobody_is_served(api: Api) -> None:
    await eventually_async(lambda: api.server.dispatcher.consumer_count == 0, "the stream is over")


async def nothing_more_is_drawn(api: Api) -> None:
    pools = api.server.dispatcher._pools
    await eventually_async(lambda: not any(pool.room for pool in pools.values()), "nobody has room")


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


async def test_drain_gives_back_nothing_that_runs_and_ends_when_it_is_done(api: Api) -> None:
    peer, assignment = await peer_with_task(api)
    await peer.start(assignment.lease)

    await peer.say(drain=pb.Drain())
    await api.submit("later")
    assert await peer.is_quiet()
    (ack,) = await peer.succeed(assignment.lease)
    await peer.expect("drained")
    await peer.ended()

    assert ack.state == task_pb2.TASK_STATE_SUCCESS
    assert await api.state("later") == "PENDING/QUEUED"


async def test_drain_of_a_worker_that_holds_nothing_ends_at_once(api: Api) -> None:
    peer = WorkPeer(api)
    await peer.hello()

    await peer.say(drain=pb.Drain())

    await peer.expect("drained")
    await peer.ended()


async def test_drain_ends_with_the_last_release_too(api: Api) -> None:
    peer, assignment = await peer_with_task(api)

    await peer.say(drain=pb.Drain())
    await peer.release(assignment.lease)

    await peer.expect("drained")
    await peer.ended()
    assert await api.state() == "PENDING/QUEUED"


async def test_stopping_server_says_goodbye_and_takes_results_until_the_worker_has_gone(api: Api) -> None:
    peer, assignment = await peer_with_task(api)
    await peer.start(assignment.lease)

    stopping = asyncio.create_task(api.server.stop(timedelta(seconds=10)))
    goodbye = await peer.expect("server_drain")
    (ack,) = await peer.succeed(assignment.lease)
    await peer.close()
    await stopping

    assert goodbye.grace_period.seconds == 10
    assert ack.state == task_pb2.TASK_STATE_SUCCESS


async def test_old_stream_is_asked_to_reconnect(lone_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WORK_STREAM_LIFE_S", 0.05)
    monkeypatch.setattr(work_stream_module, "SERVER_DRAIN_GRACE_S", 0.05)
    peer = WorkPeer(lone_api)
    await peer.hello()

    goodbye = await peer.expect("server_drain")

    assert goodbye.grace_period.ToMilliseconds() == 50
    await lone_api.submit()
    await peer.ended()
    assert await lone_api.state() == "PENDING/QUEUED"


async def test_silent_stream_is_kept_alive_from_this_side(lone_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "KEEPALIVE_S", 0.05)
    peer = WorkPeer(lone_api)
    await peer.hello()

    assert [await peer.hear() for _ in range(2)] == [pb.WorkResponse(), pb.WorkResponse()]
    await peer.close()


async def test_silent_worker_is_let_go_and_keeps_its_leases(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SILENCE_S", 0.3)
    peer, assignment = await peer_with_task(api)
    await peer.start(assignment.lease)

    await peer.ended()

    assert await api.state() == "STARTED"
    assert (await api.beat(assignment.lease)).held


async def test_worker_that_sends_and_never_reads_is_let_go(lone_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SILENCE_S", 0.2)
    monkeypatch.setattr(work_outbox_module, "MAX_WAITING_ANSWERS", 2_000)
    peer = WorkPeer(lone_api)
    await peer.hello()
    long_id = pb.LeaseRef(task_id="x" * 128, lease_token=b"t" * 64)
    frame = pb.LeaseBeats(beats=[pb.LeaseBeat(lease=long_id)] * 1_000)

    async def send_on() -> None:
        for _ in range(500):
            await peer.say(beats=frame)

    sending = asyncio.create_task(send_on())
    await nobody_is_served(lone_api)

    sending.cancel()
    await asyncio.wait([sending])
    peer.break_off()
    await lone_api.check_unharmed()


async def test_newer_stream_of_a_session_ends_the_older(api: Api) -> None:
    older, newer = WorkPeer(api), WorkPeer(api)
    session_id = (await older.hello()).session_id

    again = await newer.hello(session_id=session_id)

    await older.ended()
    assert again.session_id == session_id
    await api.submit()
    assert ids(await newer.assigned()) == ["task-1"]
    assert api.server.dispatcher.consumer_count == 1
    await newer.close()


async def test_session_that_is_not_known_starts_anew(api: Api) -> None:
    peer, other = WorkPeer(api), WorkPeer(api)

    first = await peer.hello(session_id="from another server")
    second = await other.hello(session_id="from another server")

    assert len({first.session_id, second.session_id, "from another server"}) == 3
    await peer.close()
    await other.close()


async def test_leases_outlive_the_stream_and_are_checked_on_the_next(api: Api) -> None:
    await api.submit_many("started", "delivered", "lost", "next", "after")
    broken = WorkPeer(api)
    welcome = await broken.hello(credit=3)
    started, delivered, lost = [assignment.lease for assignment in await broken.assigned(3)]
    await broken.start(started)
    broken.break_off()
    await nobody_is_served(api)
    await api.store(a_success(lost))

    peer = WorkPeer(api)
    again = await peer.hello(credit=3, session_id=welcome.session_id, held=[started, delivered, lost])

    assert [(status.task_id, status.held) for status in again.leases] == [
        ("started", True),
        ("delivered", True),
        ("lost", False),
    ]
    assert ids(await peer.assigned(1)) == ["next"]
    assert await peer.is_quiet()
    assert await api.state("delivered") == "PENDING/DISPATCHED"
    await peer.succeed(started, delivered)
    assert (await api.result("delivered")).attempt == 1
    await peer.close()


async def test_lease_that_is_not_listed_runs_out_by_its_own_clock(api: Api) -> None:
    broken, assignment = await peer_with_task(api, lease_duration=seconds(5))
    await broken.start(assignment.lease)
    broken.break_off()
    await nobody_is_served(api)
    peer = WorkPeer(api)
    await peer.hello(credit=0)

    assert await api.state() == "STARTED"
    await api.pass_time(5_000)

    assert await api.state() == "RETRY/QUEUED"
    await peer.close()


async def test_lease_taken_by_stream_is_finished_by_a_call(api: Api) -> None:
    peer, assignment = await peer_with_task(api)
    await peer.start(assignment.lease)
    await peer.close()

    assert (await api.beat(assignment.lease)).held
    await api.store(a_success(assignment.lease))

    assert await api.state() == "SUCCESS"


async def test_lease_taken_by_a_call_is_finished_by_stream(api: Api) -> None:
    await api.submit()
    assignment = await api.lease()
    peer = WorkPeer(api)
    await peer.hello(credit=0)

    (status,) = await peer.start(assignment.lease)
    (ack,) = await peer.succeed(assignment.lease)

    assert (status.held, ack.state) == (True, task_pb2.TASK_STATE_SUCCESS)
    await peer.close()


async def test_streams_and_calls_draw_from_one_queue_in_one_order(api: Api) -> None:
    names = [f"task-{number}" for number in range(6)]
    await api.submit_many(*names)
    peer = WorkPeer(api)
    await peer.hello(credit=2)

    by_stream = ids(await peer.assigned(2))
    by_call = ids(await api.lease_many(2))
    await peer.say(flow_control=pb.FlowControl(max_outstanding_tasks=4))
    by_stream += ids(await peer.assigned(2))

    assert by_stream + by_call == ["task-0", "task-1", "task-4", "task-5", "task-2", "task-3"]
    await peer.close()


async def test_assignments_that_were_not_written_go_back_at_once(lone_api: Api) -> None:
    names = [f"task-{number}" for number in range(30)]
    for name in names:
        await lone_api.submit(name, data=b"x" * MIB)
    deaf = WorkPeer(lone_api)
    await deaf.hello(credit=30)
    await until_state(lone_api, names[0], "PENDING/DISPATCHED")
    await nothing_more_is_drawn(lone_api)
    drawn = [await lone_api.state(name) for name in names].count("PENDING/DISPATCHED")

    deaf.break_off()
    await nobody_is_served(lone_api)

    states = [await lone_api.state(name) for name in names]
    assert states.count("PENDING/DISPATCHED") < drawn < len(names)
    assert ids(await lone_api.lease_many(1)) == [names[states.index("PENDING/QUEUED")]]

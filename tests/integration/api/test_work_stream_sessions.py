"""What outlives a Work stream: sessions and leases, from stream to stream and from stream to call."""

from tailrace.v1 import task_pb2
from tailrace.v1 import worker_service_pb2 as pb
from tailrace.v1.task_service_pb2 import REVOKE_MODE_FORCE, RevokeRequest
from tests.integration.api.serving import CALL_S, MIB, Api, a_success, seconds
from tests.integration.api.stream_steps import ids, nobody_is_served, nothing_more_is_drawn, peer_with_task, until_state
from tests.integration.api.work_peer import WorkPeer


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


async def test_credit_comes_back_when_a_lease_taken_by_stream_is_ended_by_a_call(api: Api) -> None:
    await api.submit_many("stored", "stored-too", "released", "mentioned", "last")
    peer = WorkPeer(api)
    await peer.hello(credit=1)

    (stored,) = await peer.assigned()
    await peer.start(stored.lease)
    await api.store(a_success(stored.lease))
    (status,) = (await peer.expect("lease_statuses")).statuses
    assert (status.lease_token, status.held) == (stored.lease.lease_token, False)

    (stored_too,) = await peer.assigned()
    await api.store_many(a_success(stored_too.lease))
    assert (await peer.expect("lease_statuses")).statuses[0].task_id == "stored-too"

    (released,) = await peer.assigned()
    await api.workers.ReleaseTasks(pb.ReleaseTasksRequest(leases=[released.lease], delay=seconds(60)), timeout=CALL_S)
    assert (await peer.expect("lease_statuses")).statuses[0].task_id == "released"

    (mentioned,) = await peer.assigned()
    assert (await api.beat(mentioned.lease)).held
    await api.tasks.Revoke(RevokeRequest(task_ids=["mentioned"], mode=REVOKE_MODE_FORCE), timeout=CALL_S)
    assert (await peer.expect("lease_statuses")).statuses[0].task_id == "mentioned"

    assert ids([stored, stored_too, released, mentioned, *await peer.assigned()])[-1] == "last"
    await peer.close()


async def test_worker_on_its_way_out_may_leave_once_a_call_ended_its_last_task(api: Api) -> None:
    peer, assignment = await peer_with_task(api)
    await peer.start(assignment.lease)
    await peer.say(drain=pb.Drain())
    assert await peer.is_quiet()

    await api.store(a_success(assignment.lease))

    await peer.expect("lease_statuses")
    await peer.expect("drained")
    await peer.ended()


async def test_worker_that_came_back_is_told_though_its_older_stream_was_not_seen_to_break(api: Api) -> None:
    older, assignment = await peer_with_task(api)
    await older.start(assignment.lease)
    newer = WorkPeer(api)
    await newer.hello(credit=0, held=[assignment.lease])

    await api.tasks.Revoke(RevokeRequest(task_ids=["task-1"]), timeout=CALL_S)

    (status,) = (await newer.expect("lease_statuses")).statuses
    assert (status.held, status.revoke_requested) == (True, True)
    await newer.close()
    await older.close()


async def test_thousand_streams_that_broke_leave_nothing_behind(api: Api) -> None:
    names = [f"task-{number}" for number in range(1_000)]
    await api.submit_many(*names)
    for begin in range(0, len(names), 50):
        peers = [WorkPeer(api) for _ in names[begin : begin + 50]]
        for peer in peers:
            await peer.hello(credit=1)
            await peer.assigned()
        for peer in peers:
            peer.break_off()

    await nobody_is_served(api)

    dispatcher, presence = api.server.dispatcher, api.server.presence
    assert (len(dispatcher.holders), len(dispatcher._pools), len(dispatcher._kinds)) == (0, 0, 0)
    assert (presence.workers(), presence._to_give_back) == ([], [])


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


async def test_worker_whose_thousands_of_tasks_are_to_stop_for_a_long_reason_can_come_back(lone_api: Api) -> None:
    count = 4_000
    await lone_api.submit_many(*[f"task-{number}" for number in range(count)])
    leases = [a.lease for _ in range(count // 100) for a in await lone_api.lease_many(100, start=True)]
    for begin in range(0, count, 1_000):
        task_ids = [lease.task_id for lease in leases[begin : begin + 1_000]]
        await lone_api.tasks.Revoke(RevokeRequest(task_ids=task_ids, reason="r" * 1_024), timeout=CALL_S)
    peer = WorkPeer(lone_api)

    welcome = await peer.hello(credit=0, held=leases)

    assert [(status.held, status.revoke_requested) for status in welcome.leases] == [(True, True)] * count
    (status,) = await peer.start(leases[0])
    assert status.revoke_reason == "r" * 1_024
    await peer.close()

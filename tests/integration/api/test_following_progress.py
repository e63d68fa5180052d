"""Progress of a running task reaches those who asked for it, on the same server and on another one."""

from tailrace.v1 import task_pb2
from tailrace.v1.task_service_pb2 import WaitForRequest, WaitForResponse, WaitTarget
from tailrace.v1.worker_service_pb2 import HeartbeatRequest, LeaseBeat, LeaseRef
from tests.integration.api.serving import CALL_S, Api, a_request, a_success
from tests.integration.api.watch_peer import WatchPeer
from tests.wait import eventually_async


async def say_progress(api: Api, lease: LeaseRef, current: int) -> None:
    beat = LeaseBeat(lease=lease, progress=task_pb2.Progress(current=current, total=100))
    await api.workers.Heartbeat(HeartbeatRequest(worker_id="worker-1", beats=[beat]), timeout=CALL_S)


def progress_of(peer: WatchPeer) -> list[int]:
    return [task.progress.current for task in peer.tasks if task.HasField("progress")]


async def test_progress_is_told_to_who_wants_it_and_to_nobody_else(api: Api) -> None:
    await api.submit()
    eager = await (await WatchPeer(api).say("task-1", include_progress=True)).until_told(1)
    plain = await (await WatchPeer(api).say("task-1")).until_told(1)
    lease = (await api.lease(start=True)).lease
    await eager.until_told(2)
    await plain.until_told(2)

    await say_progress(api, lease, 30)
    await eager.until(lambda peer: 30 in progress_of(peer))

    assert eager.tasks[-1].revision == eager.tasks[-2].revision
    assert await plain.is_quiet()
    await api.store(a_success(lease))
    await eager.close()
    await plain.close()
    assert not eager.tasks[-1].HasField("progress")


async def test_progress_of_a_task_that_was_submitted_on_the_stream_is_told(api: Api) -> None:
    peer = await (await WatchPeer(api).say(include_progress=True, submit=[a_request()])).until_submitted()
    lease = (await api.lease(start=True)).lease

    await say_progress(api, lease, 30)

    await peer.until(lambda peer: 30 in progress_of(peer))
    await api.store(a_success(lease))
    await peer.close()


async def test_wait_for_tells_progress_to_who_asks_for_it(api: Api) -> None:
    await api.submit()
    lease = (await api.lease(start=True)).lease
    request = WaitForRequest(targets=[WaitTarget(task_id="task-1")], include_progress=True)
    call = api.tasks.WaitFor(request, timeout=CALL_S)
    told = [await call.read()]
    await say_progress(api, lease, 30)
    told.append(await call.read())
    await api.store(a_success(lease))

    while isinstance(message := await call.read(), WaitForResponse):
        told.append(message)

    outcomes = [task for message in told if isinstance(message, WaitForResponse) for task in message.tasks]
    assert [(task.state, task.progress.current) for task in outcomes] == [
        (task_pb2.TASK_STATE_STARTED, 0),
        (task_pb2.TASK_STATE_STARTED, 30),
        (task_pb2.TASK_STATE_SUCCESS, 0),
    ]


async def test_progress_said_at_every_turn_is_told_twice_a_second_and_the_last_of_it(api: Api) -> None:
    await api.submit()
    lease = (await api.lease(start=True)).lease
    peer = await (await WatchPeer(api).say("task-1", include_progress=True)).until_told(1)

    for current in range(1, 51):
        await say_progress(api, lease, current)

    await peer.until(lambda peer: 50 in progress_of(peer))
    assert progress_of(peer)[-1] == 50
    assert len(progress_of(peer)) <= 4
    peer.break_off()


async def test_progress_crosses_servers_and_the_end_follows_it(servers: tuple[Api, Api]) -> None:
    one, other = servers
    peer = await (await WatchPeer(one).say(include_progress=True, submit=[a_request()])).until_submitted()
    late = await (await WatchPeer(other).say("task-1")).until_told(1)
    lease = (await other.lease(start=True)).lease
    await peer.until_told(1)

    await say_progress(other, lease, 30)
    await peer.until(lambda peer: 30 in progress_of(peer))
    await say_progress(other, lease, 60)
    await peer.until(lambda peer: 60 in progress_of(peer))
    await other.store(a_success(lease))

    await peer.close()
    await late.close()
    assert peer.states[-1] == late.states[-1] == ("task-1", "SUCCESS")


async def test_task_submitted_on_a_stream_of_one_server_and_run_on_the_other_is_followed(
    servers: tuple[Api, Api],
) -> None:
    one, other = servers
    peer = await (await WatchPeer(one).say(done_only=True, submit=[a_request()])).until_submitted()

    await other.run()

    await peer.close()
    assert peer.states == [("task-1", "SUCCESS")]
    assert one.server.waiting.read_again_count == 0


async def test_stream_that_moves_to_the_other_server_misses_nothing(servers: tuple[Api, Api]) -> None:
    one, other = servers
    await one.submit()
    first = await (await WatchPeer(one).say("task-1")).until_told(1)
    first.break_off()
    await eventually_async(lambda: one.server.waiting.task_count == 0, "nobody waits on the first server")
    lease = (await one.lease(start=True)).lease

    second = await WatchPeer(other).say()
    await second.say_seen(first.tasks)
    await second.until_told(1)
    await one.store(a_success(lease))

    await second.close()
    assert second.states == [("task-1", "STARTED"), ("task-1", "SUCCESS")]

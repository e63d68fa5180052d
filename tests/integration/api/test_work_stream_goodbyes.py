"""How a Work stream ends: drain, a server that stops, silence on either side."""

import asyncio
from datetime import timedelta

import pytest

from tailrace.server.api import work_outbox as work_outbox_module
from tailrace.server.api import work_stream as work_stream_module
from tailrace.server.dispatch.session import WorkerSession
from tailrace.server.domain import limits
from tailrace.server.store.values import Delivery
from tailrace.v1 import task_pb2
from tailrace.v1 import worker_service_pb2 as pb
from tests.integration.api.serving import MIB, Api
from tests.integration.api.stream_steps import nobody_is_served, nothing_more_is_drawn, peer_with_task, until_state
from tests.integration.api.work_peer import WorkPeer
from tests.wait import eventually_async


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


async def test_what_was_not_written_goes_back_though_the_worker_goes_before_it_has_read_its_refusal(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken_back = list[str]()
    close_to_new = WorkerSession.close_to_new

    def note(session: WorkerSession) -> list[Delivery]:
        deliveries = close_to_new(session)
        taken_back.extend(delivery.task_id for delivery in deliveries)
        return deliveries

    monkeypatch.setattr(WorkerSession, "close_to_new", note)
    for number in range(20):
        await api.submit(f"task-{number}", data=b"x" * MIB)
    peer = WorkPeer(api)
    await peer.hello(credit=20)
    # The store's clock stands still: what is not given back stays with the worker.
    await nothing_more_is_drawn(api)
    await peer.say(hello=pb.Hello())
    await eventually_async(lambda: taken_back, "the stream is about to end")

    peer.break_off()

    for task_id in taken_back:
        await until_state(api, task_id, "PENDING/QUEUED")

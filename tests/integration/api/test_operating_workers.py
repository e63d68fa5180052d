"""ListWorkers and DrainWorker: who is connected, wherever that is, and who gets nothing more."""

import asyncio
import time
from typing import Any

import grpc
import pytest

from tailrace.server.dispatch import presence as presence_module
from tailrace.server.dispatch.session import WorkerSession
from tailrace.server.domain import limits
from tailrace.v1 import admin_service_pb2 as admin_pb
from tailrace.v1 import worker_service_pb2 as pb
from tests.integration.api.looking_steps import workers_of
from tests.integration.api.serving import CALL_S, MIB, Api, refused
from tests.integration.api.stream_steps import until_state
from tests.integration.api.work_peer import WorkPeer
from tests.wait import eventually_answers, eventually_async

INVALID = (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
WORKER_NOT_FOUND = (grpc.StatusCode.NOT_FOUND, "WORKER_NOT_FOUND")
PROMPTLY_S = 1.0


async def connect(api: Api, worker_id: str = "worker-1", *, credit: int = 10, **fields: Any) -> WorkPeer:
    peer = WorkPeer(api)
    info = pb.WorkerInfo(worker_id=worker_id, queues=["default"], sdk="test/1.0")
    await peer.hello(**{"worker": info, "credit": credit, **fields})
    return peer


async def drain(api: Api, worker_id: str = "worker-1") -> admin_pb.Worker:
    return (await api.admin.DrainWorker(admin_pb.DrainWorkerRequest(worker_id=worker_id), timeout=CALL_S)).worker


async def until_listed(api: Api, *worker_ids: str, within_s: float = PROMPTLY_S) -> None:
    async def ids() -> list[str]:
        return [worker.worker_id for worker in await workers_of(api)]

    await eventually_answers(ids, list(worker_ids), within_s=within_s)


async def until_drained(api: Api, worker_id: str = "worker-1") -> None:
    await eventually_async(lambda: api.server.presence.is_drained(worker_id), "the server knows of the drain")


async def test_nobody_is_listed_at_first(api: Api) -> None:
    assert await workers_of(api) == []


async def test_connected_worker_is_listed_promptly_with_what_it_said_and_gone_when_it_goes(api: Api) -> None:
    began_at = time.time()
    peer = await connect(api, credit=7)

    await until_listed(api, "worker-1")

    (worker,) = await workers_of(api)
    assert (list(worker.queues), worker.sdk, worker.max_outstanding_tasks) == (["default"], "test/1.0", 7)
    assert (worker.session_id != "", worker.draining, worker.outstanding_count) == (True, False, 0)
    assert began_at - 1 <= worker.connect_time.ToSeconds() <= worker.last_seen_time.ToSeconds() <= time.time()
    await peer.close()
    await until_listed(api)


async def test_listing_keeps_up_with_what_a_worker_holds(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence_module, "ANNOUNCE_S", 0.05)
    monkeypatch.setattr(presence_module, "GATHER_S", 0.05)
    peer = await connect(api, credit=3)
    await api.submit_many("task-1", "task-2")
    assignments = await peer.assigned(2)

    async def outstanding() -> list[int]:
        return [worker.outstanding_count for worker in await workers_of(api)]

    await eventually_answers(outstanding, [2])
    await peer.succeed(*[assignment.lease for assignment in assignments])
    await eventually_answers(outstanding, [0])
    await peer.close()


async def test_worker_whose_connection_breaks_is_listed_no_longer(api: Api) -> None:
    peer = await connect(api)
    await until_listed(api, "worker-1")

    peer.break_off()

    await until_listed(api, within_s=5)


async def test_workers_come_by_id_a_page_at_a_time(api: Api) -> None:
    names = ["a", "b c", "d", "e", "f"]
    peers = [await connect(api, name) for name in reversed(names)]
    await until_listed(api, *names)

    told, token = [], ""
    while True:
        request = admin_pb.ListWorkersRequest(page_size=2, page_token=token)
        page = await api.admin.ListWorkers(request, timeout=CALL_S)
        told.append([worker.worker_id for worker in page.workers])
        token = page.next_page_token
        if not token:
            break

    assert told == [["a", "b c"], ["d", "e"], ["f"]]
    for peer in peers:
        await peer.close()


async def test_page_ends_where_a_message_is_full_of_queues(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FILL_MESSAGE_BYTES", 10_000)
    peers = []
    for name in "abcde":
        queues = [f"{name}-{number}".ljust(64, "x") for number in range(64)]
        peers.append(await connect(api, worker=pb.WorkerInfo(worker_id=name, queues=queues)))
    await eventually_async(lambda: len(api.server.presence.workers()) == 5, "all are connected")

    async def pages() -> list[list[str]]:
        told, token = [], ""
        while True:
            request = admin_pb.ListWorkersRequest(page_size=1000, page_token=token)
            page = await api.admin.ListWorkers(request, timeout=CALL_S)
            told.append([worker.worker_id for worker in page.workers])
            token = page.next_page_token
            if not token:
                return told

    await eventually_answers(pages, [["a", "b"], ["c", "d"], ["e"]])
    for peer in peers:
        await peer.close()


async def test_worker_that_came_back_is_listed_once_with_its_latest_session(api: Api) -> None:
    first = await connect(api)
    await until_listed(api, "worker-1")
    second = await connect(api)

    sessions = {stream.session_id for stream in api.server.presence.workers()}
    assert len(sessions) == 2

    async def listed_sessions() -> list[str]:
        return [worker.session_id for worker in await workers_of(api)]

    latest = max(api.server.presence.workers(), key=lambda each: each.connect_ms).session_id
    await eventually_answers(listed_sessions, [latest])
    await first.close()
    await second.close()


async def test_drained_worker_gets_nothing_more_and_finishes_what_it_has(api: Api) -> None:
    peer = await connect(api)
    await api.submit()
    (assignment,) = await peer.assigned()
    await peer.start(assignment.lease)
    await until_listed(api, "worker-1")

    answered = await drain(api)
    await until_drained(api)
    await api.submit("later")

    assert (answered.worker_id, answered.draining) == ("worker-1", True)
    assert (await peer.start(assignment.lease))[0].held
    await peer.succeed(assignment.lease)
    assert await peer.is_quiet()
    assert (await api.state(), await api.state("later")) == ("SUCCESS", "PENDING/QUEUED")

    async def draining() -> list[bool]:
        return [worker.draining for worker in await workers_of(api)]

    await eventually_answers(draining, [True], within_s=PROMPTLY_S)
    await peer.close()


async def test_what_was_not_written_to_a_drained_worker_goes_to_another_at_once(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_nothing(self: WorkerSession, *, max_items: int, max_bytes: int) -> list[object]:
        return []

    with monkeypatch.context() as patched:
        patched.setattr(WorkerSession, "take_to_write", write_nothing)
        slow = await connect(api, "slow")
        await until_listed(api, "slow")
        await api.submit()
        await until_state(api, "task-1", "PENDING/DISPATCHED")

        await drain(api, "slow")
        await until_state(api, "task-1", "PENDING/QUEUED")

    other = await connect(api, "other")
    assert [each.lease.task_id for each in await other.assigned()] == ["task-1"]
    await slow.close()
    await other.close()


async def test_drained_worker_gets_nothing_when_it_comes_back(api: Api) -> None:
    peer = await connect(api)
    await until_listed(api, "worker-1")
    await drain(api)
    await until_drained(api)
    peer.break_off()

    again = await connect(api)
    await api.submit()

    assert await again.is_quiet()
    assert [each.is_draining for each in api.server.presence.workers() if each.worker_id == "worker-1"][-1:] == [True]
    other = await connect(api, "worker-2")
    assert len(await other.assigned()) == 1
    await again.close()
    await other.close()


async def test_drained_worker_gets_nothing_by_single_calls_either(api: Api) -> None:
    peer = await connect(api)
    await until_listed(api, "worker-1")
    await drain(api)
    await until_drained(api)
    await api.submit()

    assert await api.lease_many() == []
    assert await api.lease_many(wait_s=0.2) == []
    assert await api.state() == "PENDING/QUEUED"
    await peer.close()


async def test_single_call_that_waits_as_its_worker_is_drained_gets_nothing(api: Api) -> None:
    peer = await connect(api)
    await until_listed(api, "worker-1")
    waiting = asyncio.ensure_future(api.lease_many(wait_s=2))
    await eventually_async(lambda: api.server.dispatcher.consumer_count == 2, "the call waits")
    await drain(api)
    await until_drained(api)
    await api.submit()

    assert await waiting == []
    assert await api.state() == "PENDING/QUEUED"
    await peer.close()


async def test_draining_twice_is_harmless(api: Api) -> None:
    peer = await connect(api)
    await until_listed(api, "worker-1")

    assert [(await drain(api)).draining for _ in range(2)] == [True, True]

    await peer.close()


async def test_worker_that_drains_itself_is_listed_so(api: Api) -> None:
    peer = await connect(api)
    await api.submit()
    (assignment,) = await peer.assigned()
    await peer.start(assignment.lease)

    await peer.say(drain=pb.Drain())

    async def draining() -> list[bool]:
        return [worker.draining for worker in await workers_of(api)]

    await eventually_answers(draining, [True], within_s=PROMPTLY_S)
    await peer.succeed(assignment.lease)
    await peer.expect("drained")
    await peer.ended()


async def test_only_connected_workers_can_be_drained(api: Api) -> None:
    refusal = await refused(drain(api, "nobody"))

    assert refusal.outcome == WORKER_NOT_FOUND
    assert "nobody" in refusal.message
    assert not api.server.presence.is_drained("nobody")


@pytest.mark.parametrize("worker_id", ["", "a" * 129, "\N{SNOWMAN}", "a\nb", "\0", "x" * MIB])
async def test_id_that_is_none_is_refused(lone_api: Api, worker_id: str) -> None:
    refusal = await refused(drain(lone_api, worker_id))

    assert refusal.outcome == INVALID
    assert refusal.message.startswith("worker_id: ")
    await lone_api.check_unharmed()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"page_size": -1}, "INVALID_REQUEST"),
        ({"page_token": "x"}, "PAGE_TOKEN_INVALID"),
        ({"page_token": "\0"}, "PAGE_TOKEN_INVALID"),
        ({"page_token": "A" * MIB}, "PAGE_TOKEN_INVALID"),
    ],
)
async def test_page_that_is_none_is_refused(lone_api: Api, fields: dict[str, Any], reason: str) -> None:
    call = lone_api.admin.ListWorkers(admin_pb.ListWorkersRequest(**fields), timeout=CALL_S)

    assert (await refused(call)).reason == reason


async def test_workers_are_seen_and_drained_through_another_server(servers: tuple[Api, Api]) -> None:
    one, other = servers
    peer = await connect(one)
    await until_listed(other, "worker-1")

    assert (await drain(other)).draining
    await asyncio.gather(until_drained(one), until_drained(other))
    await other.submit()

    assert await peer.is_quiet()
    assert await one.state() == "PENDING/QUEUED"
    await peer.close()
    moved = await connect(other)
    assert await moved.is_quiet()
    await moved.close()
    await until_listed(one, within_s=5)


async def test_server_that_stops_takes_its_workers_off_the_list(servers: tuple[Api, Api]) -> None:
    one, other = servers
    staying, leaving = await connect(one, "staying"), await connect(other, "leaving")
    await until_listed(one, "leaving", "staying")

    leaving.break_off()
    await other.server.stop()

    await until_listed(one, "staying", within_s=5)
    await staying.close()

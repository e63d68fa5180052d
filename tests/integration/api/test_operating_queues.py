"""ListQueues, PauseQueue, ResumeQueue and PurgeQueue: exact counts, and hands on the queues."""

import asyncio
from typing import Any

import grpc
import pytest

from tailrace.server.api.page_token import write_page_token
from tailrace.server.coordinator import operators
from tailrace.server.dispatch import dispatcher as dispatcher_module
from tailrace.server.domain import limits
from tailrace.v1 import admin_service_pb2 as pb
from tailrace.v1 import task_pb2
from tailrace.v1.task_service_pb2 import RevokeRequest, WaitForRequest, WaitTarget
from tests.integration.api.looking_steps import queue_of
from tests.integration.api.serving import CALL_S, MIB, Api, a_success, refused, seconds
from tests.integration.api.work_peer import WorkPeer

INVALID = (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
TOKEN_INVALID = (grpc.StatusCode.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID")
HOSTILE_NAMES = ["", "a b", "a\n", "../etc", "a" * 65, "*", "\0", "\N{SNOWMAN}", "x" * MIB]


async def queues_of(api: Api, **fields: Any) -> pb.ListQueuesResponse:
    return await api.admin.ListQueues(pb.ListQueuesRequest(**fields), timeout=CALL_S)


async def pause(api: Api, queue: str = "default") -> pb.Queue:
    return (await api.admin.PauseQueue(pb.PauseQueueRequest(queue=queue), timeout=CALL_S)).queue


async def resume(api: Api, queue: str = "default") -> pb.Queue:
    return (await api.admin.ResumeQueue(pb.ResumeQueueRequest(queue=queue), timeout=CALL_S)).queue


async def purge(api: Api, queue: str = "default", *, force: bool = True) -> tuple[int, int]:
    response = await api.admin.PurgeQueue(pb.PurgeQueueRequest(queue=queue, force=force), timeout=CALL_S)
    return response.purge_count, response.remaining_count


def counts_of(queue: pb.Queue) -> tuple[int, int, int]:
    return queue.queued_count, queue.delayed_count, queue.leased_count


async def test_there_are_no_queues_at_first(api: Api) -> None:
    response = await queues_of(api)

    assert (list(response.queues), response.next_page_token) == ([], "")


async def test_queue_counts_what_is_in_it(api: Api) -> None:
    await api.submit_many("a-1", "a-2", "a-3")
    await api.submit_many("b-1", start_delay=seconds(60))
    await api.lease(start=True)

    queue = await queue_of(api)

    assert (queue.queue, queue.paused, counts_of(queue)) == ("default", False, (2, 1, 1))


async def test_queue_is_told_of_when_it_is_empty_again(api: Api) -> None:
    await api.submit()
    await api.run()

    queue = await queue_of(api)

    assert (counts_of(queue), queue.HasField("oldest_queued_age"), queue.max_depth) == ((0, 0, 0), False, 0)


async def test_queue_tells_how_long_its_oldest_task_has_waited(api: Api) -> None:
    await api.submit("old")
    await api.pass_time(3_000)
    await api.submit("urgent", priority=9)
    await api.pass_time(2_000)

    assert (await queue_of(api)).oldest_queued_age == seconds(5)
    await api.lease_many(2)
    assert not (await queue_of(api)).HasField("oldest_queued_age")


async def test_queues_come_by_name_a_page_at_a_time(api: Api) -> None:
    names = ["Z", "a", "a.b", "a-b", "a_b", "b", "default"]
    for number, name in enumerate(names):
        await api.submit(f"task-{number}", queue=name)

    told, token = [], ""
    while True:
        page = await queues_of(api, page_size=2, page_token=token)
        told.append([queue.queue for queue in page.queues])
        token = page.next_page_token
        if not token:
            break

    assert [name for page in told for name in page] == sorted(names)
    assert [len(page) for page in told] == [2, 2, 2, 1]


async def test_last_page_that_is_full_has_no_token(api: Api) -> None:
    await api.submit("task-1", queue="a")
    await api.submit("task-2", queue="b")

    assert (await queues_of(api, page_size=2)).next_page_token == ""
    assert (await queues_of(api, page_size=1)).next_page_token != ""


async def test_many_queues_are_told_in_steps(lone_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operators, "QUEUE_STEP", 3)
    for number in range(10):
        await lone_api.submit(f"task-{number}", queue=f"queue-{number}")

    page = await queues_of(lone_api)

    assert [queue.queue for queue in page.queues] == [f"queue-{number}" for number in range(10)]


async def test_paused_queue_delivers_nothing_until_it_is_resumed(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher_module, "LOOK_AGAIN_S", 600.0)
    peer = WorkPeer(api)
    await peer.hello()
    paused = await pause(api)
    await api.submit()

    assert (paused.paused, (await queue_of(api)).paused) == (True, True)
    assert await api.state() == "PENDING/QUEUE_PAUSED"
    assert await api.lease_many() == []
    assert await peer.is_quiet()

    resumed = await resume(api)
    (assignment,) = await peer.assigned()

    assert (resumed.paused, counts_of(resumed)) == (False, (1, 0, 0))
    assert assignment.lease.task_id == "task-1"
    await peer.succeed(assignment.lease)
    await peer.close()


async def test_what_runs_goes_on_in_a_paused_queue(api: Api) -> None:
    await api.submit()
    lease = (await api.lease(start=True)).lease

    await pause(api)

    assert (await api.beat(lease)).held
    await api.store(a_success(lease))
    assert await api.state() == "SUCCESS"


async def test_queue_that_had_no_task_yet_is_paused_all_the_same(api: Api) -> None:
    await pause(api, "future")
    await api.submit(queue="future")

    assert (await queue_of(api, "future")).paused
    assert await api.lease_many(queues=("future",)) == []
    await resume(api, "future")
    assert len(await api.lease_many(queues=("future",))) == 1


async def test_pausing_and_resuming_twice_is_harmless(api: Api) -> None:
    assert [(await pause(api)).paused for _ in range(2)] == [True, True]
    assert [(await resume(api)).paused for _ in range(2)] == [False, False]


async def test_other_queues_are_not_paused(api: Api) -> None:
    await pause(api, "slow")
    await api.submit()

    await api.run()

    assert not (await queue_of(api)).paused


async def test_purge_without_force_only_counts(api: Api) -> None:
    await api.submit_many("a-1", "a-2")
    await api.submit_many("b-1", start_delay=seconds(60))
    await api.submit("other", queue="other")

    assert await purge(api, force=False) == (3, 3)
    assert counts_of(await queue_of(api)) == (2, 1, 0)
    assert await api.state("a-1") == "PENDING/QUEUED"


async def test_purge_revokes_what_waits_and_not_what_a_worker_has(api: Api) -> None:
    await api.submit_many("a-1", "a-2", "a-3")
    await api.submit_many("b-1", start_delay=seconds(60))
    await api.submit("other", queue="other")
    leases = [(await api.lease(start=start)).lease for start in (True, False)]

    assert await purge(api) == (2, 0)

    task = await api.result("a-3")
    assert (task.state, task.failure.kind) == (task_pb2.TASK_STATE_REVOKED, task_pb2.FAILURE_KIND_REVOKED)
    assert "purged" in task.failure.message
    assert await api.state("b-1") == "REVOKED"
    assert await api.state("other") == "PENDING/QUEUED"
    for lease in leases:
        await api.store(a_success(lease))
    assert [await api.state(task_id) for task_id in ("a-1", "a-2")] == ["SUCCESS", "SUCCESS"]
    assert await purge(api) == (0, 0)


async def test_purge_works_in_steps_within_its_budget_and_says_what_remains(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_PURGE_STEP", 100)
    monkeypatch.setattr(limits, "PURGE_BUDGET_S", 0.0)
    await api.submit_many(*[f"task-{number}" for number in range(250)])

    assert [await purge(api) for _ in range(4)] == [(100, 150), (100, 50), (50, 0), (0, 0)]


async def test_purge_of_many_is_one_call(api: Api) -> None:
    await api.submit_many(*[f"task-{number}" for number in range(1_200)])

    assert await purge(api) == (1_200, 0)


async def test_purge_reaches_a_paused_queue(api: Api) -> None:
    await pause(api)
    await api.submit()

    assert await purge(api) == (1, 0)
    assert (await queue_of(api)).paused


async def test_purge_of_a_queue_that_is_not_there_does_nothing(api: Api) -> None:
    assert [await purge(api, "nowhere", force=force) for force in (False, True)] == [(0, 0), (0, 0)]
    assert list((await queues_of(api)).queues) == []


async def test_whoever_waits_for_a_task_hears_that_it_was_purged(api: Api) -> None:
    await api.submit()
    call = api.tasks.WaitFor(WaitForRequest(targets=[WaitTarget(task_id="task-1")]), timeout=CALL_S)
    await call.read()

    await purge(api)

    message: Any = await asyncio.wait_for(call.read(), CALL_S)
    assert [task.state for task in message.tasks] == [task_pb2.TASK_STATE_REVOKED]
    while message is not grpc.aio.EOF:
        message = await asyncio.wait_for(call.read(), CALL_S)


@pytest.mark.parametrize("name", HOSTILE_NAMES)
async def test_name_that_is_none_is_refused(lone_api: Api, name: str) -> None:
    refusals = [await refused(call(lone_api, name)) for call in (pause, resume, purge)]

    assert [refusal.outcome for refusal in refusals] == [INVALID] * 3
    assert all(refusal.message.startswith("queue: ") for refusal in refusals)
    assert list((await queues_of(lone_api)).queues) == []
    await lone_api.check_unharmed()


@pytest.mark.parametrize(
    "token",
    ["x", "=" * 10, "\0", "A" * MIB, write_page_token("ListTasks False ", "default")]
    + [write_page_token("ListQueues", name) for name in HOSTILE_NAMES if name],
)
async def test_token_that_is_none_is_refused(lone_api: Api, token: str) -> None:
    assert (await refused(queues_of(lone_api, page_token=token))).outcome == TOKEN_INVALID


async def test_page_size_may_be_too_large_but_not_negative(lone_api: Api) -> None:
    await lone_api.submit()

    assert len((await queues_of(lone_api, page_size=2**31 - 1)).queues) == 1
    refusal = await refused(queues_of(lone_api, page_size=-1))
    assert (refusal.outcome, refusal.message) == (INVALID, "page_size: must not be negative")


async def test_counts_follow_a_task_through_its_life(api: Api) -> None:
    seen = []
    await api.submit(retry_policy=task_pb2.RetryPolicy(max_attempts=2))
    seen.append(counts_of(await queue_of(api)))
    lease = (await api.lease(start=True)).lease
    seen.append(counts_of(await queue_of(api)))
    await api.pass_time(40_000)
    seen.append(counts_of(await queue_of(api)))
    assert not (await api.beat(lease)).held
    await api.tasks.Revoke(RevokeRequest(task_ids=["task-1"]), timeout=CALL_S)
    seen.append(counts_of(await queue_of(api)))

    assert seen == [(1, 0, 0), (0, 0, 1), (1, 0, 0), (0, 0, 0)]

"""The worker's protocol one call at a time: lease, beat, result, release, each item judged by its token."""

import asyncio

import grpc
import pytest

from tailrace.v1 import task_pb2
from tailrace.v1 import worker_service_pb2 as pb
from tests.integration.api.lease_steps import UNKNOWN, heartbeat, is_lost, stale
from tests.integration.api.serving import CALL_S, MIB, Api, a_failure, a_success, a_worker, refused, seconds
from tests.wait import eventually_async

INVALID_ARGUMENT = grpc.StatusCode.INVALID_ARGUMENT


async def waiting_lease(api: Api, *, max_tasks: int = 1, queue: str = "default") -> asyncio.Task[list[pb.Assignment]]:
    """Begin a call that waits for its first task; returns once the server knows of it."""
    call = asyncio.create_task(api.lease_many(max_tasks, wait_s=30, queues=(queue,)))
    await eventually_async(lambda: call.done() or api.server.dispatcher.consumer_count > 0, "the call waits")
    return call


async def test_assignment_carries_all_that_the_worker_needs(api: Api) -> None:
    request_spec = {"headers": {"trace": "7"}, "priority": 3, "lease_duration": seconds(60)}
    await api.submit("task-1", **request_spec)

    assignment = await api.lease()

    assert assignment.lease.task_id == "task-1"
    assert 0 < len(assignment.lease.lease_token) <= 64
    assert (assignment.spec.task_type, assignment.spec.queue, assignment.spec.priority) == ("add", "default", 3)
    assert (assignment.spec.input.data, dict(assignment.spec.headers)) == (b"[1, 2]", {"trace": "7"})
    assert (assignment.attempt, assignment.HasField("last_failure")) == (1, False)
    assert assignment.create_time.ToMilliseconds() == api.harness.now_ms
    assert assignment.start_expire_time.ToMilliseconds() == api.harness.now_ms + 10_000
    assert (assignment.start_timeout.seconds, assignment.lease_duration.seconds) == (10, 60)


async def test_started_on_delivery_has_its_whole_lease(api: Api) -> None:
    await api.submit(lease_duration=seconds(60))

    assignment = await api.lease(start=True)

    assert assignment.start_timeout.seconds == 60
    assert assignment.start_expire_time.ToMilliseconds() == api.harness.now_ms + 60_000
    assert await api.state() == "STARTED"


async def test_nothing_to_lease_is_an_empty_answer(api: Api) -> None:
    assert await api.lease_many(5) == []
    assert await api.lease_many(5, wait_s=0.05) == []


async def test_as_many_tasks_are_leased_as_asked_for_in_their_order(api: Api) -> None:
    for name in ("a", "b"):
        await api.submit(name)
    await api.submit("urgent", priority=9)

    first, second = await api.lease_many(2), await api.lease_many(2)

    assert [assignment.lease.task_id for assignment in first] == ["urgent", "a"]
    assert [assignment.lease.task_id for assignment in second] == ["b"]


async def test_most_urgent_task_goes_first_and_the_oldest_of_these(api: Api) -> None:
    priorities = [4, 0, 9, 1, 8, 2, 7, 3, 6, 5] * 2
    for number, priority in enumerate(priorities):
        await api.submit(f"{9 - priority}-{number:02}", priority=priority)

    leased = [assignment.lease.task_id for _ in range(5) for assignment in await api.lease_many(4)]

    assert leased == sorted(leased)
    assert len(leased) == len(priorities)


async def test_call_that_waits_is_answered_when_a_task_comes(api: Api) -> None:
    call = await waiting_lease(api, max_tasks=5)

    await api.submit()

    assert [assignment.lease.task_id for assignment in await call] == ["task-1"]


async def test_call_takes_what_is_there_without_waiting_for_more(api: Api) -> None:
    await api.submit("a")
    await api.submit("b")

    assert len(await api.lease_many(5, wait_s=30)) == 2


async def test_call_waits_for_its_own_queues_only(api: Api) -> None:
    call = await waiting_lease(api, queue="mine")
    await api.submit("other", queue="other")

    await api.submit("mine", queue="mine")

    assert [assignment.lease.task_id for assignment in await call] == ["mine"]
    assert await api.state("other") == "PENDING/QUEUED"


async def test_task_for_a_caller_that_has_gone_stays_for_the_next(api: Api) -> None:
    call = await waiting_lease(api)
    call.cancel()
    await eventually_async(lambda: api.server.dispatcher.consumer_count == 0, "the call is over")

    await api.submit()

    assert [assignment.lease.task_id for assignment in await api.lease_many()] == ["task-1"]


async def test_delivery_that_nobody_confirms_goes_back_after_ten_seconds(api: Api) -> None:
    await api.submit()
    lost = await api.lease()
    await api.pass_time(9_999)
    assert await api.state() == "PENDING/DISPATCHED"

    await api.pass_time(1)

    assert await api.state() == "PENDING/QUEUED"
    again = await api.lease()
    assert (again.attempt, again.lease.lease_token == lost.lease.lease_token) == (1, False)
    assert not (await api.beat(lost.lease)).held
    assert await is_lost(api.store(a_success(lost.lease)))
    assert (await api.result()).revision == 1


async def test_beat_that_waits_keeps_the_delivery_and_starts_nothing(api: Api) -> None:
    await api.submit()
    assignment = await api.lease()
    await api.pass_time(8_000)

    status = await api.beat(assignment.lease, waiting=True)

    assert status.held
    assert status.expire_time.ToMilliseconds() == api.harness.now_ms + 10_000
    await api.pass_time(8_000)
    assert await api.state() == "PENDING/DISPATCHED"


async def test_first_beat_starts_and_every_further_one_extends(api: Api) -> None:
    await api.submit(lease_duration=seconds(20))
    assignment = await api.lease()

    started = await api.beat(assignment.lease)
    await api.pass_time(15_000)
    extended = await api.beat(assignment.lease)

    assert extended.expire_time.ToMilliseconds() - started.expire_time.ToMilliseconds() == 15_000
    await api.pass_time(19_999)
    assert await api.state() == "STARTED"
    assert (await api.result()).attempt == 1


async def test_lease_that_runs_out_is_no_failed_attempt_but_a_lost_lease(api: Api) -> None:
    await api.submit(lease_duration=seconds(2))
    lost = await api.lease(start=True)

    await api.pass_time(2_000)

    task = await api.result()
    assert (task.state, task.pending_reason) == (task_pb2.TASK_STATE_RETRY, task_pb2.PENDING_REASON_QUEUED)
    assert task.last_failure.kind == task_pb2.FAILURE_KIND_LEASE_EXPIRED
    assert await is_lost(api.store(a_success(lost.lease)))
    again = await api.lease(start=True)
    assert (again.attempt, again.last_failure.kind) == (2, task_pb2.FAILURE_KIND_LEASE_EXPIRED)


async def test_third_lease_lost_in_a_row_is_the_end(api: Api) -> None:
    await api.submit(lease_duration=seconds(2))
    for _ in range(3):
        await api.lease(start=True)
        await api.pass_time(2_000)

    task = await api.result()

    assert (task.state, task.failure.kind) == (task_pb2.TASK_STATE_FAILURE, task_pb2.FAILURE_KIND_LEASE_EXPIRED)


async def test_beats_are_judged_one_by_one(api: Api) -> None:
    await api.submit()
    lease = (await api.lease()).lease

    response = await heartbeat(
        api,
        pb.LeaseBeat(lease=UNKNOWN),
        pb.LeaseBeat(lease=lease),
        pb.LeaseBeat(lease=stale(lease)),
        pb.LeaseBeat(),
        pb.LeaseBeat(lease=pb.LeaseRef(task_id="{}\n", lease_token=b"x")),
    )

    assert [(status.task_id, status.held, status.HasField("error")) for status in response.leases] == [
        ("unknown", False, False),
        ("task-1", True, False),
        ("task-1", False, False),
        ("", False, False),
        ("{}\n", False, False),
    ]
    assert response.leases[1].lease_token == lease.lease_token
    assert response.heartbeat_interval.seconds == 10
    assert await api.state() == "STARTED"


async def test_empty_heartbeat_is_a_sign_of_life(lone_api: Api) -> None:
    assert not (await heartbeat(lone_api)).leases


async def test_assignments_of_one_call_fit_into_a_message_and_the_rest_stays(sqlite_large: Api) -> None:
    names = ["a", "b", "c"]
    for name in names:
        await sqlite_large.submit(name, data=b"x" * (2 * MIB))

    first, second, third = [await sqlite_large.lease_many(10) for _ in names]

    assert [[each.lease.task_id for each in part] for part in (first, second, third)] == [["a"], ["b"], ["c"]]


async def test_failures_of_earlier_attempts_count_for_a_message_too(lone_api: Api) -> None:
    names = [f"task-{number:02}" for number in range(20)]
    cause = task_pb2.Failure(traceback="x" * 32_000)
    for _ in range(6):
        cause = task_pb2.Failure(traceback="x" * 32_000, cause=cause)
    await lone_api.submit_many(*names, retry_policy=task_pb2.RetryPolicy(max_attempts=2))
    for assignment in await lone_api.lease_many(20, start=True):
        failure = a_failure(assignment.lease, cause=cause, next_retry_delay=seconds(0))
        assert (await lone_api.store(failure)).state == task_pb2.TASK_STATE_RETRY

    told: list[str] = []
    while part := await lone_api.lease_many(100):
        told += [assignment.lease.task_id for assignment in part]

    assert sorted(told) == names


@pytest.mark.parametrize(
    ("request_", "reason", "field"),
    [
        (pb.LeaseTasksRequest(max_tasks=1), "INVALID_REQUEST", "worker.queues"),
        (pb.LeaseTasksRequest(worker=a_worker()), "INVALID_REQUEST", "max_tasks"),
        (pb.LeaseTasksRequest(worker=a_worker(), max_tasks=-1), "INVALID_REQUEST", "max_tasks"),
        (pb.LeaseTasksRequest(worker=a_worker(), max_tasks=101), "LIMIT_EXCEEDED", "max_tasks"),
        (pb.LeaseTasksRequest(worker=a_worker("{}"), max_tasks=1), "INVALID_REQUEST", "worker.queues[0]"),
        (
            pb.LeaseTasksRequest(worker=a_worker(), max_tasks=1, wait_timeout=seconds(61)),
            "INVALID_REQUEST",
            "wait_timeout",
        ),
        (
            pb.LeaseTasksRequest(worker=pb.WorkerInfo(queues=["default"]), max_tasks=1),
            "INVALID_REQUEST",
            "worker.worker_id",
        ),
    ],
)
async def test_malformed_lease_call_is_refused_by_field_and_leases_nothing(
    lone_api: Api, request_: pb.LeaseTasksRequest, reason: str, field: str
) -> None:
    await lone_api.submit()

    refusal = await refused(lone_api.workers.LeaseTasks(request_, timeout=CALL_S))

    assert (refusal.code, refusal.reason) == (INVALID_ARGUMENT, reason)
    assert refusal.message.startswith(f"{field}: ")
    assert await lone_api.state() == "PENDING/QUEUED"

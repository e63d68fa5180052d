"""The worker's protocol one call at a time: lease, beat, result, release, each item judged by its token."""

import asyncio
from collections.abc import Awaitable, Callable

import grpc
import pytest

from tailrace.v1 import task_pb2
from tailrace.v1 import worker_service_pb2 as pb
from tests.integration.api.serving import (
    CALL_S,
    MIB,
    Api,
    a_failure,
    a_success,
    a_worker,
    refusal_of,
    refused,
    seconds,
)
from tests.wait import eventually_async

ABORTED, INVALID_ARGUMENT = grpc.StatusCode.ABORTED, grpc.StatusCode.INVALID_ARGUMENT
UNKNOWN = pb.LeaseRef(task_id="unknown", lease_token=b"never handed out")


def stale(lease: pb.LeaseRef) -> pb.LeaseRef:
    return pb.LeaseRef(task_id=lease.task_id, lease_token=lease.lease_token[:-1] + b"?")


def a_revocation(lease: pb.LeaseRef) -> pb.AttemptResult:
    return pb.AttemptResult(lease=lease, revoked=pb.RevokedOutcome(message="asked to stop"))


async def heartbeat(api: Api, *beats: pb.LeaseBeat) -> pb.HeartbeatResponse:
    return await api.workers.Heartbeat(pb.HeartbeatRequest(worker_id="w", beats=beats), timeout=CALL_S)


async def release(api: Api, *leases: pb.LeaseRef, delay: float | None = None) -> list[pb.ReleaseItem]:
    request = pb.ReleaseTasksRequest(leases=leases, delay=None if delay is None else seconds(delay))
    return list((await api.workers.ReleaseTasks(request, timeout=CALL_S)).items)


async def is_lost(call: Awaitable[object]) -> bool:
    refusal = await refused(call)
    return (refusal.code, refusal.reason) == (ABORTED, "LEASE_LOST")


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


async def test_result_without_a_beat_counts_as_started_and_ended(api: Api) -> None:
    await api.submit()
    assignment = await api.lease()

    response = await api.store(a_success(assignment.lease))

    assert (response.state, response.duplicate) == (task_pb2.TASK_STATE_SUCCESS, False)
    task = await api.result()
    assert (task.attempt, task.revision, task.result.data) == (1, 3, b"3")


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        pytest.param(a_success, task_pb2.TASK_STATE_SUCCESS, id="success"),
        pytest.param(a_failure, task_pb2.TASK_STATE_FAILURE, id="failure"),
        pytest.param(a_revocation, task_pb2.TASK_STATE_REVOKED, id="revoked"),
    ],
)
async def test_each_outcome_leads_to_its_state_and_again_is_a_duplicate(
    api: Api,
    outcome: Callable[[pb.LeaseRef], pb.AttemptResult],
    state: "task_pb2.TaskState.ValueType",
) -> None:
    await api.submit()
    assignment = await api.lease(start=True)

    first = await api.store(outcome(assignment.lease))
    again = await api.store(a_success(assignment.lease, b"another"))

    assert (first.state, first.duplicate) == (state, False)
    assert (again.state, again.duplicate) == (state, True)
    task = await api.result()
    assert (task.state, task.done, task.revision) == (state, True, 3)


async def test_revocation_by_the_worker_says_so(api: Api) -> None:
    await api.submit()
    await api.store(a_revocation((await api.lease(start=True)).lease))

    failure = (await api.result()).failure

    assert (failure.kind, failure.message) == (task_pb2.FAILURE_KIND_REVOKED, "asked to stop")


async def test_value_that_is_none_leaves_the_result_unset(api: Api) -> None:
    await api.submit()
    await api.store(pb.AttemptResult(lease=(await api.lease()).lease, success=task_pb2.Payload()))

    task = await api.result()

    assert (task.state, task.HasField("result")) == (task_pb2.TASK_STATE_SUCCESS, False)


async def test_failure_that_is_retried_rests_first(api: Api) -> None:
    await api.submit(retry_policy=task_pb2.RetryPolicy(max_attempts=2))
    first = await api.lease(start=True)

    response = await api.store(a_failure(first.lease, next_retry_delay=seconds(3)))

    assert response.state == task_pb2.TASK_STATE_RETRY
    await api.pass_time(2_999)
    assert await api.lease_many() == []
    await api.pass_time(1)
    again = await api.lease(start=True)
    assert (again.attempt, again.last_failure.type) == (2, "ValueError")
    assert (await api.store(a_failure(again.lease))).state == task_pb2.TASK_STATE_FAILURE


async def test_policy_of_the_worker_holds_where_the_submitter_has_none(api: Api) -> None:
    await api.submit("free")
    await api.submit("bound", retry_policy=task_pb2.RetryPolicy(max_attempts=1))

    states = []
    for assignment in await api.lease_many(2, start=True):
        result = a_failure(assignment.lease)
        result.default_retry_policy.max_attempts = 3
        states.append((await api.store(result)).state)

    assert states == [task_pb2.TASK_STATE_RETRY, task_pb2.TASK_STATE_FAILURE]


async def test_unknown_task_type_is_tried_again(api: Api) -> None:
    await api.submit()
    failure = task_pb2.Failure(kind=task_pb2.FAILURE_KIND_SYSTEM, type="UnknownTaskType")

    response = await api.store(pb.AttemptResult(lease=(await api.lease()).lease, failure=failure))

    assert response.state == task_pb2.TASK_STATE_RETRY


async def test_result_over_the_limit_ends_the_task_and_counts_as_stored(api: Api) -> None:
    await api.submit(retry_policy=task_pb2.RetryPolicy(max_attempts=5))
    assignment = await api.lease(start=True)

    response = await api.store(a_success(assignment.lease, b"x" * (MIB + 1)))

    assert response.state == task_pb2.TASK_STATE_FAILURE
    failure = (await api.result()).failure
    assert (failure.kind, failure.type) == (task_pb2.FAILURE_KIND_SYSTEM, "ResultTooLarge")


async def test_result_over_the_limit_with_a_lost_lease_changes_nothing(api: Api) -> None:
    await api.submit()
    assignment = await api.lease(start=True)

    assert await is_lost(api.store(a_success(stale(assignment.lease), b"x" * (MIB + 1))))
    assert await api.state() == "STARTED"


async def test_stale_token_is_refused_while_another_holds_the_task(api: Api) -> None:
    await api.submit(lease_duration=seconds(2))
    old = await api.lease(start=True)
    await api.pass_time(2_000)
    new = await api.lease(start=True)

    assert await is_lost(api.store(a_success(old.lease, b"old")))
    assert not (await api.beat(old.lease)).held
    assert [item.error.reason for item in await release(api, old.lease)] == ["LEASE_LOST"]
    assert await api.state() == "STARTED"
    await api.store(a_success(new.lease, b"new"))
    assert (await api.result()).result.data == b"new"


async def test_results_of_a_batch_succeed_and_fail_by_themselves(api: Api) -> None:
    for name in ("a", "b", "c", "d"):
        await api.submit(name)
    a, b, c, d = [assignment.lease for assignment in await api.lease_many(4, start=True)]
    await api.store(a_success(a))

    acks = await api.store_many(
        a_success(a),
        a_failure(b),
        a_success(stale(c)),
        pb.AttemptResult(lease=c),
        a_success(d, b"x" * (MIB + 1)),
        a_success(UNKNOWN),
    )

    outcomes = [(ack.task_id, task_pb2.TaskState.Name(ack.state), ack.duplicate, ack.error.reason) for ack in acks]
    assert outcomes == [
        ("a", "TASK_STATE_SUCCESS", True, ""),
        ("b", "TASK_STATE_FAILURE", False, ""),
        ("c", "TASK_STATE_UNSPECIFIED", False, "LEASE_LOST"),
        ("c", "TASK_STATE_UNSPECIFIED", False, "INVALID_REQUEST"),
        ("d", "TASK_STATE_FAILURE", False, ""),
        ("unknown", "TASK_STATE_UNSPECIFIED", False, "LEASE_LOST"),
    ]
    assert "results[3].outcome" in acks[3].error.message
    assert await api.state("c") == "STARTED"


async def test_released_task_goes_to_the_head_of_its_queue_and_keeps_its_attempt(api: Api) -> None:
    for name in ("a", "b", "c"):
        await api.submit(name)
    leases = [assignment.lease for assignment in await api.lease_many(2, start=True)]

    items = await release(api, *leases, stale(leases[0]), UNKNOWN)

    assert [(item.task_id, item.error.reason) for item in items] == [
        ("a", ""),
        ("b", ""),
        ("a", "LEASE_LOST"),
        ("unknown", "LEASE_LOST"),
    ]
    again = await api.lease_many(3)
    assert [(assignment.lease.task_id, assignment.attempt) for assignment in again] == [("a", 1), ("b", 1), ("c", 1)]


async def test_released_task_may_rest(api: Api) -> None:
    await api.submit()
    assignment = await api.lease()

    await release(api, assignment.lease, delay=3)

    assert await api.state() == "PENDING/DELAYED"
    await api.pass_time(3_000)
    assert await api.state() == "PENDING/QUEUED"


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


@pytest.mark.parametrize("kind", ["beats", "results", "leases"])
async def test_a_thousand_items_are_taken_and_one_more_is_not(lone_api: Api, kind: str) -> None:
    async def call(count: int) -> int:
        if kind == "beats":
            return len((await heartbeat(lone_api, *[pb.LeaseBeat(lease=UNKNOWN)] * count)).leases)
        if kind == "results":
            return len(await lone_api.store_many(*[a_success(UNKNOWN)] * count))
        return len(await release(lone_api, *[UNKNOWN] * count))

    assert await call(1_000) == 1_000
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call(1_001)
    assert refusal_of(raised.value).reason == "LIMIT_EXCEEDED"
    assert (raised.value.details() or "").startswith(f"{kind}: ")


async def test_answer_about_malformed_leases_stays_small(lone_api: Api) -> None:
    long = pb.LeaseRef(task_id="{" * 6_000, lease_token=b"x" * 6_000)

    response = await heartbeat(lone_api, *[pb.LeaseBeat(lease=long)] * 1_000)
    acks = await lone_api.store_many(*[a_success(long)] * 300)
    items = await release(lone_api, *[long] * 1_000)

    assert not any(status.held for status in response.leases)
    assert {ack.error.reason for ack in acks} == {item.error.reason for item in items} == {"LEASE_LOST"}
    assert response.ByteSize() < MIB


async def test_missing_result_and_missing_worker_are_refused(lone_api: Api) -> None:
    without_result = await refused(lone_api.workers.StoreResult(pb.StoreResultRequest(), timeout=CALL_S))
    without_worker = await refused(lone_api.workers.Heartbeat(pb.HeartbeatRequest(), timeout=CALL_S))

    assert (without_result.reason, without_worker.reason) == ("INVALID_REQUEST", "INVALID_REQUEST")
    assert without_result.message.startswith("result: ")
    assert without_worker.message.startswith("worker_id: ")

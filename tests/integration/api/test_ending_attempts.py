"""StoreResult, BatchStoreResults and ReleaseTasks: each end judged by its token, each item by itself."""

from collections.abc import Callable

import grpc
import pytest

from tailrace.v1 import task_pb2
from tailrace.v1 import worker_service_pb2 as pb
from tests.integration.api.lease_steps import UNKNOWN, heartbeat, is_lost, stale
from tests.integration.api.serving import CALL_S, MIB, Api, a_failure, a_success, refusal_of, refused, seconds


def a_revocation(lease: pb.LeaseRef) -> pb.AttemptResult:
    return pb.AttemptResult(lease=lease, revoked=pb.RevokedOutcome(message="asked to stop"))


async def release(api: Api, *leases: pb.LeaseRef, delay: float | None = None) -> list[pb.ReleaseItem]:
    request = pb.ReleaseTasksRequest(leases=leases, delay=None if delay is None else seconds(delay))
    return list((await api.workers.ReleaseTasks(request, timeout=CALL_S)).items)


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


async def test_result_larger_than_a_batch_may_be_ends_its_task_when_it_comes_alone(api: Api) -> None:
    await api.submit()
    assignment = await api.lease(start=True)

    (ack,) = await api.store_many(a_success(assignment.lease, bytes(5 * MIB)))

    assert (ack.state, ack.HasField("error")) == (task_pb2.TASK_STATE_FAILURE, False)
    assert (await api.result()).failure.type == "ResultTooLarge"


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

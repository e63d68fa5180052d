"""When a task starts at the earliest, has to have started, and has to be done: by the store's clock, over the wire."""

from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from tailrace.v1 import task_pb2
from tailrace.v1 import worker_service_pb2 as pb
from tests.integration.api.lease_steps import is_lost
from tests.integration.api.serving import Api, a_failure, a_request, a_success, refused, seconds
from tests.integration.api.stream_steps import ids, peer_with_task, until_state
from tests.integration.api.time_steps import end_of, from_now, last_failure_of
from tests.integration.api.work_peer import WorkPeer

RETRIES = task_pb2.RetryPolicy(max_attempts=3, initial_backoff=seconds(0))


async def test_task_with_a_start_delay_is_not_handed_out_before(api: Api) -> None:
    await api.submit(start_delay=seconds(5))

    await api.pass_time(4_999)
    assert (await api.state(), await api.lease_many()) == ("PENDING/DELAYED", [])
    await api.pass_time(1)
    assert await api.state() == "PENDING/QUEUED"

    assert (await api.lease()).lease.task_id == "task-1"


async def test_task_with_a_schedule_time_is_not_handed_out_before(api: Api) -> None:
    await api.submit(schedule_time=from_now(api, 5_000))

    await api.pass_time(4_999)
    assert (await api.state(), await api.lease_many()) == ("PENDING/DELAYED", [])
    await api.pass_time(1)
    assert await api.state() == "PENDING/QUEUED"

    assert (await api.lease()).lease.task_id == "task-1"


async def test_schedule_time_that_has_passed_means_at_once(api: Api) -> None:
    task = await api.submit(schedule_time=from_now(api, -1))

    assert task.pending_reason == task_pb2.PENDING_REASON_QUEUED


async def test_delayed_task_is_pushed_to_an_open_stream_when_its_time_has_come(api: Api) -> None:
    peer = WorkPeer(api)
    await peer.hello()
    await api.submit(start_delay=seconds(5))
    assert await peer.is_quiet()

    await api.pass_time(5_000)

    assert ids(await peer.assigned()) == ["task-1"]
    await peer.close()


async def test_task_that_has_not_started_within_its_span_is_revoked(api: Api) -> None:
    await api.submit(start_within=seconds(5))

    await api.pass_time(4_999)
    assert await api.state() == "PENDING/QUEUED"
    await api.pass_time(1)

    assert await end_of(api) == ("REVOKED", "TIMEOUT", "StartDeadlineExceeded")
    assert await api.lease_many() == []


async def test_span_to_start_within_counts_from_the_scheduled_start(api: Api) -> None:
    await api.submit(start_delay=seconds(10), start_within=seconds(5))

    await api.pass_time(14_999)
    assert await api.state() == "PENDING/QUEUED"
    await api.pass_time(1)

    assert await api.state() == "REVOKED"


async def test_task_that_has_not_started_by_its_deadline_is_revoked(api: Api) -> None:
    await api.submit(start_deadline=from_now(api, 5_000))

    await api.pass_time(4_999)
    assert await api.state() == "PENDING/QUEUED"
    await api.pass_time(1)

    assert await end_of(api) == ("REVOKED", "TIMEOUT", "StartDeadlineExceeded")
    assert await api.lease_many() == []


async def test_task_that_has_started_in_time_is_not_bound_by_the_start_deadline_any_more(api: Api) -> None:
    await api.submit(start_within=seconds(5), retry_policy=RETRIES)
    lease = (await api.lease(start=True)).lease

    await api.pass_time(6_000)
    await api.store(a_failure(lease))
    assert await api.state() == "RETRY/QUEUED"
    await api.run()

    assert await api.state() == "SUCCESS"


async def test_task_that_is_being_delivered_at_its_start_deadline_keeps_its_ten_seconds(api: Api) -> None:
    await api.submit(start_within=seconds(5))
    await api.pass_time(3_000)
    lease = (await api.lease()).lease

    await api.pass_time(9_000)
    assert await api.state() == "PENDING/DISPATCHED"
    assert (await api.beat(lease)).held

    assert (await api.store(a_success(lease))).state == task_pb2.TASK_STATE_SUCCESS


async def test_delivery_that_nobody_confirms_is_revoked_once_its_start_deadline_has_passed(api: Api) -> None:
    await api.submit(start_within=seconds(5))
    await api.lease()

    await api.pass_time(10_000)

    assert await end_of(api) == ("REVOKED", "TIMEOUT", "StartDeadlineExceeded")


async def test_attempt_that_its_worker_does_not_end_fails_ten_seconds_after_its_limit(api: Api) -> None:
    await api.submit(execution_timeout=seconds(5), retry_policy=RETRIES, lease_duration=seconds(3600))
    assignment = await api.lease(start=True)

    await api.pass_time(14_999)
    assert (await api.beat(assignment.lease)).held
    await api.pass_time(1)

    assert await api.state() == "RETRY/QUEUED"
    assert await last_failure_of(api) == "ExecutionTimeout"
    assert not (await api.beat(assignment.lease)).held
    assert await is_lost(api.store(a_success(assignment.lease)))
    again = await api.lease(start=True)
    assert (again.attempt, again.last_failure.kind) == (2, task_pb2.FAILURE_KIND_TIMEOUT)


async def test_attempt_that_ran_too_long_is_the_end_where_the_spec_has_no_retry_policy(api: Api) -> None:
    await api.submit(execution_timeout=seconds(5), lease_duration=seconds(3600))
    await api.lease(start=True)

    await api.pass_time(15_000)

    assert await end_of(api) == ("FAILURE", "TIMEOUT", "ExecutionTimeout")


async def test_open_stream_is_told_that_its_attempt_ran_too_long(api: Api) -> None:
    peer, assignment = await peer_with_task(api, execution_timeout=seconds(5), lease_duration=seconds(3600))
    await peer.start(assignment.lease)

    await api.pass_time(15_000)

    (status,) = (await peer.expect("lease_statuses")).statuses
    assert (status.task_id, status.lease_token, status.held) == ("task-1", assignment.lease.lease_token, False)
    await peer.close()


async def test_worker_is_told_the_limit_of_an_attempt_and_may_end_it_itself(api: Api) -> None:
    await api.submit(execution_timeout=seconds(5), retry_policy=RETRIES)
    assignment = await api.lease(start=True)
    timeout = task_pb2.Failure(kind=task_pb2.FAILURE_KIND_TIMEOUT, type="ExecutionTimeout")

    response = await api.store(pb.AttemptResult(lease=assignment.lease, failure=timeout))

    assert assignment.spec.execution_timeout == seconds(5)
    assert response.state == task_pb2.TASK_STATE_RETRY


@pytest.mark.parametrize("place", ["ready", "delayed", "delivered", "started"])
async def test_task_that_is_not_done_in_its_whole_time_fails_wherever_it_is(api: Api, place: str) -> None:
    await api.submit(total_timeout=seconds(5), start_delay=seconds(4 if place == "delayed" else 0))
    leases = [
        assignment.lease
        for assignment in (await api.lease_many(start=place == "started") if place in {"delivered", "started"} else [])
    ]

    await api.pass_time(4_999)
    assert not (await api.result()).done
    await api.pass_time(1)

    assert await end_of(api) == ("FAILURE", "TIMEOUT", "TotalTimeout")
    for lease in leases:
        assert not (await api.beat(lease)).held
        assert await is_lost(api.store(a_success(lease)))


async def test_open_stream_is_told_that_the_whole_time_of_its_task_is_over(api: Api) -> None:
    peer, assignment = await peer_with_task(api, total_timeout=seconds(5))
    await peer.start(assignment.lease)

    await api.pass_time(5_000)

    (status,) = (await peer.expect("lease_statuses")).statuses
    assert (status.lease_token, status.held) == (assignment.lease.lease_token, False)
    await api.submit("next")
    assert ids(await peer.assigned()) == ["next"]
    await peer.close()


async def test_retry_that_would_come_after_the_whole_time_is_not_waited_for(api: Api) -> None:
    policy = task_pb2.RetryPolicy(max_attempts=9, initial_backoff=seconds(60), max_backoff=seconds(60))
    await api.submit(total_timeout=seconds(20), retry_policy=policy)

    response = await api.store(a_failure((await api.lease(start=True)).lease))

    assert response.state == task_pb2.TASK_STATE_FAILURE
    assert await end_of(api) == ("FAILURE", "APPLICATION", "ValueError")


async def test_result_that_arrives_before_anybody_acted_is_accepted_however_late(api: Api) -> None:
    await api.submit(total_timeout=seconds(5), execution_timeout=seconds(1))
    lease = (await api.lease(start=True)).lease
    await api.pass_time(4_999)

    assert (await api.store(a_success(lease))).state == task_pb2.TASK_STATE_SUCCESS


async def test_servers_own_duties_hold_tasks_to_their_times(api: Api) -> None:
    await api.submit("late", start_within=seconds(5))
    await api.submit("slow", total_timeout=seconds(5), queue="slow")
    await api.submit("delayed", start_delay=seconds(5), queue="delayed")

    await api.harness.advance(5_000)

    for task_id, state in (("late", "REVOKED"), ("slow", "FAILURE"), ("delayed", "PENDING/QUEUED")):
        await until_state(api, task_id, state)


@pytest.mark.parametrize(
    ("times", "field"),
    [
        ({"schedule_time": Timestamp(seconds=9), "start_delay": Duration(seconds=1)}, "spec.start_delay"),
        ({"start_deadline": Timestamp(seconds=9), "start_within": Duration(seconds=1)}, "spec.start_within"),
        ({"start_deadline": Timestamp(seconds=9), "schedule_time": Timestamp(seconds=9)}, "spec.start_deadline"),
        ({"total_timeout": Duration(seconds=9), "start_delay": Duration(seconds=9)}, "spec.total_timeout"),
        ({"start_within": Duration()}, "spec.start_within"),
    ],
)
async def test_times_that_contradict_each_other_are_refused_by_field_and_leave_nothing(
    api: Api, times: dict[str, Any], field: str
) -> None:
    refusal = await refused(api.tasks.Submit(a_request(**times)))

    assert refusal.outcome == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert field in refusal.message
    assert await api.lease_many() == []

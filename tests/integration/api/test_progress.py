"""How far a task has come: told with beats, shown to whoever asks, handed to the next attempt."""

import time
from typing import Any

import pytest

from tailrace.v1 import task_pb2
from tailrace.v1 import worker_service_pb2 as pb
from tests.integration.api.lease_steps import heartbeat, stale
from tests.integration.api.looking_steps import task_of
from tests.integration.api.serving import JSON, Api, a_failure, a_success, seconds
from tests.integration.api.stream_steps import peer_with_task
from tests.integration.api.work_peer import WorkPeer

KIB = 1 << 10
RETRIES = task_pb2.RetryPolicy(max_attempts=9, initial_backoff=seconds(0))
HALFWAY = {"current": 5, "total": 10, "message": "half of it"}
CHECKPOINT = task_pb2.Payload(content_type=JSON, data=b'{"row": 5}')


def progress_beat(lease: pb.LeaseRef, **progress: Any) -> pb.LeaseBeat:
    return pb.LeaseBeat(lease=lease, progress=task_pb2.Progress(**progress))


async def report(api: Api, lease: pb.LeaseRef, **progress: Any) -> pb.LeaseStatus:
    return (await heartbeat(api, progress_beat(lease, **progress))).leases[0]


def said(progress: task_pb2.Progress) -> dict[str, Any]:
    return {"current": progress.current, "total": progress.total, "message": progress.message}


async def test_progress_is_shown_with_the_time_at_which_it_came_and_is_no_change_of_state(api: Api) -> None:
    await api.submit()
    lease = (await api.lease(start=True)).lease
    before = await api.result()

    asked_s = time.time()
    status = await report(api, lease, **HALFWAY, details=CHECKPOINT)

    after = await api.result()
    assert (status.held, status.HasField("error")) == (True, False)
    assert (said(after.progress), after.progress.details) == (HALFWAY, CHECKPOINT)
    assert asked_s - 0.001 <= after.progress.update_time.ToNanoseconds() / 1e9 <= time.time()
    assert (after.revision, after.state, after.update_time) == (before.revision, before.state, before.update_time)
    assert not before.HasField("progress")


async def test_last_progress_said_holds_and_a_beat_without_any_leaves_it(api: Api) -> None:
    await api.submit()
    lease = (await api.lease(start=True)).lease

    await report(api, lease, current=1, message="first", details=CHECKPOINT)
    await report(api, lease, current=2)
    await api.beat(lease)

    progress = (await api.result()).progress
    assert (progress.current, progress.message, progress.HasField("details")) == (2, "", False)


async def test_first_beat_may_bring_progress_and_starts_the_attempt(api: Api) -> None:
    await api.submit()
    lease = (await api.lease()).lease

    await report(api, lease, **HALFWAY)

    task = await api.result()
    assert (task.state, said(task.progress)) == (task_pb2.TASK_STATE_STARTED, HALFWAY)


async def test_progress_of_a_waiting_beat_is_ignored(api: Api) -> None:
    await api.submit()
    beat = progress_beat((await api.lease()).lease, message="x" * 9 * KIB)
    beat.waiting = True

    (status,) = (await heartbeat(api, beat)).leases

    assert (status.held, status.HasField("error")) == (True, False)
    assert not (await api.result()).HasField("progress")


@pytest.mark.parametrize("end", ["failed", "lost", "released"])
async def test_progress_goes_from_attempt_to_attempt_however_the_one_before_ended(api: Api, end: str) -> None:
    await api.submit(retry_policy=RETRIES, lease_duration=seconds(2))
    first = await api.lease(start=True)
    await report(api, first.lease, **HALFWAY, details=CHECKPOINT)

    if end == "failed":
        await api.store(a_failure(first.lease))
    elif end == "lost":
        await api.pass_time(2_000)
    else:
        await api.workers.ReleaseTasks(pb.ReleaseTasksRequest(leases=[first.lease]), timeout=10)

    between = await api.result()
    second = await api.lease(start=True)
    assert not first.HasField("last_progress")
    assert said(between.progress) == HALFWAY
    assert (said(second.last_progress), second.last_progress.details) == (HALFWAY, CHECKPOINT)
    assert second.last_progress.update_time == between.progress.update_time


async def test_checkpoint_survives_an_attempt_that_says_nothing(api: Api) -> None:
    await api.submit(retry_policy=RETRIES)
    first = (await api.lease(start=True)).lease
    await report(api, first, details=CHECKPOINT)
    await api.store(a_failure(first))
    second = (await api.lease(start=True)).lease
    await api.store(a_failure(second))

    assert (await api.lease(start=True)).last_progress.details == CHECKPOINT


@pytest.mark.parametrize("result", [a_success, a_failure])
async def test_task_that_is_done_has_no_progress(api: Api, result: Any) -> None:
    await api.submit()
    lease = (await api.lease(start=True)).lease
    await report(api, lease, **HALFWAY)

    await api.store(result(lease))

    task = await api.result()
    assert (task.done, task.HasField("progress")) == (True, False)


async def test_progress_of_a_lost_lease_changes_nothing(api: Api) -> None:
    await api.submit()
    lease = (await api.lease(start=True)).lease
    await report(api, lease, **HALFWAY)

    statuses = [
        await report(api, stale(lease), current=9),
        await report(api, stale(lease), message="x" * 9 * KIB),
    ]

    assert [(status.held, status.HasField("error")) for status in statuses] == [(False, False)] * 2
    assert said((await api.result()).progress) == HALFWAY


@pytest.mark.parametrize(
    ("progress", "reason"),
    [
        pytest.param({"message": "x" * (KIB + 1)}, "INVALID_REQUEST", id="message"),
        pytest.param(
            {"details": task_pb2.Payload(content_type=JSON, data=bytes(16 * KIB + 1))}, "LIMIT_EXCEEDED", id="details"
        ),
        pytest.param({"details": task_pb2.Payload(data=b"1")}, "INVALID_REQUEST", id="details of no type"),
    ],
)
async def test_progress_over_its_limits_is_refused_and_the_beat_counts_all_the_same(
    api: Api, progress: dict[str, Any], reason: str
) -> None:
    await api.submit(lease_duration=seconds(4))
    lease = (await api.lease(start=True)).lease
    await report(api, lease, **HALFWAY)
    await api.pass_time(3_000)

    status = await report(api, lease, **progress)

    assert (status.held, status.error.reason) == (True, reason)
    assert status.expire_time.ToMilliseconds() == api.harness.now_ms + 4_000
    await api.pass_time(3_000)
    assert (await api.state(), said((await api.result()).progress)) == ("STARTED", HALFWAY)


async def test_progress_at_its_limits_is_taken_on_a_stream(api: Api) -> None:
    peer, assignment = await peer_with_task(api, retry_policy=RETRIES)
    details = task_pb2.Payload(content_type=JSON, data=bytes(range(256)) * 64)

    await peer.say(beats=pb.LeaseBeats(beats=[progress_beat(assignment.lease, message="x" * KIB, details=details)]))
    (status,) = (await peer.expect("lease_statuses")).statuses
    await peer.finish(a_failure(assignment.lease))
    (again,) = await peer.assigned()

    assert (status.held, status.HasField("error")) == (True, False)
    assert (again.last_progress.message, again.last_progress.details) == ("x" * KIB, details)
    await peer.close()


async def test_refused_progress_does_not_end_a_stream(api: Api) -> None:
    peer, assignment = await peer_with_task(api)

    await peer.say(beats=pb.LeaseBeats(beats=[progress_beat(assignment.lease, message="x" * 9 * KIB)]))
    (status,) = (await peer.expect("lease_statuses")).statuses

    assert (status.held, status.error.reason) == (True, "INVALID_REQUEST")
    assert [ack.state for ack in await peer.succeed(assignment.lease)] == [task_pb2.TASK_STATE_SUCCESS]
    await peer.close()


async def test_hundreds_of_checkpoints_in_one_frame_are_all_kept(api: Api) -> None:
    names = [f"task-{number}" for number in range(200)]
    await api.submit_many(*names)
    peer = WorkPeer(api)
    await peer.hello(credit=200)
    leases = [assignment.lease for assignment in await peer.assigned(200)]
    details = task_pb2.Payload(content_type=JSON, data=bytes(16 * KIB))

    beats = [progress_beat(lease, current=number, details=details) for number, lease in enumerate(leases)]
    await peer.say(beats=pb.LeaseBeats(beats=beats))

    statuses = (await peer.expect("lease_statuses")).statuses
    assert [(status.held, status.HasField("error")) for status in statuses] == [(True, False)] * 200
    for number in (0, 100, 199):
        progress = (await api.result(leases[number].task_id)).progress
        assert (progress.current, len(progress.details.data)) == (number, 16 * KIB)
    await peer.close()


async def test_record_names_the_worker_that_holds_the_task_by_stream_by_call_or_started_at_once(api: Api) -> None:
    await api.submit("by-stream")
    peer = WorkPeer(api)
    await peer.hello(worker=pb.WorkerInfo(worker_id="streamer", queues=["default"]))
    (assignment,) = await peer.assigned()
    await peer.start(assignment.lease)
    await peer.say(flow_control=pb.FlowControl(max_outstanding_tasks=0))
    assert await peer.is_quiet()
    await api.submit("by-call")
    await heartbeat(api, pb.LeaseBeat(lease=(await api.lease()).lease))
    await api.submit("at-once")
    await api.lease(start=True)

    workers = [(await task_of(api, task_id)).worker_id for task_id in ("by-stream", "by-call", "at-once")]

    assert workers == ["streamer", "w", "worker-1"]
    await peer.close()

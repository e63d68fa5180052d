"""Whole records on the wire: what each view holds."""

from dataclasses import replace

from tailrace.server.api.render_task import task as render
from tailrace.server.domain.detail import TaskDetail
from tailrace.server.domain.task import Place, TaskSnapshot, TaskState
from tailrace.v1 import task_pb2
from tailrace.v1.task_service_pb2 import SubmitRequest

NOW_MS = 1_800_000_000_123
DETAILS = task_pb2.Payload(content_type="application/json", data=b"{}")
FAILURE = task_pb2.Failure(
    kind=task_pb2.FAILURE_KIND_APPLICATION, type="ValueError", message="no", traceback="line 1", details=DETAILS
)
PROGRESS = task_pb2.Progress(current=3, total=10, message="on it", details=DETAILS)
REQUEST = SubmitRequest(
    spec=task_pb2.TaskSpec(task_type="add", queue="default", input=DETAILS, labels={"customer": "acme"}),
    parent_task_id="parent-1",
)
RUNNING = TaskDetail(
    snapshot=TaskSnapshot(
        task_id="task-1",
        state=TaskState.STARTED,
        place=Place.LEASE,
        revision=4,
        attempt=2,
        update_ms=NOW_MS - 500,
        last_failure=FAILURE.SerializeToString(),
        progress=PROGRESS.SerializeToString(),
    ),
    request=REQUEST.SerializeToString(),
    create_ms=NOW_MS - 9_000,
    start_ms=NOW_MS - 500,
    worker_id="worker-1",
    lease_expire_ms=NOW_MS + 30_000,
    delivery_count=2,
    is_revoke_requested=True,
)
FAILED = replace(
    RUNNING,
    snapshot=replace(
        RUNNING.snapshot,
        state=TaskState.FAILURE,
        place=Place.DONE,
        last_failure=None,
        progress=None,
        failure=FAILURE.SerializeToString(),
        expire_ms=NOW_MS + 60_000,
    ),
    lease_expire_ms=None,
    is_revoke_requested=False,
)


def test_full_view_is_everything() -> None:
    task = render(RUNNING, is_full=True)

    assert (task.task_id, task.spec, task.parent_task_id) == ("task-1", REQUEST.spec, "parent-1")
    assert (task.outcome.last_failure, task.outcome.attempt, task.outcome.revision) == (FAILURE, 2, 4)
    assert (task.outcome.progress.current, task.outcome.progress.details) == (3, DETAILS)
    assert (task.worker_id, task.delivery_count, task.revoke_requested) == ("worker-1", 2, True)
    times = (task.create_time, task.start_time, task.lease_expire_time)
    assert [time.ToMilliseconds() - NOW_MS for time in times] == [-9_000, -500, 30_000]
    assert not task.HasField("end_time")


def test_basic_view_leaves_out_input_and_details() -> None:
    full, basic = render(RUNNING, is_full=True), render(RUNNING, is_full=False)

    full.spec.ClearField("input")
    full.outcome.progress.ClearField("details")
    for field in ("traceback", "details", "cause"):
        full.outcome.last_failure.ClearField(field)
    assert basic == full


def test_progress_that_is_not_there_is_not_made_up_by_the_basic_view() -> None:
    silent = replace(RUNNING, snapshot=replace(RUNNING.snapshot, progress=None))

    assert not render(silent, is_full=False).outcome.HasField("progress")


def test_task_that_is_done_has_an_end() -> None:
    task = render(FAILED, is_full=True)

    assert (task.end_time.ToMilliseconds(), task.outcome.failure) == (NOW_MS - 500, FAILURE)
    assert task.end_time == task.outcome.update_time
    assert not task.HasField("lease_expire_time")


def test_result_is_in_the_full_view_only() -> None:
    succeeded = replace(
        FAILED,
        snapshot=replace(FAILED.snapshot, state=TaskState.SUCCESS, failure=None, result=DETAILS.SerializeToString()),
    )

    full, basic = render(succeeded, is_full=True), render(succeeded, is_full=False)

    assert (full.outcome.result, basic.outcome.HasField("result")) == (DETAILS, False)


def test_what_never_happened_has_no_time() -> None:
    waiting = replace(RUNNING, start_ms=None, lease_expire_ms=None)

    task = render(waiting, is_full=True)

    assert [task.HasField(field) for field in ("start_time", "end_time", "lease_expire_time")] == [False] * 3

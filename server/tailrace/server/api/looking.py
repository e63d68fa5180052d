"""What TaskService answers to those who look at tasks: the record, pages of them, deleting, running again."""

from collections.abc import Mapping
from dataclasses import replace

from tailrace.server.api import render, render_task
from tailrace.server.api.filter import TaskFilter, parse_filter
from tailrace.server.api.page_token import page_size_of, read_page_token, write_page_token
from tailrace.server.api.parse_fields import TASK_ID, check_name
from tailrace.server.api.parse_task import parse_submission
from tailrace.server.api.tracing import part_traces
from tailrace.server.api.violations import Violations
from tailrace.server.coordinator.coordinator import Coordinator
from tailrace.server.coordinator.operators import Operators
from tailrace.server.domain.detail import TaskDetail
from tailrace.server.domain.errors import StoreUnavailableError, TailraceError, TaskNotFoundError
from tailrace.v1 import task_pb2
from tailrace.v1 import task_service_pb2 as pb


class Looking:
    """Parses, calls, renders."""

    def __init__(self, operators: Operators, coordinator: Coordinator, *, max_payload_bytes: int) -> None:
        self._operators = operators
        self._coordinator = coordinator
        self._max_payload_bytes = max_payload_bytes

    async def get_task(self, request: pb.GetTaskRequest) -> pb.GetTaskResponse:
        """Read one record."""
        violations = Violations()
        check_name(violations, "task_id", request.task_id, TASK_ID)
        is_full = _is_full(violations, request.view)
        violations.raise_if_any()
        detail = await self._operators.get_task(request.task_id)
        return pb.GetTaskResponse(task=render_task.task(detail, is_full=is_full))

    async def list_tasks(self, request: pb.ListTasksRequest) -> pb.ListTasksResponse:
        """Read one page of records."""
        violations = Violations()
        is_full = _is_full(violations, request.view)
        check_page_size(violations, request.page_size)
        violations.raise_if_any()
        wanted = parse_filter(request.filter)
        query = f"ListTasks {is_full} {request.filter}"
        page = await self._operators.list_tasks(
            read_page_token(query, request.page_token),
            page_size_of(request.page_size),
            passes=None if wanted == TaskFilter() else lambda detail: _passes(wanted, detail),
            with_payloads=is_full,
        )
        return pb.ListTasksResponse(
            tasks=[render_task.task(detail, is_full=is_full) for detail in page.details],
            next_page_token=write_page_token(query, page.next_place),
        )

    async def delete_task(self, request: pb.DeleteTaskRequest) -> pb.DeleteTaskResponse:
        """Delete one record."""
        violations = Violations()
        check_name(violations, "task_id", request.task_id, TASK_ID)
        violations.raise_if_any()
        try:
            await self._operators.delete_task(request.task_id)
        except TaskNotFoundError:
            if not request.allow_missing:
                raise
        return pb.DeleteTaskResponse()

    async def resubmit_task(
        self, request: pb.ResubmitTaskRequest, caller: Mapping[str, str]
    ) -> pb.ResubmitTaskResponse:
        """Run a task again, as a new one; ``caller`` has the trace that the call belongs to."""
        violations = Violations()
        check_name(violations, "task_id", request.task_id, TASK_ID)
        if request.new_task_id:
            check_name(violations, "new_task_id", request.new_task_id, TASK_ID)
            if request.new_task_id == request.task_id:
                violations.add("new_task_id", "must differ from task_id")
        violations.raise_if_any()
        try:
            detail = await self._operators.get_resubmittable(request.task_id)
        except TaskNotFoundError:
            if (response := await self._resubmitted_before(request)) is None:
                raise
            return response
        again = _again(detail, request.new_task_id)
        part_traces(again.spec.headers, caller)
        submission = parse_submission(again, max_payload_bytes=self._max_payload_bytes)
        outcome = (await self._coordinator.submit([submission]))[0]
        if isinstance(outcome, StoreUnavailableError):
            raise StoreUnavailableError(str(outcome), metadata={"task_id": submission.task_id})
        if isinstance(outcome, TailraceError):
            raise outcome
        return pb.ResubmitTaskResponse(task=render.task_result(outcome.snapshot), created=outcome.is_created)

    async def _resubmitted_before(self, request: pb.ResubmitTaskRequest) -> pb.ResubmitTaskResponse | None:
        """Answer a call that is repeated after the old record has gone; None where it is none."""
        if not request.new_task_id:
            return None
        try:
            detail = await self._operators.get_task(request.new_task_id)
        except TaskNotFoundError:
            return None
        if pb.SubmitRequest.FromString(detail.request).parent_task_id != request.task_id:
            return None
        snapshot = replace(detail.snapshot, result=None, failure=None, last_failure=None)
        return pb.ResubmitTaskResponse(task=render.task_result(snapshot), created=False)


def check_page_size(violations: Violations, page_size: int) -> None:
    """Check what a caller wants to have on a page; too much is coerced and no fault."""
    if page_size < 0:
        violations.add("page_size", "must not be negative")


def _is_full(violations: Violations, view: "task_pb2.TaskView.ValueType") -> bool:
    if view not in task_pb2.TaskView.values():
        violations.add("view", "must be BASIC or FULL")
    return view == task_pb2.TASK_VIEW_FULL


def _passes(wanted: TaskFilter, detail: TaskDetail) -> bool:
    if not wanted.passes_state(detail.snapshot.state):
        return False
    return not wanted.needs_spec or wanted.passes_spec(pb.SubmitRequest.FromString(detail.request).spec)


def _again(detail: TaskDetail, new_task_id: str) -> pb.SubmitRequest:
    """Make the request that runs a task again.

    Spans count anew, from this acceptance. Points in time are most likely over by now and were meant for the first one.
    """
    request = pb.SubmitRequest.FromString(detail.request)
    request.task_id = new_task_id
    request.parent_task_id = detail.snapshot.task_id
    request.spec.ClearField("schedule_time")
    request.spec.ClearField("start_deadline")
    return request

"""Submissions: what a caller says about a task, as the request that carries it."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from tailrace.client import _payload, _points, _spans
from tailrace.client._options import SubmitOptions
from tailrace.client._task_id import new_task_id
from tailrace.v1.task_pb2 import TaskSpec
from tailrace.v1.task_service_pb2 import SubmitRequest

_SPAN_FIELDS = {
    "delay": "start_delay",
    "start_within": "start_within",
    "execution_timeout": "execution_timeout",
    "total_timeout": "total_timeout",
    "lease_duration": "lease_duration",
    "result_ttl": "result_ttl",
}
"""Options that are spans, and what the contract calls them."""

_POINT_FIELDS = ("schedule_time", "start_deadline")


class TaskFunction(Protocol):
    """A function that a worker's decorator made into a task."""

    @property
    def task_type(self) -> str:
        """What workers register it as."""

    @property
    def default_queue(self) -> str | None:
        """The queue its tasks go to when the submitter names none; None: ``default``."""


def submit_request(
    task: str | TaskFunction, args: Sequence[Any], kwargs: Mapping[str, Any], options: SubmitOptions
) -> SubmitRequest:
    """Build the request. Its task_id is made here, before the first try.

    Raises:
        TypeError: The task is neither a name nor a decorated function.
        PayloadError: An argument cannot be carried.
    """
    task_type, default_queue = _identify(task)
    return SubmitRequest(
        task_id=options.task_id or new_task_id(),
        spec=_spec(task_type, options.queue or default_queue, args, kwargs, options),
        parent_task_id=options.parent_task_id or "",
        return_existing=options.return_existing,
    )


def _spec(
    task_type: str, queue: str | None, args: Sequence[Any], kwargs: Mapping[str, Any], options: SubmitOptions
) -> TaskSpec:
    spec = TaskSpec(
        task_type=task_type,
        queue=queue or "",
        input=_payload.encode_arguments(args, kwargs),
        priority=options.priority or 0,
        labels=dict(options.labels or {}),
        headers=dict(options.headers or {}),
    )
    if options.retry is not None:
        spec.retry_policy.CopyFrom(options.retry.to_wire())
    for name, field in _SPAN_FIELDS.items():
        if (span := getattr(options, name)) is not None:
            getattr(spec, field).CopyFrom(_spans.to_wire(span, name=name))
    for name in _POINT_FIELDS:
        if (point := getattr(options, name)) is not None:
            getattr(spec, name).CopyFrom(_points.to_wire(point, name=name))
    return spec


def _identify(task: str | TaskFunction) -> tuple[str, str | None]:
    if isinstance(task, str):
        return task, None
    task_type = getattr(task, "task_type", None)
    if not isinstance(task_type, str):
        raise TypeError(f"a task is named by its type or by the function decorated with @worker.task, not by {task!r}")
    return task_type, getattr(task, "default_queue", None)

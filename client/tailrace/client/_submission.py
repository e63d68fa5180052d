"""Submissions: what a caller says about a task, as the request that carries it."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from tailrace.client import _points, _spans
from tailrace.client._conversion import Conversion
from tailrace.client._options import SubmitOptions
from tailrace.client._task_id import new_task_id
from tailrace.client._type_variables import P, R_co
from tailrace.v1.task_pb2 import Payload, TaskSpec
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


class NamedTask(Protocol):
    """What a submit has to know of a task's function."""

    @property
    def task_type(self) -> str:
        """What workers register it as."""
        ...

    @property
    def default_queue(self) -> str | None:
        """The queue its tasks go to when the submitter names none; None: ``default``."""
        ...


class TaskFunction(NamedTask, Protocol[P, R_co]):
    """A function that a worker's decorator made into a task, with its parameters and what it returns."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the function, here and now."""
        ...


def submit_request(
    task: str | NamedTask,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    options: SubmitOptions,
    conversion: Conversion,
) -> SubmitRequest:
    """Build the request. Its task_id is made here, before the first try.

    Raises:
        TypeError: The task is neither a name nor a decorated function.
        PayloadError: An argument cannot be carried.
    """
    task_type, default_queue, content_type = _identify(task)
    payload = conversion.write_arguments(args, kwargs, asked=options.content_type, declared=content_type)
    return SubmitRequest(
        task_id=options.task_id or new_task_id(),
        spec=_spec(task_type, options.queue or default_queue, payload, options),
        parent_task_id=options.parent_task_id or "",
        return_existing=options.return_existing,
    )


def result_type(task: str | NamedTask) -> Any:
    """Return the type that the result of a task is to come back as: what its function says, or Any."""
    return getattr(task, "result_type", Any)


def _spec(task_type: str, queue: str | None, payload: Payload, options: SubmitOptions) -> TaskSpec:
    spec = TaskSpec(
        task_type=task_type,
        queue=queue or "",
        input=payload,
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


def _identify(task: str | NamedTask) -> tuple[str, str | None, str | None]:
    """Return a task's type and, where its function says so, its queue and the content type of its arguments."""
    if isinstance(task, str):
        return task, None, None
    task_type = getattr(task, "task_type", None)
    if not isinstance(task_type, str):
        raise TypeError(f"a task is named by its type or by the function decorated with @worker.task, not by {task!r}")
    return task_type, getattr(task, "default_queue", None), getattr(task, "content_type", None)

"""Submissions: what a caller says about a task, as the request that carries it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol, TypedDict

from tailrace.client import _payload, _spans
from tailrace.client._retry_policy import RetryPolicy
from tailrace.client._task_id import new_task_id
from tailrace.v1.task_pb2 import TaskSpec
from tailrace.v1.task_service_pb2 import SubmitRequest

# For so long a server is sure to know a task_id again, however short its result is kept.
_MAX_REPEAT_S = 60.0


class TaskFunction(Protocol):
    """A function that a worker's decorator made into a task."""

    @property
    def task_type(self) -> str:
        """What workers register it as."""

    @property
    def default_queue(self) -> str | None:
        """The queue its tasks go to when the submitter names none; None: ``default``."""


class Options(TypedDict, total=False):
    """All that a submitter may say beside the task and its arguments. What is left out, or None, has its default."""

    queue: str | None
    """The task function's own queue by default, or else ``default``."""
    priority: int | None
    """0, the default, to 9; larger runs sooner."""
    delay: timedelta | None
    """Start no sooner than this long after acceptance; at most 365 days."""
    retry: RetryPolicy | None
    """When a failed attempt is tried again; by default what the worker declares for the task type."""
    lease_duration: timedelta | None
    """How long a worker that went silent keeps the task; 2 s to 12 h, by default 30 s."""
    result_ttl: timedelta | None
    """How long the outcome is kept; 0 to 30 days, by default 24 h. 0: 60 s, without the result."""
    headers: Mapping[str, str] | None
    """Carried to the worker unchanged; at most 32."""
    task_id: str | None
    """The task's id, by default made by the client. Submitting the same task under the same id again is harmless, and
    returns the task that exists."""
    parent_task_id: str | None
    """The task on whose behalf this one is submitted."""
    return_existing: bool
    """Whether a task_id that is taken stands for its task, even if that is a different one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitOptions:
    """The same, checked as far as types go. Values are the server's to judge."""

    queue: str | None = None
    priority: int | None = None
    delay: timedelta | None = None
    retry: RetryPolicy | None = None
    lease_duration: timedelta | None = None
    result_ttl: timedelta | None = None
    headers: Mapping[str, str] | None = None
    task_id: str | None = None
    parent_task_id: str | None = None
    return_existing: bool = False

    def __post_init__(self) -> None:
        if self.retry is not None and not isinstance(self.retry, RetryPolicy):
            raise TypeError(f"retry must be a RetryPolicy, not {type(self.retry).__name__}")
        for name in ("delay", "lease_duration", "result_ttl"):
            span = getattr(self, name)
            if span is not None and not isinstance(span, timedelta):
                raise TypeError(f"{name} must be a timedelta, not {type(span).__name__}")

    @property
    def repeat_for_s(self) -> float:
        """How long after its first try a submit may be repeated: only while its record is sure to exist."""
        # A result_ttl of 0 is kept for 60 s all the same.
        if not self.result_ttl:
            return _MAX_REPEAT_S
        return min(_MAX_REPEAT_S, self.result_ttl.total_seconds())


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
        headers=dict(options.headers or {}),
    )
    if options.retry is not None:
        spec.retry_policy.CopyFrom(options.retry.to_wire())
    if options.delay is not None:
        spec.start_delay.CopyFrom(_spans.to_wire(options.delay, name="delay"))
    if options.lease_duration is not None:
        spec.lease_duration.CopyFrom(_spans.to_wire(options.lease_duration, name="lease_duration"))
    if options.result_ttl is not None:
        spec.result_ttl.CopyFrom(_spans.to_wire(options.result_ttl, name="result_ttl"))
    return spec


def _identify(task: str | TaskFunction) -> tuple[str, str | None]:
    if isinstance(task, str):
        return task, None
    task_type = getattr(task, "task_type", None)
    if not isinstance(task_type, str):
        raise TypeError(f"a task is named by its type or by the function decorated with @worker.task, not by {task!r}")
    return task_type, getattr(task, "default_queue", None)

"""Options: what a submitter may say about a task beside its type and its arguments."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypedDict, cast

from tailrace.client import _points
from tailrace.client._errors import InvalidRequestError
from tailrace.client._formats import check_content_type
from tailrace.client._retry_policy import RetryPolicy

MAX_REPEAT_S = 60.0
"""For so long after its first try a submit may be repeated: a server is sure to know its task_id again."""

_SPANS = ("delay", "start_within", "execution_timeout", "total_timeout", "lease_duration", "result_ttl")
_POINTS = ("schedule_time", "start_deadline")
_TEXT_MAPS = ("labels", "headers")


class Options(TypedDict, total=False):
    """All that a submitter may say beside the task and its arguments. What is left out, or None, has its default.

    Spans are timedeltas, and count by the clock of the server's store. Points in time are aware datetimes: whoever
    names one trusts that clock to show the same time as theirs.
    """

    queue: str | None
    """The task function's own queue by default, or else ``default``."""
    priority: int | None
    """0, the default, to 9; larger runs sooner."""
    delay: timedelta | None
    """Start no sooner than this long after acceptance; at most 365 days. Excludes ``schedule_time``."""
    schedule_time: datetime | None
    """Start no sooner than this; one that has passed means at once. Excludes ``delay``."""
    start_within: timedelta | None
    """Revoke the task unless an attempt has started so long after acceptance or, if later, after the scheduled start;
    at most 365 days. Excludes ``start_deadline``."""
    start_deadline: datetime | None
    """The same as a point in time, which must be after ``schedule_time``. Excludes ``start_within``."""
    execution_timeout: timedelta | None
    """How long one attempt may run, 1 s to 30 days; then the worker ends it, and the retry policy decides."""
    total_timeout: timedelta | None
    """How long after acceptance the task must be done, retries and all; then it fails. Longer than ``delay``; at most
    365 days."""
    retry: RetryPolicy | None
    """When a failed attempt is tried again; by default what the worker declares for the task type."""
    lease_duration: timedelta | None
    """How long a worker that went silent keeps the task; 2 s to 12 h, by default 30 s."""
    result_ttl: timedelta | None
    """How long the outcome is kept; 0 to 30 days, by default 24 h. 0: 60 s, without the result."""
    content_type: str | None
    """What the arguments are written as, and with them the result: ``application/json``, the client's default;
    ``application/msgpack`` with the extra ``tailrace[msgpack]``; ``application/octet-stream`` for one argument that is
    bytes. A protobuf message that is the one argument is written as such in any case."""
    labels: Mapping[str, str] | None
    """What tasks can be found by; at most 16, keys to 64 and values to 256 bytes."""
    headers: Mapping[str, str] | None
    """Carried to the worker unchanged; at most 32, 8 KiB in all."""
    task_id: str | None
    """The task's id, by default made by the client. Submitting the same task under the same id again is harmless, and
    returns the task that exists."""
    parent_task_id: str | None
    """The task on whose behalf this one is submitted."""
    return_existing: bool
    """Whether a task_id that is taken stands for its task, even if that is a different one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitOptions:
    """The same, checked for kinds and contradictions. Whether a value is within bounds is the server's to judge."""

    queue: str | None = None
    priority: int | None = None
    delay: timedelta | None = None
    schedule_time: datetime | None = None
    start_within: timedelta | None = None
    start_deadline: datetime | None = None
    execution_timeout: timedelta | None = None
    total_timeout: timedelta | None = None
    retry: RetryPolicy | None = None
    lease_duration: timedelta | None = None
    result_ttl: timedelta | None = None
    content_type: str | None = None
    labels: Mapping[str, str] | None = None
    headers: Mapping[str, str] | None = None
    task_id: str | None = None
    parent_task_id: str | None = None
    return_existing: bool = False

    def __post_init__(self) -> None:
        self._check_kinds()
        self._check_contradictions()

    @property
    def repeat_for_s(self) -> float:
        """How long after its first try a submit may be repeated: only while its record is sure to exist."""
        # A result_ttl of 0 is kept for 60 s all the same.
        if not self.result_ttl:
            return MAX_REPEAT_S
        return min(MAX_REPEAT_S, self.result_ttl.total_seconds())

    def _check_kinds(self) -> None:
        if self.retry is not None and not isinstance(self.retry, RetryPolicy):
            raise TypeError(f"retry must be a RetryPolicy, not {type(self.retry).__name__}")
        check_content_type(self.content_type)
        for name in _SPANS:
            span = getattr(self, name)
            if span is not None and not isinstance(span, timedelta):
                raise TypeError(f"{name} must be a timedelta, not {type(span).__name__}")
        for name in _POINTS:
            point = getattr(self, name)
            if point is not None:
                _points.check(point, name=name)
        for name in _TEXT_MAPS:
            _check_text_map(getattr(self, name), name)

    def _check_contradictions(self) -> None:
        """Refuse what no server takes, in the words of one, but where the mistake is: before anything is submitted."""
        if self.schedule_time is not None and self.delay is not None:
            raise InvalidRequestError("delay: must not be set together with schedule_time")
        if self.start_deadline is not None and self.start_within is not None:
            raise InvalidRequestError("start_within: must not be set together with start_deadline")
        if self.start_deadline and self.schedule_time and self.start_deadline <= self.schedule_time:
            raise InvalidRequestError("start_deadline: must be after schedule_time")
        if self.total_timeout is not None and self.delay is not None and self.total_timeout <= self.delay:
            raise InvalidRequestError("total_timeout: must be longer than delay")


def _check_text_map(texts: object, name: str) -> None:
    if texts is None:
        return
    if not isinstance(texts, Mapping):
        raise TypeError(f"{name} must map texts to texts, not be a {type(texts).__name__}")
    for key, value in cast("Mapping[object, object]", texts).items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(f"{name} must map texts to texts; {key!r} is mapped to {value!r}")

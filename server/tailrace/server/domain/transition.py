"""What one store call did to tasks, as far as it is worth counting."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from tailrace.server.domain.task import Place, TaskRecord, TaskState

NAMING_BYTES: Final = 136
"""How much of a request names its task_type, whatever follows: two tags, their lengths, and the longest name."""
_SPEC, _TASK_TYPE, _KIND = 0x12, 0x0A, 0x08
"""Tags: ``SubmitRequest.spec``, ``TaskSpec.task_type``, ``Failure.kind``. Each is the first field that is written."""
_MORE = 0x80


class Began(NamedTuple):
    """An attempt began."""

    queue: str
    wait_ms: int
    """Since the task could have been handed out: since it was accepted, was due, or went back to its queue."""


class Ended(NamedTuple):
    """A lease or a task ended, or both."""

    queue: str
    naming: bytes
    """The first bytes of the request; see ``task_type_of``."""
    state: TaskState
    """What it led to."""
    run_ms: int | None
    """How long the attempt ran; None: none had begun."""
    failure_kind: int | None
    """Of the failure that came of it; None: there was none, as of a success or a release."""


@dataclass(slots=True, kw_only=True)
class Transitions:
    """What one call of a store did."""

    operation: str
    """The method of the store."""
    accepted: Sequence[tuple[str, str]] = ()
    """Queue and task_type of each new task."""
    delivered: Mapping[str, int] = field(default_factory=dict[str, int])
    """How many tasks were handed out, by queue."""
    began: Sequence[Began] = ()
    ended: Sequence[Ended] = ()


Observer = Callable[[Transitions], None]


def compare(operation: str, steps: Sequence[tuple[TaskRecord, TaskRecord]], *, now_ms: int) -> Transitions:
    """Tell what a call did from each record before and after it; records need the heads of their requests."""
    delivered: dict[str, int] = {}
    for before, after in steps:
        if before.place is Place.READY and after.place is Place.LEASE:
            delivered[after.queue] = delivered.get(after.queue, 0) + 1
    return Transitions(
        operation=operation,
        delivered=delivered,
        began=[_began(before, now_ms) for before, after in steps if _has_begun(before, after)],
        ended=[_ended(before, after, now_ms) for before, after in steps if _has_ended(before, after)],
    )


def failure_kind_of(failure: bytes | None) -> int:
    """Tell the kind of a serialized Failure, 0 where it has none."""
    return failure[1] if failure and len(failure) > 1 and failure[0] == _KIND else 0


def task_type_of(naming: bytes) -> str:
    """Read the task_type off the first NAMING_BYTES of a serialized request; empty where they name none."""
    try:
        at = 2
        while naming[at - 1] & _MORE:
            at += 1
        if naming[0] != _SPEC or naming[at] != _TASK_TYPE:
            return ""
        length, begin = naming[at + 1], at + 2
        if length & _MORE:
            length, begin = length & ~_MORE | naming[at + 2] << 7, at + 3
    except IndexError:
        return ""
    return naming[begin : begin + length].decode("ascii", errors="replace")


def _has_begun(before: TaskRecord, after: TaskRecord) -> bool:
    return after.attempt > before.attempt


def _began(before: TaskRecord, now_ms: int) -> Began:
    since_ms = before.update_ms if before.due_ms is None else before.due_ms
    return Began(before.queue, now_ms - since_ms)


def _has_ended(before: TaskRecord, after: TaskRecord) -> bool:
    is_done = after.state.is_done and not before.state.is_done
    return is_done or (before.place is Place.LEASE and after.place is not Place.LEASE)


def _ended(before: TaskRecord, after: TaskRecord, now_ms: int) -> Ended:
    run_ms = now_ms - before.start_ms if before.state is TaskState.STARTED and before.start_ms is not None else None
    if _has_begun(before, after):
        run_ms = 0
    return Ended(after.queue, after.request[:NAMING_BYTES], after.state, run_ms, _kind_that_came(before, after))


def _kind_that_came(before: TaskRecord, after: TaskRecord) -> int | None:
    if after.state.is_done:
        return None if after.state is TaskState.SUCCESS else failure_kind_of(after.failure)
    has_failed = after.failed_attempts > before.failed_attempts or after.lost_leases > before.lost_leases
    return failure_kind_of(after.last_failure) if has_failed else None

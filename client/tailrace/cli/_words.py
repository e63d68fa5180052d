"""How states look, and what people are told of them."""

from typing import Final

from tailrace.client import TaskState

STATE_STYLES: Final[dict[TaskState, str]] = {
    TaskState.PENDING: "yellow",
    TaskState.STARTED: "cyan",
    TaskState.RETRY: "magenta",
    TaskState.SUCCESS: "green",
    TaskState.FAILURE: "red",
    TaskState.REVOKED: "bright_black",
}

_REASONS: Final = {
    "QUEUED": "a worker",
    "DELAYED": "its time",
    "DISPATCHED": "its start",
    "QUEUE_PAUSED": "a resume",
}


def waits_for(pending_reason: str | None) -> str:
    """Return what a task waits for, ``-`` when it does not wait."""
    return "-" if pending_reason is None else _REASONS.get(pending_reason, pending_reason)

"""RetryPolicy: when a failed attempt is tried again."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from tailrace.client import _spans
from tailrace.v1 import task_pb2

_MAX_ATTEMPTS = 1_000_000
_MAX_LOST_LEASES = 1000
_MAX_MULTIPLIER = 1000
_MAX_BACKOFF = timedelta(days=30)
_MAX_TYPES = 32


def type_name(error_class: type[BaseException]) -> str:
    """Return the name under which an exception class crosses the wire: builtins bare, all others with their module."""
    if error_class.__module__ == "builtins":
        return error_class.__qualname__
    return f"{error_class.__module__}.{error_class.__qualname__}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """When a failed attempt is tried again.

    The pause before the next attempt is ``min(max_backoff, initial_backoff * multiplier ** (failed attempts - 1))``,
    times a random factor from 0.5 to 1. Given with ``client.options(retry=...)`` it decides alone; otherwise the policy
    that the worker declares for the task type does.

    Raises:
        ValueError: A value is out of bounds.
        TypeError: A span is not a timedelta.
    """

    max_attempts: int = 1
    """Attempts that may fail, the first included; 1 to 1,000,000. Attempts lost with their worker do not count."""
    initial_backoff: timedelta | None = None
    """None is the server's default, one second. At most 30 days."""
    max_backoff: timedelta | None = None
    """None is the server's default, five minutes. At most 30 days."""
    backoff_multiplier: float | None = None
    """1 to 1000; None is the server's default, 2."""
    non_retryable_types: tuple[type[BaseException] | str, ...] = ()
    """Failures that end the task at once: exception classes, or type names for other languages. Exactly these: a
    subclass does not match. At most 32."""
    max_lost_leases: int | None = None
    """How many lost workers in a row fail the task; 1 to 1000, None is the server's default, 3. Heard only from the
    submitter: a lost worker can tell no policy."""

    def __post_init__(self) -> None:
        if isinstance(self.non_retryable_types, str):
            raise TypeError("non_retryable_types takes a tuple of exception classes and names, not one name")
        # A list is what callers reach for; the class stays hashable all the same.
        object.__setattr__(self, "non_retryable_types", tuple(self.non_retryable_types))
        _check_count("max_attempts", self.max_attempts, _MAX_ATTEMPTS)
        if self.max_lost_leases is not None:
            _check_count("max_lost_leases", self.max_lost_leases, _MAX_LOST_LEASES)
        _check_backoff("initial_backoff", self.initial_backoff)
        _check_backoff("max_backoff", self.max_backoff)
        _check_multiplier(self.backoff_multiplier)
        _check_types(self.non_retryable_types)

    def to_wire(self) -> task_pb2.RetryPolicy:
        """Return the policy as the contract's message; what is None stays unset."""
        wire = task_pb2.RetryPolicy(
            max_attempts=self.max_attempts,
            backoff_multiplier=self.backoff_multiplier or 0,
            non_retryable_types=_names(self.non_retryable_types),
            max_lost_leases=self.max_lost_leases or 0,
        )
        if self.initial_backoff is not None:
            wire.initial_backoff.CopyFrom(_spans.to_wire(self.initial_backoff, name="initial_backoff"))
        if self.max_backoff is not None:
            wire.max_backoff.CopyFrom(_spans.to_wire(self.max_backoff, name="max_backoff"))
        return wire


def _names(types: Iterable[type[BaseException] | str]) -> list[str]:
    return [each if isinstance(each, str) else type_name(each) for each in types]


def _check_count(name: str, count: int, ceiling: int) -> None:
    if not 1 <= count <= ceiling:
        raise ValueError(f"{name} must be from 1 to {ceiling}, not {count}")


def _check_backoff(name: str, span: timedelta | None) -> None:
    if span is None:
        return
    if not isinstance(span, timedelta):
        raise TypeError(f"{name} must be a timedelta, not {type(span).__name__}")
    if not timedelta(0) <= span <= _MAX_BACKOFF:
        raise ValueError(f"{name} must be from 0 to 30 days, not {span}")


def _check_multiplier(multiplier: float | None) -> None:
    if multiplier is not None and not (math.isfinite(multiplier) and 1 <= multiplier <= _MAX_MULTIPLIER):
        raise ValueError(f"backoff_multiplier must be from 1 to {_MAX_MULTIPLIER}, not {multiplier}")


def _check_types(types: tuple[type[BaseException] | str, ...]) -> None:
    if len(types) > _MAX_TYPES:
        raise ValueError(f"non_retryable_types may name at most {_MAX_TYPES} types, not {len(types)}")
    for each in types:
        if not isinstance(each, str) and not issubclass(each, BaseException):
            raise TypeError(f"non_retryable_types takes exception classes and names, not {each!r}")

"""Spans of time: as callers write them, as clocks count them, as the wire carries them."""

from datetime import timedelta

from google.protobuf.duration_pb2 import Duration


def to_wire(span: timedelta, *, name: str) -> Duration:
    """Turn a span into its wire form.

    Args:
        span: Any timedelta. Whether its length makes sense is the server's to judge.
        name: What the caller knows the value as, for the error.

    Raises:
        TypeError: The value is not a timedelta; a bare number says nothing of its unit.
    """
    if not isinstance(span, timedelta):
        raise TypeError(f"{name} must be a timedelta, not {type(span).__name__}")
    duration = Duration()
    duration.FromTimedelta(span)
    return duration


def to_seconds(timeout: float | timedelta) -> float:
    """Return a timeout as seconds, whether it was given as seconds or as a timedelta.

    Raises:
        TypeError: The value is neither.
        ValueError: The value is not a number.
    """
    if isinstance(timeout, timedelta):
        return timeout.total_seconds()
    if not isinstance(timeout, int | float):
        raise TypeError(f"timeout must be seconds or a timedelta, not {type(timeout).__name__}")
    if timeout != timeout:  # noqa: PLR0124 (only NaN differs from itself)
        raise ValueError("timeout must be a number of seconds, not NaN")
    return float(timeout)

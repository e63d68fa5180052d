"""Times, for people and for programs."""

from datetime import UTC, datetime, timedelta

from google.protobuf.message import Message

_STEPS = (("d", timedelta(days=1)), ("h", timedelta(hours=1)), ("m", timedelta(minutes=1)), ("s", timedelta(seconds=1)))


def moment_in(message: Message, field: str) -> datetime | None:
    """Return a field that holds a point in time; None where it is unset."""
    if not message.HasField(field):
        return None
    moment: datetime = getattr(message, field).ToDatetime(UTC)
    return moment


def span_in(message: Message, field: str) -> timedelta | None:
    """Return a field that holds a span; None where it is unset."""
    if not message.HasField(field):
        return None
    span: timedelta = getattr(message, field).ToTimedelta()
    return span


def iso_text(moment: datetime | None) -> str | None:
    """Return a moment as RFC 3339 has it, in UTC to the millisecond."""
    return None if moment is None else moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds_of(span: timedelta | None) -> float | None:
    """Return a span in seconds."""
    return None if span is None else span.total_seconds()


def span_text(span: timedelta | None) -> str:
    """Return a span in its largest unit that fits, cut off: ``59s``, ``3m``, ``2d``; ``-`` for None."""
    if span is None:
        return "-"
    for unit, length in _STEPS:
        if span >= length:
            return f"{span // length}{unit}"
    return "0s"


def age_text(moment: datetime | None, now: datetime) -> str:
    """Return how long ago something was; ``0s`` where the server's clock is ahead of this one."""
    return span_text(None if moment is None else now - moment)

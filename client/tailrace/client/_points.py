"""Points in time: aware datetimes in programs, Timestamps on the wire."""

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp


def to_wire(point: datetime, *, name: str) -> Timestamp:
    """Turn a point in time into its wire form.

    Args:
        point: Any aware datetime, past or future.
        name: What the caller knows the value as, for the error.

    Raises:
        TypeError: The value is not a datetime.
        ValueError: It does not say its time zone, or lies outside the years 1 to 9999 in UTC.
    """
    check(point, name=name)
    timestamp = Timestamp()
    timestamp.FromDatetime(point.astimezone(UTC))
    return timestamp


def check(point: datetime, *, name: str) -> None:
    """Refuse what is no point in time; see ``to_wire``."""
    if not isinstance(point, datetime):
        raise TypeError(f"{name} must be a datetime, not {type(point).__name__}")
    if point.utcoffset() is None:
        raise ValueError(
            f"{name} does not say its time zone: start from datetime.now(timezone.utc), "
            "or call .astimezone() on it if it is local time"
        )
    try:
        point.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"{name} lies outside the years 1 to 9999 in UTC") from error


def from_wire(timestamp: Timestamp) -> datetime:
    """Return the same point as an aware datetime, in UTC."""
    return timestamp.ToDatetime(tzinfo=UTC)

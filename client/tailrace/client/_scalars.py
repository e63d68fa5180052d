"""Values that JSON has no word for and that are carried as text, and what that text looks like.

Each form is one that libraries of other languages read and write as well: ISO 8601 for times, RFC 9562 for UUIDs, RFC
4648 for bytes.
"""

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from tailrace.client._misfit import MisfitError

_SPAN: Final = re.compile(
    r"(?P<sign>[+-])?P(?=\d|T\d)(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?=\d)(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+)(?:[.,](?P<fraction>\d+))?S)?)?"
)
_NUMBER: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,6})?", re.ASCII)
_UNITS: Final = ("weeks", "days", "hours", "minutes", "seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scalar:
    """One type of values, both ways."""

    described: str
    """What the text is called where something else came."""
    write: Callable[[Any], str]
    """Raises MisfitError for a value that has no such text."""
    read: Callable[[str], Any]
    """Raises ValueError for a text that is none."""


def _read_datetime(text: str) -> datetime:
    if len(text) <= len("2026-11-26") or text[10] not in "Tt ":
        raise ValueError(text)
    return datetime.fromisoformat(text)


def _write_span(span: timedelta) -> str:
    sign, span = ("-", -span) if span < timedelta(0) else ("", span)
    days = f"{span.days}D" if span.days else ""
    fraction = f".{span.microseconds:06}".rstrip("0") if span.microseconds else ""
    seconds = f"T{span.seconds}{fraction}S" if span.seconds or fraction or not days else ""
    return f"{sign}P{days}{seconds}"


def _read_span(text: str) -> timedelta:
    """Read an ISO 8601 duration without years and months, whose length nobody can tell."""
    parts = _SPAN.fullmatch(text)
    if parts is None:
        raise ValueError(text)
    fraction = (parts["fraction"] or "")[:6].ljust(6, "0")
    span = timedelta(**{unit: int(parts[unit] or 0) for unit in _UNITS}, microseconds=int(fraction))
    return -span if parts["sign"] == "-" else span


def _write_decimal(number: Decimal) -> str:
    if not number.is_finite():
        raise MisfitError(f"is {number}, which is no number")
    return str(number)


def _read_decimal(text: str) -> Decimal:
    if not _NUMBER.fullmatch(text):
        raise ValueError(text)
    return Decimal(text)


def _read_uuid(text: str) -> UUID:
    uuid = UUID(text)
    if str(uuid) != text.lower():  # it would take braces, "urn:uuid:" and dashes anywhere
        raise ValueError(text)
    return uuid


def write_bytes(data: bytes | bytearray | memoryview) -> str:
    """Return bytes as base64."""
    return base64.b64encode(data).decode("ascii")


def _read_bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


# A datetime is a date as well, and comes first.
SCALARS: Final[dict[type, Scalar]] = {
    datetime: Scalar(described="an ISO 8601 datetime", write=datetime.isoformat, read=_read_datetime),
    date: Scalar(described="an ISO 8601 date", write=date.isoformat, read=date.fromisoformat),
    time: Scalar(described="an ISO 8601 time", write=time.isoformat, read=time.fromisoformat),
    timedelta: Scalar(described="an ISO 8601 duration", write=_write_span, read=_read_span),
    UUID: Scalar(described="a UUID", write=str, read=_read_uuid),
    Decimal: Scalar(described="a decimal number as text", write=_write_decimal, read=_read_decimal),
    bytes: Scalar(described="base64 text", write=write_bytes, read=_read_bytes),
}


def scalar_of(value: object) -> Scalar | None:
    """Find how a value is written; None: not as one of these."""
    if isinstance(value, bytearray | memoryview):
        return SCALARS[bytes]
    known = SCALARS.get(type(value))
    if known is not None:
        return known
    return next((scalar for type_, scalar in SCALARS.items() if isinstance(value, type_)), None)

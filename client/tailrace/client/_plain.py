"""Python values as plain ones: what JSON, and whatever else has its kinds, can carry.

Only what keeps its meaning is taken. A key that is not text, NaN, or an object of a class that nothing is known of is
refused on the sender's side, where the mistake is, and by its place in the value.
"""

import enum
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from json import dumps
from typing import Any, cast

from google.protobuf.message import Message

from tailrace.client import _pydantic
from tailrace.client._kinds import is_bytes
from tailrace.client._misfit import MisfitError, item, member
from tailrace.client._scalars import scalar_of

# Far below the depth at which Python's own parser, or another language's, gives up.
_MAX_DEPTH = 100
# Python refuses to print or parse an int of more than 4300 digits.
_MAX_JSON_INTEGER_BITS = 14_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What a format can carry beyond text, numbers, truth, null, lists and objects, and what it cannot."""

    name: str
    carries_bytes: bool
    carries_nan: bool
    integers: range | None
    """None: all that have no more digits than JSON's readers take."""


JSON = Dialect(name="JSON", carries_bytes=False, carries_nan=False, integers=None)
MSGPACK = Dialect(name="msgpack", carries_bytes=True, carries_nan=True, integers=range(-(2**63), 2**64))


def to_plain(value: Any, dialect: Dialect = JSON) -> Any:
    """Return the plain value that stands for a value.

    Raises:
        MisfitError: A part of it cannot be carried.
    """
    return _Writer(dialect).write(value, 0)


class _Writer:
    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    def write(self, value: Any, depth: int) -> Any:
        """Return the plain value; the depth is that of the value in the whole."""
        match value:
            case None | bool():
                return value
            case enum.Enum():
                return self.write(value.value, depth)
            case str():
                return _text(value)
            case int() | float():
                return self._integer(int(value)) if isinstance(value, int) else self._float(float(value))
            case _ if self._dialect.carries_bytes and is_bytes(value):
                return bytes(value)
            case _:
                scalar = scalar_of(value)
                return self._compound(value, depth) if scalar is None else scalar.write(value)

    def _compound(self, value: Any, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise MisfitError(f"is nested deeper than {_MAX_DEPTH} levels, or contains itself")
        match value:
            case list() | tuple():
                return self._items(cast("Iterable[Any]", value), depth + 1)
            case set() | frozenset():
                return self._members_of_set(cast("Iterable[Any]", value), depth + 1)
            case Mapping():
                return self._members(cast("dict[Any, Any]", value), depth + 1)
            case _ if _pydantic.owns(value):
                return self.write(_pydantic.to_plain(value), depth + 1)
            case _ if is_dataclass(value) and not isinstance(value, type):
                return self._members({field.name: getattr(value, field.name) for field in fields(value)}, depth + 1)
            case Message():
                raise MisfitError("is a protobuf message, which can only be the one argument, or the result itself")
            case _:
                raise MisfitError(f"is a {type(value).__qualname__}, which {self._dialect.name} cannot carry")

    def _items(self, values: Iterable[Any], depth: int) -> list[Any]:
        plain: list[Any] = []
        try:
            for value in values:
                plain.append(self.write(value, depth))  # noqa: PERF401 (the error needs to know how far it came)
        except MisfitError as misfit:
            misfit.step(item(len(plain)))
            raise
        return plain

    def _members_of_set(self, values: Iterable[Any], depth: int) -> list[Any]:
        """Write a set in an order of its own: one request has the same bytes in every process."""
        try:
            return sorted((self.write(value, depth) for value in values), key=_sort_key)
        except MisfitError as misfit:
            misfit.step("[*]")
            raise

    def _members(self, values: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        plain: dict[str, Any] = {}
        for key, value in values.items():
            if not isinstance(key, str):
                # json.dumps would turn 1 into "1" without a word.
                raise MisfitError(f"has the key {key!r}: {self._dialect.name}'s keys are text")
            try:
                plain[_text(key)] = self.write(value, depth)
            except MisfitError as misfit:
                misfit.step(member(str(key)))
                raise
        return plain

    def _integer(self, number: int) -> int:
        integers = self._dialect.integers
        if integers is None and number.bit_length() > _MAX_JSON_INTEGER_BITS:
            raise MisfitError("has more digits than JSON readers take")
        if integers is not None and number not in integers:
            raise MisfitError(f"is an integer that {self._dialect.name} cannot carry: it has 64 bits")
        return number

    def _float(self, number: float) -> float:
        if not self._dialect.carries_nan and not math.isfinite(number):
            raise MisfitError(f"is {number}, which {self._dialect.name} cannot carry")
        return number


def _text(text: str) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise MisfitError(f"is not valid Unicode text: {error.reason}") from error
    return str.__str__(text)


def _sort_key(plain: Any) -> str:
    return dumps(plain, sort_keys=True, default=bytes.hex)

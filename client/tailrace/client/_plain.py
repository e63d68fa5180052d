"""Python values as plain ones: what JSON, and whatever else has its kinds, can carry.

Only what keeps its meaning is taken. A key that is not text, NaN, or an object of a class that nothing is known of is
refused on the sender's side, where the mistake is, and by its place in the value.
"""

import enum
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
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


def to_plain(value: Any) -> Any:
    """Return the plain value that stands for a value in JSON.

    Raises:
        MisfitError: A part of it cannot be carried.
    """
    return JSON.write(value)


class Dialect:
    """What a format can carry beyond text, numbers, truth, null, lists and objects, and what it cannot."""

    def __init__(self, name: str, *, carries_bytes: bool, carries_nan: bool, integers: range | None) -> None:
        """Describe a format.

        Args:
            name: What it is called in messages.
            carries_bytes: Whether bytes need not become text.
            carries_nan: Whether NaN and infinity are numbers.
            integers: Which ones it carries; None: all that have no more digits than JSON's readers take.
        """
        self._name = name
        self._carries_bytes = carries_bytes
        self._carries_nan = carries_nan
        self._integers = integers
        # By far the most values are of these very classes, and need not be asked for others that they derive from.
        self._writers: dict[type, Callable[[Any, int], Any]] = {
            type(None): _as_it_is,
            bool: _as_it_is,
            str: _text,
            int: self._integer,
            float: self._float,
            list: self._items,
            tuple: self._items,
            dict: self._members,
        }

    def write(self, value: object, depth: int = 0) -> Any:
        """Return the plain value that stands for a value, which is so deep in the whole.

        Raises:
            MisfitError: A part of it cannot be carried.
        """
        writer = self._writers.get(type(value))
        return self._kin(value, depth) if writer is None else writer(value, depth)

    def _kin(self, value: Any, depth: int) -> Any:
        match value:
            case enum.Enum():
                return self.write(value.value, depth)
            case str():
                return _text(value, depth)
            case int():
                return self._integer(int(value), depth)
            case float():
                return self._float(float(value), depth)
            case _ if self._carries_bytes and is_bytes(value):
                return bytes(value)
            case _:
                scalar = scalar_of(value)
                return self._compound(value, depth) if scalar is None else scalar.write(value)

    def _compound(self, value: Any, depth: int) -> Any:
        match value:
            case list() | tuple():
                return self._items(cast("Iterable[Any]", value), depth)
            case set() | frozenset():
                return self._members_of_set(cast("Iterable[Any]", value), depth)
            case Mapping():
                return self._members(cast("dict[Any, Any]", value), depth)
            case _ if _pydantic.owns(value):
                _refuse_depth(depth)
                return self.write(_pydantic.to_plain(value), depth + 1)
            case _ if is_dataclass(value) and not isinstance(value, type):
                # One that was never set, a field(init=False) without default, has no value to carry.
                names = (field.name for field in fields(value))
                return self._members({name: getattr(value, name) for name in names if hasattr(value, name)}, depth)
            case Message():
                raise MisfitError("is a protobuf message, which can only be the one argument, or the result itself")
            case _:
                raise MisfitError(f"is a {type(value).__qualname__}, which {self._name} cannot carry")

    def _items(self, values: Iterable[Any], depth: int) -> list[Any]:
        _refuse_depth(depth)
        plain: list[Any] = []
        try:
            for value in values:
                plain.append(self.write(value, depth + 1))  # noqa: PERF401 (the error needs to know how far it came)
        except MisfitError as misfit:
            misfit.step(item(len(plain)))
            raise
        return plain

    def _members_of_set(self, values: Iterable[Any], depth: int) -> list[Any]:
        """Write a set in an order of its own: one request has the same bytes in every process."""
        _refuse_depth(depth)
        try:
            return sorted((self.write(value, depth + 1) for value in values), key=_sort_key)
        except MisfitError as misfit:
            misfit.step("[*]")
            raise

    def _members(self, values: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        _refuse_depth(depth)
        plain: dict[str, Any] = {}
        for key, value in values.items():
            if not isinstance(key, str):
                # json.dumps would turn 1 into "1" without a word.
                raise MisfitError(f"has the key {key!r}: {self._name}'s keys are text")
            try:
                plain[_text(key, depth)] = self.write(value, depth + 1)
            except MisfitError as misfit:
                misfit.step(member(str(key)))
                raise
        return plain

    def _integer(self, number: int, _: int) -> int:
        integers = self._integers
        if integers is None and number.bit_length() > _MAX_JSON_INTEGER_BITS:
            raise MisfitError("has more digits than JSON readers take")
        if integers is not None and number not in integers:
            raise MisfitError(f"is an integer that {self._name} cannot carry: it has 64 bits")
        return number

    def _float(self, number: float, _: int) -> float:
        if not self._carries_nan and not math.isfinite(number):
            raise MisfitError(f"is {number}, which {self._name} cannot carry")
        return number


def _as_it_is(value: Any, _: int) -> Any:
    return value


def _text(text: str, _: int) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise MisfitError(f"is not valid Unicode text: {error.reason}") from error
    return str.__str__(text)


def _refuse_depth(depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise MisfitError(f"is nested deeper than {_MAX_DEPTH} levels, or contains itself")


def _sort_key(plain: Any) -> str:
    return dumps(plain, sort_keys=True, default=bytes.hex)


JSON = Dialect("JSON", carries_bytes=False, carries_nan=False, integers=None)
MSGPACK = Dialect("msgpack", carries_bytes=True, carries_nan=True, integers=range(-(2**63), 2**64))

"""Single plain values as what an annotation says: numbers, the types that travel as text, enums and literals."""

import enum
from datetime import datetime
from decimal import Decimal
from typing import Any

from tailrace.client._kinds import kind_of
from tailrace.client._misfit import MisfitError
from tailrace.client._plain import to_plain
from tailrace.client._scalars import SCALARS

_MAX_LISTED = 10


def read_number(type_: type, value: Any) -> Any:
    """Read an int or a float. A float may be written without its fraction."""
    if type(value) is type_:
        return value
    if type_ is float and type(value) is int:
        try:
            return float(value)
        except OverflowError as error:
            raise MisfitError("is too large for a number with a fraction") from error
    expected = "a whole number" if type_ is int else "a number"
    raise MisfitError(f"must be {expected}, not {kind_of(value)}")


def read_scalar(type_: type, value: Any) -> Any:
    """Read what travels as text: a time, a UUID, a Decimal, bytes."""
    if type_ is bytearray:
        return bytearray(read_scalar(bytes, value))
    if type(value) is type_ and type_ in {bytes, datetime}:  # what msgpack carries as itself
        return value
    scalar = SCALARS[type_]
    if type_ is Decimal and type(value) is int:
        return Decimal(value)
    if not isinstance(value, str):
        raise MisfitError(f"must be {scalar.described}, not {kind_of(value)}")
    try:
        return scalar.read(value)
    except (ValueError, OverflowError) as error:
        raise MisfitError(f"must be {scalar.described}, not other text") from error


def read_enum(class_: type[enum.Enum], value: Any) -> enum.Enum:
    """Read a member by its value."""
    for each in class_.__members__.values():
        plain = to_plain(each)
        if type(plain) is type(value) and plain == value:
            return each
    if issubclass(class_, enum.Flag) and type(value) is int:
        try:
            return class_(value)
        except ValueError:
            pass
    raise MisfitError(f"must be one of {_listed([to_plain(each) for each in class_])}")


def read_literal(allowed: tuple[Any, ...], value: Any) -> Any:
    """Read one of the values that are allowed."""
    for each in allowed:
        plain = to_plain(each)
        if type(plain) is type(value) and plain == value:
            return each
    raise MisfitError(f"must be one of {_listed([to_plain(each) for each in allowed])}")


def _listed(values: list[Any]) -> str:
    shown = ", ".join(repr(value) for value in values[:_MAX_LISTED])
    return shown if len(values) <= _MAX_LISTED else f"{shown} and {len(values) - _MAX_LISTED} others"

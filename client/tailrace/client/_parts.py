"""The parts of a plain value, each read by its own reader, and the step to one that does not fit."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from tailrace.client._misfit import MisfitError, item, member

Reader: TypeAlias = Callable[[Any], Any]
"""Returns the value that a plain one stands for, or raises MisfitError."""


def read_items(readers: Iterable[Reader], plain: Iterable[Any]) -> list[Any]:
    """Read items, each with its reader, as far as both go."""
    values: list[Any] = []
    try:
        for read, each in zip(readers, plain, strict=False):
            values.append(read(each))
    except MisfitError as misfit:
        misfit.step(item(len(values)))
        raise
    return values


def read_members(read_key: Reader, read_value: Reader, plain: Mapping[Any, Any]) -> dict[Any, Any]:
    """Read members that are all of one type."""
    values: dict[Any, Any] = {}
    for key, each in plain.items():
        try:
            values[read_key(key)] = read_value(each)
        except MisfitError as misfit:
            misfit.step(member(key))
            raise
    return values

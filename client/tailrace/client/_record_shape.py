"""Objects and lists as instances of classes with fields: dataclasses, typed dicts and named tuples."""

import dataclasses
import enum
import functools
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from tailrace.client._annotations import field_types
from tailrace.client._kinds import is_list, is_object, kind_of
from tailrace.client._misfit import MisfitError, member
from tailrace.client._parts import Reader, read_items


@dataclass(frozen=True, slots=True, kw_only=True)
class _Field:
    name: str
    read: Reader
    is_required: bool


def is_enum(class_: type) -> TypeGuard[type[enum.Enum]]:
    """Whether a class is an enum."""
    return issubclass(class_, enum.Enum)


def is_record(class_: type) -> bool:
    """Whether a class is one of those that this module reads."""
    return _is_named_tuple(class_) or typing.is_typeddict(class_) or dataclasses.is_dataclass(class_)


def reader(annotation: Any, class_: type, reader_of: Callable[[Any], Reader]) -> Reader:
    """Return what reads plain values as such a class.

    Its fields are looked at when the first value is read: a class may hold others of its own kind.
    """
    return _LateReader(annotation, class_, reader_of)


class _LateReader:
    def __init__(self, annotation: Any, class_: type, reader_of: Callable[[Any], Reader]) -> None:
        self._arguments = annotation, class_, reader_of

    def __call__(self, value: Any) -> Any:
        return self._read(value)

    @functools.cached_property
    def _read(self) -> Reader:
        class_ = self._arguments[1]
        if typing.is_typeddict(class_):
            return _typed_dict_reader(*self._arguments)
        return (_named_tuple_reader if _is_named_tuple(class_) else _dataclass_reader)(*self._arguments)


def _dataclass_reader(annotation: Any, class_: type, reader_of: Callable[[Any], Reader]) -> Reader:
    types = field_types(annotation)
    fields = [
        _Field(name=each.name, read=reader_of(types.get(each.name, Any)), is_required=_is_required(each))
        for each in dataclasses.fields(class_)
        if each.init
    ]
    return lambda value: _made(class_, _read_members(fields, value))


def _typed_dict_reader(annotation: Any, class_: Any, reader_of: Callable[[Any], Reader]) -> Reader:
    required = class_.__required_keys__
    fields = [
        _Field(name=name, read=reader_of(type_), is_required=name in required)
        for name, type_ in field_types(annotation).items()
    ]
    # What it does not name is kept: at run time it is a dict like any other.
    return lambda value: {**(value if is_object(value) else {}), **_read_members(fields, value)}


def _named_tuple_reader(annotation: Any, class_: Any, reader_of: Callable[[Any], Reader]) -> Reader:
    types = field_types(annotation)
    readers = [reader_of(types.get(name, Any)) for name in class_._fields]
    least = len(readers) - len(class_._field_defaults)

    def read(value: Any) -> Any:
        if not is_list(value):
            raise MisfitError(f"must be a list, not {kind_of(value)}")
        if not least <= len(value) <= len(readers):
            raise MisfitError(f"must have the {len(readers)} items of {class_.__qualname__}, not {len(value)}")
        values = read_items(readers, value)
        return _made(class_, dict(zip(class_._fields, values, strict=False)))

    return read


def _read_members(fields: list[_Field], value: Any) -> dict[str, Any]:
    """Read the members that have a field; others are passed over, as those of a newer program are."""
    if not is_object(value):
        raise MisfitError(f"must be an object, not {kind_of(value)}")
    members: dict[str, Any] = {}
    for field in fields:
        if field.name in value:
            try:
                members[field.name] = field.read(value[field.name])
            except MisfitError as misfit:
                misfit.step(member(field.name))
                raise
        elif field.is_required:
            missing = MisfitError("is missing")
            missing.step(member(field.name))
            raise missing
    return members


def _made(class_: Any, members: Mapping[str, Any]) -> Any:
    try:
        return class_(**members)
    except Exception as error:  # what __post_init__ may raise is the program's own
        raise MisfitError(f"is no {class_.__qualname__}: {type(error).__name__}: {error}") from error


def _is_required(field: "dataclasses.Field[Any]") -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _is_named_tuple(class_: type) -> bool:
    return hasattr(class_, "_fields") and issubclass(class_, tuple)

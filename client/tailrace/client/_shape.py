"""Plain values as what an annotation says: checked, and turned back into the types that were written.

``reader(annotation)`` understands plain types, the scalars that travel as text, enums, dataclasses, named tuples, typed
dicts, the containers of the standard library, unions, literals, and what pydantic validates. Of any other annotation
nothing is known: the plain value is left as it is. A value is never bent: "1" is no int, 1 is no text, 1 is no bool.
"""

import collections.abc
import functools
import itertools
import types
import typing
from collections.abc import Callable
from typing import Any, Final, TypeGuard, get_args, get_origin

from google.protobuf.message import Message

from tailrace.client import _pydantic, _record_shape
from tailrace.client._kinds import is_list, is_object, kind_of
from tailrace.client._misfit import MisfitError
from tailrace.client._parts import Reader, read_items, read_members
from tailrace.client._scalar_shape import read_enum, read_literal, read_number, read_scalar
from tailrace.client._scalars import SCALARS

_MAKERS: Final[dict[type, Callable[[list[Any]], Any]]] = {
    list: list,
    collections.abc.Sequence: list,
    collections.abc.MutableSequence: list,
    collections.abc.Collection: list,
    collections.abc.Iterable: list,
    set: set,
    collections.abc.Set: set,
    collections.abc.MutableSet: set,
    frozenset: frozenset,
}
_MAPPINGS: Final = (dict, collections.abc.Mapping, collections.abc.MutableMapping)


def reader(annotation: Any) -> Reader:
    """Return what reads plain values as an annotation says."""
    # Forms are made anew: int | str equals str | int, and yet is not read in the same order.
    return _reader_of_plain_class(annotation) if isinstance(annotation, type) else _reader(annotation)


def as_it_is(value: Any) -> Any:
    """Read a value of which nothing is known."""
    return value


def _reader(annotation: Any) -> Reader:
    if _pydantic.claims(annotation):
        return _pydantic.PydanticReader(annotation)
    origin = get_origin(annotation)
    if origin is not None:
        return _reader_of_form(annotation, origin, get_args(annotation))
    if annotation is None:
        return _read_none
    if isinstance(annotation, typing.NewType):
        return reader(annotation.__supertype__)
    if _is_alias(annotation):
        return functools.partial(_read_alias, annotation)
    return as_it_is


@functools.lru_cache(maxsize=4096)
def _reader_of_plain_class(class_: type) -> Reader:
    return _pydantic.PydanticReader(class_) if _pydantic.claims(class_) else _reader_of_class(class_, class_, ())


def _reader_of_form(annotation: Any, origin: Any, arguments: tuple[Any, ...]) -> Reader:
    if origin is typing.Union or origin is types.UnionType:
        return _reader_of_union(arguments)
    if origin is typing.Literal:
        return functools.partial(read_literal, arguments)
    if origin in {typing.Annotated, typing.Required, typing.NotRequired, typing.Final}:
        return reader(arguments[0])
    return _reader_of_class(annotation, origin, arguments) if isinstance(origin, type) else as_it_is


def _reader_of_class(annotation: Any, class_: type, arguments: tuple[Any, ...]) -> Reader:
    if class_ in _SINGLE:
        return _SINGLE[class_]
    if _record_shape.is_record(class_):
        return _record_shape.reader(annotation, class_, reader)
    if _record_shape.is_enum(class_):
        return functools.partial(read_enum, class_)
    if _is_message(class_):
        return functools.partial(_read_message, class_)
    return _reader_of_container(class_, arguments)


def _reader_of_container(class_: type, arguments: tuple[Any, ...]) -> Reader:
    make = _MAKERS.get(class_)
    if class_ is tuple and (not arguments or arguments[-1] is Ellipsis):
        make = tuple
    if make is not None:
        return functools.partial(_read_list, make, reader(arguments[0]) if arguments else as_it_is)
    if class_ is tuple:
        return functools.partial(_read_tuple, [reader(each) for each in arguments])
    if class_ in _MAPPINGS:
        key, value = (reader(each) for each in arguments) if arguments else (as_it_is, as_it_is)
        return functools.partial(_read_mapping, key, value)
    return as_it_is


def _reader_of_union(alternatives: tuple[Any, ...]) -> Reader:
    # A float takes whole numbers too, so an int would never get its turn behind it.
    ordered = sorted(alternatives, key=lambda each: each is float)
    return functools.partial(_read_union, [(each, reader(each)) for each in ordered])


def _read_union(readers: list[tuple[Any, Reader]], value: Any) -> Any:
    misfits: list[MisfitError] = []
    for _, read in readers:
        try:
            return read(value)
        except MisfitError as misfit:
            misfits.append(misfit)
    told = [misfit for misfit, (type_, _) in zip(misfits, readers, strict=True) if type_ is not types.NoneType]
    if len(told) == 1:
        raise told[0]
    raise MisfitError("fits none of its types: " + "; ".join(misfit.text("").lstrip() for misfit in told))


def _read_alias(alias: Any, value: Any) -> Any:
    return reader(alias.__value__)(value)  # late: it may name itself


def _read_none(value: Any) -> None:
    if value is not None:
        raise MisfitError(f"must be null, not {kind_of(value)}")


def _read_exactly(type_: type, value: Any) -> Any:
    if type(value) is not type_:
        raise MisfitError(f"must be {'text' if type_ is str else 'true or false'}, not {kind_of(value)}")
    return value


def _read_message(class_: type[Message], value: Any) -> Message:
    if not isinstance(value, class_):
        name = class_.DESCRIPTOR.full_name
        raise MisfitError(f"must be the protobuf message {name}, not {kind_of(value)}")
    return value


def _read_list(make: Callable[[list[Any]], Any], read: Reader, value: Any) -> Any:
    if not is_list(value):
        raise MisfitError(f"must be a list, not {kind_of(value)}")
    values = value if read is as_it_is else read_items(itertools.repeat(read), value)
    try:
        return make(values)
    except TypeError as error:  # a set of lists
        raise MisfitError(f"cannot be a {getattr(make, '__name__', 'set')}: {error}") from error


def _read_tuple(readers: list[Reader], value: Any) -> tuple[Any, ...]:
    if not is_list(value):
        raise MisfitError(f"must be a list, not {kind_of(value)}")
    if len(value) != len(readers):
        raise MisfitError(f"must have {len(readers)} items, not {len(value)}")
    return tuple(read_items(readers, value))


def _read_mapping(read_key: Reader, read_value: Reader, value: Any) -> dict[Any, Any]:
    if not is_object(value):
        raise MisfitError(f"must be an object, not {kind_of(value)}")
    return read_members(read_key, read_value, value)


def _is_message(class_: type) -> TypeGuard[type[Message]]:
    return issubclass(class_, Message)


def _is_alias(annotation: Any) -> bool:
    """Whether it is a ``type X = ...`` of Python 3.12."""
    return type(annotation).__name__ == "TypeAliasType" and hasattr(annotation, "__value__")


_SINGLE: Final[dict[type, Reader]] = {
    types.NoneType: _read_none,
    bool: functools.partial(_read_exactly, bool),
    str: functools.partial(_read_exactly, str),
    int: functools.partial(read_number, int),
    float: functools.partial(read_number, float),
    bytearray: functools.partial(read_scalar, bytearray),
    **{each: functools.partial(read_scalar, each) for each in SCALARS},
}
"""Classes whose values have no parts."""

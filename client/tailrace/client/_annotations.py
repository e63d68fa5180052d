"""Annotations as types: those of functions and of classes, written as text or not.

One that cannot be resolved (its name is imported for type checkers only, or local to a function) is Any: nothing is
known of it, and nothing is checked. No module is imported to find a name.
"""

import inspect
import sys
import typing
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from types import SimpleNamespace
from typing import Any, Final, get_args, get_origin

_AWAITED: Final = (Awaitable, Coroutine)


def parameter_types(signature: inspect.Signature, function: Callable[..., object]) -> dict[str, Any]:
    """Return the type of each parameter."""
    names = _names_of(function)
    return {name: _resolved(parameter.annotation, names) for name, parameter in signature.parameters.items()}


def return_type(function: Callable[..., object]) -> Any:
    """Return the type of what a function returns; where that is to be awaited, of what awaiting it gives."""
    try:
        annotation = inspect.signature(function).return_annotation
    except (ValueError, TypeError):  # some functions written in C
        return Any
    type_ = _resolved(annotation, _names_of(function))
    if get_origin(type_) in _AWAITED and not inspect.iscoroutinefunction(function):
        return get_args(type_)[-1]
    return type_


def field_types(annotated: Any) -> dict[str, Any]:
    """Return the type of each annotated field of a class, generic parameters filled in."""
    class_ = get_origin(annotated) or annotated
    types = _class_hints(class_)
    parameters = getattr(class_, "__parameters__", ())
    arguments = dict(zip(parameters, get_args(annotated), strict=False))
    return {name: _filled_in(type_, arguments) for name, type_ in types.items()} if arguments else types


def _class_hints(class_: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(class_, include_extras=True)
    except Exception:  # noqa: BLE001 (evaluating an annotation can raise anything)
        types: dict[str, Any] = {}
        for base in reversed(class_.__mro__):
            names = vars(sys.modules[base.__module__]) if base.__module__ in sys.modules else {}
            annotations = vars(base).get("__annotations__", {})
            types |= {name: _resolved(annotation, names) for name, annotation in annotations.items()}
        return types


def _names_of(function: Callable[..., object]) -> Mapping[str, Any]:
    plain = inspect.unwrap(function)
    plain = getattr(plain, "func", plain)  # functools.partial
    names: Mapping[str, Any] | None = getattr(plain, "__globals__", None)
    if names is None:  # an object with __call__
        names = getattr(inspect.getattr_static(plain, "__call__", None), "__globals__", None)
    return names or {}


def _resolved(annotation: Any, names: Mapping[str, Any]) -> Any:
    if annotation is inspect.Parameter.empty:
        return Any
    holder = SimpleNamespace(__annotations__={"it": annotation})
    try:
        return typing.get_type_hints(holder, globalns=dict(names), include_extras=True)["it"]
    except Exception:  # noqa: BLE001 (evaluating an annotation can raise anything)
        return Any


def _filled_in(type_: Any, arguments: Mapping[Any, Any]) -> Any:
    if isinstance(type_, typing.TypeVar):
        return arguments.get(type_, Any)
    parameters = getattr(type_, "__parameters__", ())
    return type_[tuple(arguments.get(each, Any) for each in parameters)] if parameters else type_

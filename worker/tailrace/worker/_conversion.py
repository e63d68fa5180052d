"""Between payloads and a task's function: the input as arguments that fit it, and what it returns as a payload.

Pure functions of a task and a payload, so that any process can call them in which the task is known.
"""

import functools
import inspect
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tailrace.client._annotations import parameter_types
from tailrace.client._misfit import MisfitError
from tailrace.client._parts import Reader, read_items, read_members
from tailrace.client._payload import answer_type, decode_arguments, encode_value
from tailrace.client._shape import as_it_is, reader
from tailrace.v1.task_pb2 import Payload

if TYPE_CHECKING:
    from tailrace.worker._task import Task

_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def read_arguments(task: "Task[..., object]", payload: Payload) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments that a task's function is called with.

    Raises:
        PayloadError: The input cannot be read.
        TypeError: It does not fit the function: one too many or too few, or one that is not what its annotation says.
    """
    shape = task.call_shape
    args, kwargs = decode_arguments(payload, codecs=task.codecs, sole_type=shape.first_type if shape else Any)
    return shape.fit(args, kwargs) if shape else (tuple(args), kwargs)


def write_result(task: "Task[..., object]", value: object, payload: Payload) -> Payload:
    """Return what a task's function returned, in the format of its input wherever that can carry it.

    Args:
        task: Whose result it is.
        value: What the function returned.
        payload: The task's input.

    Raises:
        PayloadError: The value cannot be carried.
    """
    return encode_value(value, content_type=answer_type(payload, task.content_type), codecs=task.codecs)


class CallShape:
    """What a function takes: how many arguments, of which names and of which types."""

    def __init__(self, function: Callable[..., object], signature: inspect.Signature) -> None:
        self._signature = signature
        self._types = parameter_types(signature, function)
        self._readers = {name: self._reader_of(parameter) for name, parameter in signature.parameters.items()}

    @functools.cached_property
    def first_type(self) -> Any:
        """The type of an argument that is alone; Any when nothing is said of it."""
        kinds = (*_BY_POSITION, inspect.Parameter.VAR_POSITIONAL)
        first = next((each for each in self._signature.parameters.values() if each.kind in kinds), None)
        return Any if first is None else self._types[first.name]

    def fit(self, args: list[Any], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return plain values as the arguments that they stand for.

        Raises:
            TypeError: They do not fit.
        """
        bound = self._signature.bind(*args, **kwargs)
        for name, value in bound.arguments.items():
            try:
                bound.arguments[name] = self._readers[name](value)
            except MisfitError as misfit:
                raise TypeError(misfit.text(name)) from misfit
            except RecursionError as error:
                raise TypeError(f"{name} is nested too deep") from error
        return bound.args, bound.kwargs

    def _reader_of(self, parameter: inspect.Parameter) -> Reader:
        read = reader(self._types[parameter.name])
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            return functools.partial(_read_each, read)
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            return functools.partial(read_members, as_it_is, read)
        if parameter.default is None:
            return functools.partial(_read_unless_none, read)
        return read


def _read_each(read: Reader, values: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(read_items(itertools.repeat(read), values))


def _read_unless_none(read: Reader, value: Any) -> Any:
    """Read a parameter whose default is None, which may be given as well, whatever the annotation says."""
    return None if value is None else read(value)

"""Values as JSON payloads: what Python programs send to each other and to every other language.

Arguments travel as ``{"args": [...], "kwargs": {...}}``, a returned value as itself. Only what JSON carries without a
change of meaning is taken: a tuple arrives as a list, but a key that is not text, NaN, bytes or a datetime is refused
on the sender's side, where the mistake is, and by its place in the value.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Never

from tailrace.client._errors import PayloadError
from tailrace.v1.task_pb2 import Payload

JSON_MEDIA_TYPE = "application/json"

# Far below the depth at which Python's own parser, or another language's, gives up.
_MAX_DEPTH = 100
# Python refuses to print or parse an int of more than 4300 digits.
_MAX_INTEGER_BITS = 14_000


def encode_arguments(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Payload:
    """Encode the arguments of one call.

    Raises:
        PayloadError: A value cannot be carried; its path starts with ``args`` or ``kwargs``.
    """
    arguments = {"args": list(args), "kwargs": dict(kwargs)}
    _refuse_unfit(arguments, "", 0)
    return _json_payload(arguments)


def encode_value(value: Any) -> Payload:
    """Encode what a task returned. None becomes an empty Payload, which stands for no value.

    Raises:
        PayloadError: The value cannot be carried; its path starts with ``result``.
    """
    if value is None:
        return Payload()
    _refuse_unfit(value, "result", 0)
    return _json_payload(value)


def decode_arguments(payload: Payload) -> tuple[list[Any], dict[str, Any]]:
    """Decode the arguments of one call. An empty Payload means that there are none.

    Raises:
        PayloadError: The payload is not JSON, or not of the shape ``{"args": [...], "kwargs": {...}}``.
    """
    arguments = _decode(payload, "input")
    if arguments is None:
        return [], {}
    if not isinstance(arguments, dict) or arguments.keys() - {"args", "kwargs"}:
        raise PayloadError('the input is not of the shape {"args": [...], "kwargs": {...}}', path="input")
    args, kwargs = arguments.get("args", []), arguments.get("kwargs", {})
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        raise PayloadError('the input\'s "args" must be an array and its "kwargs" an object', path="input")
    return args, kwargs


def decode_value(payload: Payload) -> Any:
    """Decode what a task returned. An empty Payload is None.

    Raises:
        PayloadError: The payload is not JSON.
    """
    return _decode(payload, "result")


def decode_details(payload: Payload) -> Any:
    """Decode what a task said about its progress. An empty Payload is None.

    Raises:
        PayloadError: The payload is not JSON.
    """
    return _decode(payload, "details")


def _json_payload(value: Any) -> Payload:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), check_circular=False)
    return Payload(content_type=JSON_MEDIA_TYPE, data=text.encode())


def _decode(payload: Payload, name: str) -> Any:
    if not payload.content_type and not payload.data:
        return None
    if payload.content_type.partition(";")[0].strip().lower() != JSON_MEDIA_TYPE:
        raise PayloadError(f"the {name} is {payload.content_type!r}, not {JSON_MEDIA_TYPE}", path=name)
    if payload.content_encoding:
        raise PayloadError(f"the {name} has content_encoding {payload.content_encoding!r}, not plain", path=name)
    try:
        return json.loads(payload.data.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise PayloadError(f"the {name} is not JSON: {error}", path=name) from error


def _refuse_constant(name: str) -> Never:
    raise ValueError(f"{name} is not a JSON number")


def _refuse_unfit(value: Any, path: str, depth: int) -> None:
    """Raise PayloadError for the first part of the value that JSON would lose or change."""
    match value:
        case None | bool():
            return
        case int():
            _refuse_endless_digits(value, path)
        case str():
            _refuse_lone_surrogate(value, path)
        case float():
            if not math.isfinite(value):
                raise PayloadError(f"{path} is {value}, which JSON cannot carry", path=path)
        case list() | tuple():
            _refuse_depth(path, depth)
            for index, item in enumerate(value):
                _refuse_unfit(item, f"{path}[{index}]", depth + 1)
        case dict():
            _refuse_depth(path, depth)
            for key, item in value.items():
                _refuse_unfit(item, _member_path(path, key), depth + 1)
        case _:
            raise PayloadError(f"{path} is a {type(value).__qualname__}, which JSON cannot carry", path=path)


def _refuse_endless_digits(number: int, path: str) -> None:
    if number.bit_length() > _MAX_INTEGER_BITS:
        raise PayloadError(f"{path} has more digits than JSON readers take", path=path)


def _refuse_lone_surrogate(text: str, path: str) -> None:
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise PayloadError(f"{path} is not valid Unicode text: {error.reason}", path=path) from error


def _refuse_depth(path: str, depth: int) -> None:
    if depth > _MAX_DEPTH:
        start = path[:60]
        raise PayloadError(f"{start}... is nested deeper than {_MAX_DEPTH} levels, or contains itself", path=start)


def _member_path(path: str, key: Any) -> str:
    if not isinstance(key, str):
        # json.dumps would turn 1 into "1" without a word.
        raise PayloadError(f"{path} has the key {key!r}: JSON's keys are text", path=path)
    _refuse_lone_surrogate(key, path)
    if not key.isidentifier():
        return f"{path}[{key!r}]"
    return f"{path}.{key}" if path else key

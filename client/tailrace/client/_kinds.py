"""Kinds of plain values: which one a value is, and what it is called in messages, which never show the value itself."""

from typing import Any, TypeGuard

_NAMES: dict[type, str] = {
    type(None): "null",
    bool: "true or false",
    int: "a whole number",
    float: "a number with a fraction",
    str: "text",
    list: "a list",
    dict: "an object",
    bytes: "bytes",
}


def is_list(plain: Any) -> TypeGuard[list[Any]]:
    """Whether a value is a list."""
    return isinstance(plain, list)


def is_object(plain: Any) -> TypeGuard[dict[Any, Any]]:
    """Whether a value is an object: members by name. The names are text in JSON, and mostly so elsewhere."""
    return isinstance(plain, dict)


def is_bytes(value: Any) -> TypeGuard["bytes | bytearray | memoryview[int]"]:
    """Whether a value is bytes, of whichever class."""
    return isinstance(value, bytes | bytearray | memoryview)


def kind_of(plain: object) -> str:
    """Return what a value is: "text", "a list"; of one that is not plain, its class."""
    return _NAMES.get(type(plain), f"a {type(plain).__qualname__}")

"""What plain values are called in messages, which never show the values themselves."""

from typing import Any

_KINDS: dict[type, str] = {
    type(None): "null",
    bool: "true or false",
    int: "a whole number",
    float: "a number with a fraction",
    str: "text",
    list: "a list",
    dict: "an object",
    bytes: "bytes",
}


def kind_of(plain: Any) -> str:
    """Return what a value is: "text", "a list"; of one that is not plain, its class."""
    return _KINDS.get(type(plain), f"a {type(plain).__qualname__}")

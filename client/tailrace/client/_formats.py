"""Formats: how plain values, protobuf messages and bytes are written, and by which content type they are known."""

import functools
import importlib
import importlib.util
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Never

from tailrace.client import _plain

JSON_MEDIA_TYPE: Final = "application/json"
MSGPACK_MEDIA_TYPE: Final = "application/msgpack"
PROTOBUF_MEDIA_TYPE: Final = "application/protobuf"
BYTES_MEDIA_TYPE: Final = "application/octet-stream"

# Other names of the same, in use or registered.
_ALIASES: Final = {
    "application/vnd.msgpack": MSGPACK_MEDIA_TYPE,
    "application/x-msgpack": MSGPACK_MEDIA_TYPE,
    "application/x-protobuf": PROTOBUF_MEDIA_TYPE,
    "application/vnd.google.protobuf": PROTOBUF_MEDIA_TYPE,
}

_MAX_CONTENT_TYPE_BYTES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A format that carries plain values."""

    name: str
    dialect: _plain.Dialect
    dumps: Callable[[Any], bytes]
    loads: Callable[[bytes], Any]
    """Raises ValueError or RecursionError for bytes that are not of this format."""


@functools.lru_cache(maxsize=256)
def media_type(content_type: str) -> str:
    """Return the media type behind a content type, by the name that this program has for it."""
    plain = content_type.partition(";")[0].strip().lower()
    return _ALIASES.get(plain, plain)


def parameter(content_type: str, name: str) -> str | None:
    """Return a parameter of a content type; None when it has none of that name."""
    for part in content_type.split(";")[1:]:
        key, _, value = part.partition("=")
        if key.strip().lower() == name:
            return value.strip().strip('"')
    return None


def format_of(media: str) -> Format | None:
    """Return the format that carries plain values under a media type; None when there is none, or no library for it."""
    return MSGPACK if media == MSGPACK_MEDIA_TYPE and has_msgpack() else _FORMATS.get(media)


def has_msgpack() -> bool:
    """Whether the ``msgpack`` extra is installed."""
    return importlib.util.find_spec("msgpack") is not None


def readable() -> str:
    """Return what this program can read, for people."""
    names = [JSON_MEDIA_TYPE, MSGPACK_MEDIA_TYPE, PROTOBUF_MEDIA_TYPE, BYTES_MEDIA_TYPE]
    return ", ".join(name for name in names if name != MSGPACK_MEDIA_TYPE or has_msgpack())


def check_content_type(content_type: str | None) -> None:
    """Make sure that payloads can be written as this content type; None stands for the default.

    Raises:
        TypeError: It is no text.
        ValueError: Nothing is known of it, or its library is not installed.
    """
    if content_type is None:
        return
    if not isinstance(content_type, str):
        raise TypeError(f"content_type must be a str, not {type(content_type).__name__}")
    media = media_type(content_type)
    if media == MSGPACK_MEDIA_TYPE and not has_msgpack():
        raise ValueError(f"content_type {content_type!r} needs msgpack: pip install 'tailrace[msgpack]'")
    if media not in {*_FORMATS, MSGPACK_MEDIA_TYPE, PROTOBUF_MEDIA_TYPE, BYTES_MEDIA_TYPE}:
        raise ValueError(f"content_type is one of {readable()}, not {content_type!r}")
    if len(content_type) > _MAX_CONTENT_TYPE_BYTES:
        raise ValueError(f"content_type has at most {_MAX_CONTENT_TYPE_BYTES} bytes")


def _dump_json(plain: Any) -> bytes:
    text = json.dumps(plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"), check_circular=False)
    return text.encode()


def _load_json(data: bytes) -> Any:
    return json.loads(data.decode(), parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> Never:
    raise ValueError(f"{name} is not a JSON number")


def _dump_msgpack(plain: Any) -> bytes:
    data: bytes = importlib.import_module("msgpack").packb(plain)
    return data


def _load_msgpack(data: bytes) -> Any:
    msgpack = importlib.import_module("msgpack")
    try:
        return msgpack.unpackb(data, timestamp=3, ext_hook=_refuse_extension)
    except msgpack.exceptions.UnpackException as error:
        raise ValueError(str(error) or type(error).__name__) from error


def _refuse_extension(code: int, _: bytes) -> Never:
    raise ValueError(f"it holds an extension of type {code}")


JSON: Final = Format(name="JSON", dialect=_plain.JSON, dumps=_dump_json, loads=_load_json)
MSGPACK: Final = Format(name="msgpack", dialect=_plain.MSGPACK, dumps=_dump_msgpack, loads=_load_msgpack)
_FORMATS: Final = {JSON_MEDIA_TYPE: JSON}

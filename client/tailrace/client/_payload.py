"""Values as payloads: what Python programs send to each other and to every other language.

Arguments travel as ``{"args": [...], "kwargs": {...}}``, a returned value as itself; a protobuf message, or bytes where
that is asked for, travel alone, as the one argument or as the result. Types beyond those of JSON are written as plain
values (``_plain``), and come back where an annotation says so (``_shape``). Pure: any process can call this.
"""

import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, get_args, get_origin

from google.protobuf.message import DecodeError, EncodeError, Message

from tailrace.client import _formats, _shape
from tailrace.client._codec import PLAIN, Codecs
from tailrace.client._errors import PayloadError
from tailrace.client._formats import BYTES_MEDIA_TYPE, JSON_MEDIA_TYPE, PROTOBUF_MEDIA_TYPE, Format, media_type
from tailrace.client._kinds import is_bytes, is_list, is_object
from tailrace.client._misfit import MisfitError
from tailrace.v1.task_pb2 import Payload

_LONGEST_PATH = 60


def encode_arguments(
    args: Sequence[Any], kwargs: Mapping[str, Any], *, content_type: str = JSON_MEDIA_TYPE, codecs: Codecs = PLAIN
) -> Payload:
    """Encode the arguments of one call. One that is a protobuf message and has no others beside it is sent as such.

    Raises:
        PayloadError: A value cannot be carried; its path starts with ``args`` or ``kwargs``.
    """
    sole = args[0] if len(args) == 1 and not kwargs else None
    media = media_type(content_type)
    if isinstance(sole, Message):
        payload = _message_payload(sole, content_type, "args[0]")
    elif media == PROTOBUF_MEDIA_TYPE:
        raise PayloadError(f"{content_type} carries one protobuf message, and no other arguments", path="args")
    elif media == BYTES_MEDIA_TYPE:
        if not is_bytes(sole):
            raise PayloadError(f"{content_type} carries one argument that is bytes, and no others", path="args")
        payload = Payload(content_type=content_type, data=bytes(sole))
    else:
        payload = _plain_payload({"args": list(args), "kwargs": dict(kwargs)}, content_type, "")
    return codecs.encode(payload, path="input")


def encode_value(
    value: Any, *, content_type: str = JSON_MEDIA_TYPE, codecs: Codecs = PLAIN, path: str = "result"
) -> Payload:
    """Encode what a task returned. None becomes an empty Payload, which stands for no value.

    A protobuf message is sent as such. What a content type for bytes or messages cannot carry is sent as JSON.

    Raises:
        PayloadError: The value cannot be carried; its path starts with ``result``.
    """
    if value is None:
        return Payload()
    media = media_type(content_type)
    if isinstance(value, Message):
        payload = _message_payload(value, content_type, path)
    elif media == BYTES_MEDIA_TYPE and is_bytes(value):
        payload = Payload(content_type=content_type, data=bytes(value))
    else:
        carried = content_type if _formats.format_of(media) else JSON_MEDIA_TYPE
        payload = _plain_payload(value, carried, path)
    return codecs.encode(payload, path=path)


def decode_arguments(
    payload: Payload, *, codecs: Codecs = PLAIN, sole_type: Any = Any
) -> tuple[list[Any], dict[str, Any]]:
    """Decode the arguments of one call, as plain values. An empty Payload means that there are none.

    Args:
        payload: The input of a task.
        codecs: What it may have been encoded with.
        sole_type: The annotation of the first parameter, which says what message the input is, if it is one.

    Raises:
        PayloadError: The payload cannot be read, or is not of the shape ``{"args": [...], "kwargs": {...}}``.
    """
    if _is_empty(payload):
        return [], {}
    if media_type(payload.content_type) in {BYTES_MEDIA_TYPE, PROTOBUF_MEDIA_TYPE}:
        return [_decode(payload, "input", codecs, sole_type)], {}
    arguments = _decode(payload, "input", codecs)
    if not is_object(arguments) or arguments.keys() - {"args", "kwargs"}:
        raise PayloadError('the input is not of the shape {"args": [...], "kwargs": {...}}', path="input")
    args, kwargs = arguments.get("args", []), arguments.get("kwargs", {})
    if not is_list(args) or not is_object(kwargs):
        raise PayloadError('the input\'s "args" must be an array and its "kwargs" an object', path="input")
    if not all(isinstance(name, str) for name in kwargs):
        raise PayloadError('the input\'s "kwargs" must have names that are text', path="input")
    return args, kwargs


def decode_value(payload: Payload, *, codecs: Codecs = PLAIN, returns: Any = Any) -> Any:
    """Decode what a task returned. An empty Payload is None.

    Args:
        payload: The result of a task.
        codecs: What it may have been encoded with.
        returns: The type that it is to come back as; Any leaves it plain.

    Raises:
        PayloadError: The payload cannot be read, or the value is not of that type.
    """
    if _is_empty(payload):
        return None
    value = _decode(payload, "result", codecs, returns)
    try:
        return _shape.reader(returns)(value)
    except MisfitError as misfit:
        raise PayloadError(misfit.text("result"), path=misfit.path("result")) from misfit
    except RecursionError as error:
        raise PayloadError("result is nested too deep", path="result") from error


def decode_details(payload: Payload, *, codecs: Codecs = PLAIN) -> Any:
    """Decode what a task said about its progress. An empty Payload is None.

    Raises:
        PayloadError: The payload cannot be read.
    """
    return None if _is_empty(payload) else _decode(payload, "details", codecs)


def answer_type(payload: Payload, declared: str | None) -> str:
    """Return the content type of a result: that of the input; where there was none to speak of, the one declared.

    Args:
        payload: The input of the task.
        declared: What the task itself prefers; None: nothing.
    """
    media = media_type(payload.content_type)
    if declared is not None and (not media or media_type(declared) == BYTES_MEDIA_TYPE):
        return declared  # bytes can be read by whoever asked, in whatever format
    if _formats.format_of(media) or media == BYTES_MEDIA_TYPE:
        return payload.content_type
    return declared or JSON_MEDIA_TYPE


def _is_empty(payload: Payload) -> bool:
    return not payload.content_type and not payload.data


def _plain_payload(value: Any, content_type: str, root: str) -> Payload:
    format_ = _known_format(media_type(content_type), root)
    try:
        plain = format_.dialect.write(value)
    except MisfitError as misfit:
        path = misfit.path(root)
        if len(path) > _LONGEST_PATH:
            path = f"{path[:_LONGEST_PATH]}..."
        raise PayloadError(f"{path} {misfit.problem}", path=path) from misfit
    return Payload(content_type=content_type, data=format_.dumps(plain))


def _known_format(media: str, name: str) -> Format:
    format_ = _formats.format_of(media)
    if format_ is None:
        raise PayloadError(f"nothing can be sent as {media!r}, but as {_formats.readable()}", path=name)
    return format_


def _message_payload(message: Message, content_type: str, path: str) -> Payload:
    written = content_type if media_type(content_type) == PROTOBUF_MEDIA_TYPE else PROTOBUF_MEDIA_TYPE
    name = message.DESCRIPTOR.full_name
    if (type_ := _formats.parameter(written, "type")) not in {None, name}:
        raise PayloadError(f"{path} is a {name}, not the {type_} of content_type {content_type!r}", path=path)
    if type_ is None:
        written = f"{written}; type={name}"
    try:
        # The order of a map's entries is otherwise chance, and by its bytes a repeated submit is known as the same.
        return Payload(content_type=written, data=message.SerializeToString(deterministic=True))
    except EncodeError as error:
        raise PayloadError(f"{path} cannot be written: {error}", path=path) from error


def _decode(payload: Payload, name: str, codecs: Codecs, type_: Any = Any) -> Any:
    """Return the plain value of a payload, or the message or the bytes that it is."""
    media = media_type(payload.content_type)
    data = codecs.decode(payload, path=name)
    if media == BYTES_MEDIA_TYPE:
        return data
    if media == PROTOBUF_MEDIA_TYPE:
        return _decode_message(payload.content_type, data, name, type_)
    format_ = _formats.format_of(media)
    if format_ is None:
        raise PayloadError(
            f"the {name} is {payload.content_type!r}, and this program reads {_formats.readable()} only", path=name
        )
    try:
        return format_.loads(data)
    except (ValueError, RecursionError) as error:
        raise PayloadError(f"the {name} is not {format_.name}: {error}", path=name) from error


def _decode_message(content_type: str, data: bytes, name: str, type_: Any) -> Message:
    classes = _message_classes(type_)
    sent = _formats.parameter(content_type, "type")
    if not classes:
        raise PayloadError(
            f"the {name} is {content_type!r}: say which message class that is, by the annotation of "
            f"{'the first parameter' if name == 'input' else 'the function, or by returning(...)'}",
            path=name,
        )
    class_ = next((each for each in classes if sent in {None, each.DESCRIPTOR.full_name}), None)
    if class_ is None:
        known = " or ".join(each.DESCRIPTOR.full_name for each in classes)
        raise PayloadError(f"the {name} is the protobuf message {sent}, not {known}", path=name)
    try:
        return class_.FromString(data)
    except DecodeError as error:
        raise PayloadError(f"the {name} is not a {class_.DESCRIPTOR.full_name}: {error}", path=name) from error


def _message_classes(annotation: Any) -> list[type[Message]]:
    if isinstance(annotation, type) and issubclass(annotation, Message):
        return [annotation]
    if get_origin(annotation) in {typing.Union, types.UnionType, typing.Annotated}:
        return [class_ for each in get_args(annotation) for class_ in _message_classes(each)]
    return []

"""Conversion: how one client writes arguments, and reads what became of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

from google.protobuf.message import Message

from tailrace.client import _payload
from tailrace.client._codec import PLAIN, Codecs, PayloadCodec
from tailrace.client._formats import (
    BYTES_MEDIA_TYPE,
    JSON_MEDIA_TYPE,
    PROTOBUF_MEDIA_TYPE,
    check_content_type,
    media_type,
)
from tailrace.client._remote_errors import RemoteErrors
from tailrace.v1.task_pb2 import Payload

_CARRIED_ALONE: Final[dict[str, tuple[type, ...]]] = {
    BYTES_MEDIA_TYPE: (bytes, bytearray, memoryview),
    PROTOBUF_MEDIA_TYPE: (Message,),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """What a client was given for it, and the type that one result is to come back as."""

    remote_errors: RemoteErrors = field(default_factory=RemoteErrors)
    codecs: Codecs = PLAIN
    content_type: str | None = None
    """Of arguments, unless a submit or its task says otherwise; None: JSON."""
    returns: Any = Any
    """What a result is read as; Any: as it came."""

    @classmethod
    def of(cls, codecs: Sequence[PayloadCodec], content_type: str | None) -> Self:
        """Check what a client was given.

        Raises:
            ValueError: A codec's name or the content_type is none that can be used.
        """
        check_content_type(content_type)
        return cls(codecs=Codecs(codecs), content_type=content_type)

    def returning(self, type_: Any) -> Self:
        """Return the same for a result of another type."""
        return self if type_ is self.returns else replace(self, returns=type_)

    def write_arguments(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], *, asked: str | None, declared: str | None
    ) -> Payload:
        """Encode arguments.

        Args:
            args: By position.
            kwargs: By name.
            asked: The content type that the submit names.
            declared: The one that the task's function was declared with.

        Raises:
            PayloadError: An argument cannot be carried.
        """
        if asked is None and declared is not None and _suits(declared, args, kwargs):
            asked = declared
        content_type = asked or self.content_type or JSON_MEDIA_TYPE
        return _payload.encode_arguments(args, kwargs, content_type=content_type, codecs=self.codecs)

    def read_result(self, payload: Payload) -> Any:
        """Decode what a task returned.

        Raises:
            PayloadError: It cannot be read, or is not of the type that it is to be.
        """
        return _payload.decode_value(payload, codecs=self.codecs, returns=self.returns)


def _suits(content_type: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether what a task was declared with carries its arguments: bytes and messages may be meant for the result."""
    carried = _CARRIED_ALONE.get(media_type(content_type))
    return carried is None or (len(args) == 1 and not kwargs and isinstance(args[0], carried))

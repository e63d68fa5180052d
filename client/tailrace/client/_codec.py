"""Codecs: what a payload's bytes go through on their way out, and back on their way in."""

import pickle
from collections.abc import Sequence
from typing import Protocol

from tailrace.client._errors import PayloadError
from tailrace.v1.task_pb2 import Payload

_MAX_NAME_BYTES = 64


class PayloadCodec(Protocol):
    """Two functions over the bytes of payloads, each undoing the other: a compression, an encryption, or both.

    Called from any thread. What either raises refuses the payload, with a PayloadError that tells it.
    """

    @property
    def content_encoding(self) -> str:
        """The name that goes with the bytes, by which the other side finds its codec: "gzip", "acme-fernet-2026"."""
        ...

    def encode(self, data: bytes, /) -> bytes:
        """Return what is sent. Best the same each time: by its bytes a repeated submit is known as the same."""
        ...

    def decode(self, data: bytes, /) -> bytes:
        """Return what was encoded."""
        ...


class Codecs:
    """The codecs of one program: the first encodes, all of them decode. Payloads without encoding are read as well."""

    def __init__(self, codecs: Sequence[PayloadCodec] = ()) -> None:
        """Take them.

        Raises:
            ValueError: A name is malformed, or two have the same one.
        """
        self._by_name = {_checked_name(codec): codec for codec in codecs}
        if len(self._by_name) < len(codecs):
            raise ValueError("two codecs have the same content_encoding")
        self._first = codecs[0] if codecs else None

    def check_travel(self) -> None:
        """Check that they can go to another process, as pickles.

        Raises:
            ValueError: One cannot.
        """
        for name, codec in self._by_name.items():
            try:
                pickle.dumps(codec)
            except Exception as error:
                raise ValueError(
                    f"the codec {name!r} cannot be pickled, so that child processes cannot have it: {_told(error)}"
                ) from error

    def encode(self, payload: Payload, *, path: str) -> Payload:
        """Encode the bytes of a payload.

        Raises:
            PayloadError: The codec failed.
        """
        codec = self._first
        if codec is None:
            return payload
        name = codec.content_encoding
        try:
            data = codec.encode(payload.data)
        except Exception as error:
            raise PayloadError(f"the {path} cannot be encoded as {name!r}: {_told(error)}", path=path) from error
        return Payload(content_type=payload.content_type, content_encoding=name, data=data)

    def decode(self, payload: Payload, *, path: str) -> bytes:
        """Return the bytes as they were before they were encoded.

        Raises:
            PayloadError: The encoding is unknown, or the codec failed.
        """
        name = payload.content_encoding
        if not name:
            return payload.data
        codec = self._by_name.get(name)
        if codec is None:
            raise PayloadError(f"the {path} has content_encoding {name!r}, and {self._known()}", path=path)
        try:
            return codec.decode(payload.data)
        except Exception as error:
            raise PayloadError(f"the {path} cannot be decoded as {name!r}: {_told(error)}", path=path) from error

    def _known(self) -> str:
        if not self._by_name:
            return "this program has no codecs: give it some by codecs="
        return f"this program has codecs for {', '.join(map(repr, self._by_name))} only"


PLAIN = Codecs()
"""No codecs."""


def _checked_name(codec: PayloadCodec) -> str:
    name = codec.content_encoding
    if not name or not name.isascii() or not name.isprintable() or len(name) > _MAX_NAME_BYTES:
        raise ValueError(f"a content_encoding has 1 to {_MAX_NAME_BYTES} printable ASCII characters, not {name!r}")
    return name


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__

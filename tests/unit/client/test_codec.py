"""Codecs: what the bytes of payloads go through."""

import gzip
from datetime import UTC, datetime

import pytest

from tailrace.client import Client, PayloadError, Progress
from tailrace.client._codec import Codecs
from tailrace.client._payload import decode_arguments, decode_value, encode_arguments, encode_value
from tailrace.v1.task_pb2 import Payload


class Gzip:
    content_encoding = "gzip"

    def encode(self, data: bytes) -> bytes:
        return gzip.compress(data, mtime=0)

    def decode(self, data: bytes) -> bytes:
        return gzip.decompress(data)


class Upside:
    content_encoding = "upside-down"

    def encode(self, data: bytes) -> bytes:
        return data[::-1]

    def decode(self, data: bytes) -> bytes:
        return data[::-1]


class Broken:
    content_encoding = "broken"

    def encode(self, data: bytes) -> bytes:
        raise ValueError("no key")

    def decode(self, data: bytes) -> bytes:
        raise ValueError("no key")


def named(name: str) -> Upside:
    codec = Upside()
    codec.content_encoding = name
    return codec


def test_bytes_go_through_the_codec_and_say_so() -> None:
    payload = encode_arguments((1,), {}, codecs=Codecs([Gzip()]))

    assert (payload.content_type, payload.content_encoding) == ("application/json", "gzip")
    assert gzip.decompress(payload.data) == b'{"args":[1],"kwargs":{}}'
    assert decode_arguments(payload, codecs=Codecs([Gzip()])) == ([1], {})


def test_the_first_codec_encodes_and_all_of_them_decode() -> None:
    old = encode_value([1], codecs=Codecs([Upside()]))
    both = Codecs([Gzip(), Upside()])

    assert encode_value([1], codecs=both).content_encoding == "gzip"
    assert decode_value(old, codecs=both) == [1]


def test_a_payload_without_encoding_is_read_all_the_same() -> None:
    assert decode_value(encode_value([1]), codecs=Codecs([Gzip()])) == [1]


def test_no_value_stays_an_empty_payload() -> None:
    assert encode_value(None, codecs=Codecs([Gzip()])) == Payload()


@pytest.mark.parametrize(
    ("codecs", "told"),
    [
        (Codecs(), "content_encoding 'zstd', and this program has no codecs: give it some by codecs="),
        (Codecs([Gzip(), Upside()]), "'zstd', and this program has codecs for 'gzip', 'upside-down' only"),
    ],
)
def test_an_encoding_without_codec_is_refused_by_its_name(codecs: Codecs, told: str) -> None:
    with pytest.raises(PayloadError, match=told):
        decode_value(Payload(content_type="application/json", content_encoding="zstd", data=b"1"), codecs=codecs)


def test_what_a_codec_raises_is_told() -> None:
    broken = Codecs([Broken()])

    with pytest.raises(PayloadError, match=r"^the input cannot be encoded as 'broken': ValueError: no key$"):
        encode_arguments((), {}, codecs=broken)
    with pytest.raises(PayloadError, match=r"^the result cannot be decoded as 'broken': ValueError: no key$"):
        decode_value(Payload(content_type="application/json", content_encoding="broken", data=b"1"), codecs=broken)


def test_what_a_codec_makes_of_foreign_bytes_is_told() -> None:
    payload = Payload(content_type="application/json", content_encoding="gzip", data=b"not compressed")

    with pytest.raises(PayloadError, match=r"cannot be decoded as 'gzip': BadGzipFile"):
        decode_value(payload, codecs=Codecs([Gzip()]))


@pytest.mark.parametrize("name", ["", "x" * 65, "naïve", "two\nlines"])
def test_a_codec_needs_a_name_that_the_contract_takes(name: str) -> None:
    with pytest.raises(ValueError, match="1 to 64 printable ASCII"):
        Client(codecs=[named(name)])


def test_two_codecs_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="same content_encoding"):
        Client(codecs=[Gzip(), named("gzip")])


def test_a_checkpoint_is_read_with_the_codecs_that_the_reader_has() -> None:
    details = encode_value({"row": 5}, codecs=Codecs([Gzip()]))
    progress = Progress(current=1, total=None, message="", update_time=datetime.now(UTC), _details=details)

    assert progress._read_with(Codecs([Gzip()])).details == {"row": 5}
    assert progress._read_with(Codecs([Gzip()])) == progress

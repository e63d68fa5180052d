"""Formats beside JSON: msgpack, protobuf messages, bytes."""

import math
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import msgpack
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from tailrace.client import Client, PayloadError, _formats
from tailrace.client._conversion import Conversion
from tailrace.client._options import SubmitOptions
from tailrace.client._payload import answer_type, decode_arguments, decode_value, encode_arguments, encode_value
from tailrace.v1.task_pb2 import Payload

MSGPACK = "application/msgpack"
BYTES = "application/octet-stream"


def packed(value: Any, content_type: str = MSGPACK) -> Payload:
    return Payload(content_type=content_type, data=msgpack.packb(value))


def test_msgpack_carries_arguments_in_the_same_shape() -> None:
    payload = encode_arguments((1, b"raw"), {"day": date(2026, 1, 1), "nan": None}, content_type=MSGPACK)

    assert payload.content_type == MSGPACK
    assert msgpack.unpackb(payload.data) == {"args": [1, b"raw"], "kwargs": {"day": "2026-01-01", "nan": None}}
    assert decode_arguments(payload) == ([1, b"raw"], {"day": "2026-01-01", "nan": None})


@pytest.mark.parametrize("name", [MSGPACK, "application/vnd.msgpack", "Application/X-MsgPack"])
def test_msgpack_goes_by_several_names(name: str) -> None:
    assert decode_value(packed([1], name)) == [1]
    assert encode_value([1], content_type=name) == packed([1], name)


def test_msgpack_carries_bytes_and_nan_as_themselves_and_times_of_other_languages() -> None:
    when = datetime(2026, 11, 26, 2, tzinfo=UTC)

    assert decode_value(encode_value({"raw": b"\x00"}, content_type=MSGPACK), returns=dict[str, bytes]) == {
        "raw": b"\x00"
    }
    assert math.isnan(decode_value(encode_value(math.nan, content_type=MSGPACK)))
    assert (
        decode_value(Payload(content_type=MSGPACK, data=msgpack.packb(when, datetime=True)), returns=datetime) == when
    )


@pytest.mark.parametrize(("value", "told"), [(2**64, "result[0]"), (-(2**63) - 1, "64 bits"), (1j, "msgpack cannot")])
def test_what_msgpack_cannot_carry_is_refused_by_its_place(value: Any, told: str) -> None:
    with pytest.raises(PayloadError) as caught:
        encode_value([value], content_type=MSGPACK)

    assert told in str(caught.value)
    assert caught.value.path == "result[0]"


@pytest.mark.parametrize(
    "data", [b"", b"\xc1", b"\x92\x01", b"\x01\x01", b"\xd4\x05\x00", b"\x91" * 100_000, b"\xa1\xff", b"\x81\x01\x01"]
)
def test_bytes_that_are_no_msgpack_are_refused(data: bytes) -> None:
    with pytest.raises(PayloadError, match="the result is not msgpack"):
        decode_value(Payload(content_type=MSGPACK, data=data))


def test_keywords_in_msgpack_must_be_text() -> None:
    with pytest.raises(PayloadError, match="names that are text"):
        decode_arguments(packed({"kwargs": {b"x": 1}}))


def test_without_the_extra_msgpack_is_refused_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_formats, "has_msgpack", lambda: False)

    with pytest.raises(ValueError, match=r"pip install 'tailrace\[msgpack\]'"):
        Client(content_type=MSGPACK)
    with pytest.raises(PayloadError, match=r"'application/msgpack', and this program reads application/json, app"):
        decode_value(packed([1]))


@pytest.mark.parametrize("content_type", ["text/csv", "json", "", "application/json; " + "x" * 256])
def test_a_content_type_that_cannot_be_written_is_refused_at_once(content_type: str) -> None:
    with pytest.raises(ValueError, match="content_type"):
        SubmitOptions(content_type=content_type)
    with pytest.raises(ValueError, match="content_type"):
        Client(content_type=content_type)


def test_a_content_type_is_a_text() -> None:
    with pytest.raises(TypeError, match="content_type must be a str, not int"):
        SubmitOptions(content_type=1)  # type: ignore[arg-type]


@pytest.mark.parametrize("asked", ["application/json", MSGPACK, "application/protobuf"])
def test_a_message_that_is_alone_travels_as_such(asked: str) -> None:
    payload = encode_arguments((Duration(seconds=5),), {}, content_type=asked)

    assert payload.content_type == "application/protobuf; type=google.protobuf.Duration"
    assert payload.data == Duration(seconds=5).SerializeToString()
    assert decode_arguments(payload, sole_type=Duration) == ([Duration(seconds=5)], {})
    assert decode_value(encode_value(Duration(seconds=5)), returns=Timestamp | Duration) == Duration(seconds=5)


def test_one_message_has_the_same_bytes_whatever_the_order_of_its_entries() -> None:
    names = [f"name {number}" for number in range(50)]
    one, other = Struct(), Struct()
    for name in names:
        one[name] = 1
    for name in reversed(names):
        other[name] = 1

    assert encode_value(one).data == encode_value(other).data


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [((Duration(), 1), {}), ((), {"span": Duration()}), (([Duration()],), {}), ((Duration(),), {"x": 1})],
)
def test_a_message_among_others_is_refused(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    with pytest.raises(PayloadError, match="can only be the one argument"):
        encode_arguments(args, kwargs)


@pytest.mark.parametrize(
    ("content_type", "type_", "told"),
    [
        ("application/protobuf; type=google.protobuf.Duration", Any, "by returning"),
        ("application/protobuf", int, "by returning"),
        ("application/x-protobuf; type=google.protobuf.Duration", Timestamp, "not google.protobuf.Timestamp"),
        ("application/protobuf", Duration, "the result is not a google.protobuf.Duration"),
    ],
)
def test_a_message_is_read_as_the_class_that_is_said_and_as_no_other(content_type: str, type_: Any, told: str) -> None:
    with pytest.raises(PayloadError, match=told):
        decode_value(Payload(content_type=content_type, data=b"\xff"), returns=type_)


def test_a_message_where_none_was_expected_is_told() -> None:
    with pytest.raises(PayloadError, match=r"must be the protobuf message google\.protobuf\.Duration, not a whole"):
        decode_value(Payload(content_type="application/json", data=b"5"), returns=Duration)


@pytest.mark.parametrize("asked", ["application/protobuf; type=acme.v1.Order", "application/protobuf"])
def test_protobuf_is_asked_for_of_messages_only(asked: str) -> None:
    with pytest.raises(PayloadError, match=r"one protobuf message|not the acme"):
        encode_arguments((1,) if asked.endswith("protobuf") else (Duration(),), {}, content_type=asked)


@pytest.mark.parametrize("value", [b"\x00\xff", bytearray(b"\x00\xff"), memoryview(b"\x00\xff")])
def test_bytes_travel_raw_where_that_is_asked_for(value: bytes | bytearray | memoryview) -> None:
    payload = encode_arguments((value,), {}, content_type=BYTES)

    assert payload == Payload(content_type=BYTES, data=b"\x00\xff")
    assert decode_arguments(payload) == ([b"\x00\xff"], {})
    assert decode_value(encode_value(value, content_type=BYTES), returns=bytes) == b"\x00\xff"


def test_empty_bytes_are_a_value() -> None:
    assert decode_arguments(encode_arguments((b"",), {}, content_type=BYTES)) == ([b""], {})


@pytest.mark.parametrize(("args", "kwargs"), [((1,), {}), ((b"a", b"b"), {}), ((b"a",), {"x": 1}), ((), {})])
def test_whoever_asks_for_raw_bytes_has_to_have_bytes(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    with pytest.raises(PayloadError, match="one argument that is bytes"):
        encode_arguments(args, kwargs, content_type=BYTES)


@pytest.mark.parametrize(
    ("asked", "declared", "client_wide", "sent"),
    [
        (None, None, None, "application/json"),
        (None, None, MSGPACK, MSGPACK),
        (None, MSGPACK, "application/json", MSGPACK),
        ("application/json", MSGPACK, MSGPACK, "application/json"),
        (None, BYTES, None, BYTES),
    ],
)
def test_a_submit_decides_over_its_task_and_the_task_over_the_client(
    asked: str | None, declared: str | None, client_wide: str | None, sent: str
) -> None:
    conversion = Conversion(content_type=client_wide)

    assert conversion.write_arguments((b"x",), {}, asked=asked, declared=declared).content_type == sent


@pytest.mark.parametrize("declared", [BYTES, "application/protobuf"])
def test_what_a_task_declares_for_its_result_leaves_other_arguments_alone(declared: str) -> None:
    payload = Conversion().write_arguments(("https://x",), {"dpi": 72}, asked=None, declared=declared)

    assert payload.content_type == "application/json"


@pytest.mark.parametrize(
    ("asked", "declared", "value", "answered"),
    [
        ("application/json", None, [1], "application/json"),
        ("application/vnd.msgpack", None, [1], "application/vnd.msgpack"),
        ("application/json", MSGPACK, [1], "application/json"),
        ("", MSGPACK, [1], MSGPACK),
        ("", None, [1], "application/json"),
        (BYTES, None, b"x", BYTES),
        (BYTES, None, [1], "application/json"),
        ("application/json", BYTES, b"x", BYTES),
        ("application/json", BYTES, [1], "application/json"),
        ("application/json", None, b"x", "application/json"),
        ("application/protobuf", None, [1], "application/json"),
        ("application/protobuf", MSGPACK, [1], MSGPACK),
        ("application/json", None, Duration(), "application/protobuf; type=google.protobuf.Duration"),
    ],
)
def test_an_answer_is_in_kind_where_that_can_carry_it(
    asked: str, declared: str | None, value: Any, answered: str
) -> None:
    content_type = answer_type(Payload(content_type=asked), declared)

    assert encode_value(value, content_type=content_type).content_type == answered


def test_a_type_that_is_asked_for_holds_in_every_format() -> None:
    price = Decimal("1.10")

    for content_type in ("application/json", MSGPACK):
        assert decode_value(encode_value([price], content_type=content_type), returns=list[Decimal]) == [price]

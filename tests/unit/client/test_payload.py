"""Values as JSON payloads."""

import collections
import enum
import json
import math
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from google.protobuf.duration_pb2 import Duration
from hypothesis import given
from hypothesis import strategies as st

from tailrace.client import PayloadError
from tailrace.client._payload import decode_arguments, decode_value, encode_arguments, encode_value
from tailrace.v1.task_pb2 import Payload

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=20,
)


LONGER_THAN_PYTHON_PRINTS = 10**5000


class Color(enum.StrEnum):
    RED = "red"


class Point(NamedTuple):
    x: float
    y: float


@dataclass
class Line:
    price: float


@dataclass
class Order:
    number: int
    lines: list[Line]
    related: list["Order"] = field(default_factory=list)


@given(st.lists(JSON_VALUES), st.dictionaries(TEXT, JSON_VALUES))
def test_arguments_that_json_can_carry_arrive_as_they_were(args: list[Any], kwargs: dict[str, Any]) -> None:
    assert decode_arguments(encode_arguments(args, kwargs)) == (args, kwargs)


@given(JSON_VALUES)
def test_results_that_json_can_carry_arrive_as_they_were(value: Any) -> None:
    assert decode_value(encode_value(value)) == value


def test_arguments_travel_in_the_shape_that_every_language_reads() -> None:
    payload = encode_arguments((1, "zwei"), {"drei": [3.0, None, True]})

    assert payload.content_type == "application/json"
    assert json.loads(payload.data) == {"args": [1, "zwei"], "kwargs": {"drei": [3.0, None, True]}}


def test_no_value_is_an_empty_payload() -> None:
    assert encode_value(None) == Payload()
    assert decode_value(Payload()) is None


def test_no_input_is_no_arguments() -> None:
    assert decode_arguments(Payload()) == ([], {})


@pytest.mark.parametrize(
    ("value", "arrives_as"),
    [
        ((1, 2), [1, 2]),
        (Point(1, 2), [1, 2]),
        (Color.RED, "red"),
        (collections.OrderedDict(a=1), {"a": 1}),
        ("größer ✓", "größer ✓"),
    ],
)
def test_kin_of_json_types_arrive_as_the_plain_type(value: Any, arrives_as: Any) -> None:
    arrived = decode_value(encode_value(value))

    assert arrived == arrives_as
    assert type(arrived) is type(arrives_as)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (1j, "args[1]"),
        ({"when": object()}, "args[1].when"),
        ([{"a b": range(3)}], "args[1][0]['a b']"),
        ({"scores": [1.0, math.nan]}, "args[1].scores[1]"),
        (-math.inf, "args[1]"),
        ({1, 2j}, "args[1][*]"),
        (Order(number=1, lines=[Line(price=math.nan)]), "args[1].lines[0].price"),
        ((Point(1, 2), Point(1, math.inf)), "args[1][1][1]"),
        (Decimal("NaN"), "args[1]"),
        (Duration(seconds=1), "args[1]"),
        ({"by_id": {7: "seven"}}, "args[1].by_id"),
        (["\ud800"], "args[1][0]"),
        ({"\udfff": 1}, "args[1]['\\udfff']"),
        (LONGER_THAN_PYTHON_PRINTS, "args[1]"),
        (object, "args[1]"),
        (Order, "args[1]"),
    ],
    ids=lambda part: part if isinstance(part, str) else type(part).__name__,
)
def test_what_json_cannot_carry_is_refused_by_its_place_in_the_value(value: Any, path: str) -> None:
    with pytest.raises(PayloadError) as caught:
        encode_arguments((0, value), {})

    assert caught.value.path == path
    assert path in str(caught.value)


def test_a_keyword_argument_is_named_by_its_keyword() -> None:
    with pytest.raises(PayloadError, match=r"^kwargs\.when is a complex, which JSON cannot carry$"):
        encode_arguments((), {"when": 1j})


def test_a_part_of_a_result_is_named_from_the_result() -> None:
    with pytest.raises(PayloadError, match=r"^result\[0\]\.raw is a complex, which JSON cannot carry$"):
        encode_value([{"raw": 1j}])


def test_a_value_that_contains_itself_is_refused() -> None:
    loop: list[object] = []
    loop.append(loop)
    order = Order(number=1, lines=[])
    order.related.append(order)

    with pytest.raises(PayloadError, match="contains itself"):
        encode_value(loop)
    with pytest.raises(PayloadError, match=r"^result\.related\[0\]\.related\[0\].*contains itself"):
        encode_value(order)


def test_another_content_type_is_refused_by_name() -> None:
    with pytest.raises(PayloadError, match=r"the result is 'text/csv', and this program reads application/json, "):
        decode_value(Payload(content_type="text/csv", data=b"1;2"))


def test_parameters_of_the_content_type_do_not_matter() -> None:
    assert decode_value(Payload(content_type="Application/JSON; charset=utf-8", data=b"30")) == 30


def test_a_compressed_payload_is_refused_by_the_name_of_its_encoding() -> None:
    with pytest.raises(PayloadError, match="gzip"):
        decode_value(Payload(content_type="application/json", content_encoding="gzip", data=b"\x1f\x8b"))


@pytest.mark.parametrize("data", [b"", b"{", b"NaN", b"\xff", b"[" * 100_000, b"9" * 5000])
def test_bytes_that_are_no_json_are_refused(data: bytes) -> None:
    with pytest.raises(PayloadError, match="is not JSON"):
        decode_value(Payload(content_type="application/json", data=data))


@pytest.mark.parametrize("data", [b"[1,2]", b'"text"', b'{"x":1}', b'{"args":1}', b'{"args":[],"kwargs":[]}'])
def test_input_of_another_shape_is_refused(data: bytes) -> None:
    with pytest.raises(PayloadError, match="args"):
        decode_arguments(Payload(content_type="application/json", data=data))


def test_input_may_leave_out_what_is_empty() -> None:
    assert decode_arguments(Payload(content_type="application/json", data=b'{"kwargs":{"x":1}}')) == ([], {"x": 1})

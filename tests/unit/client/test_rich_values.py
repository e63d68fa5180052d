"""Types that JSON has no word for: what they look like on the wire, and how they come back."""

import enum
import json
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, NotRequired, TypedDict, TypeVar
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import TypeAliasType

from tailrace.client import PayloadError
from tailrace.client._payload import decode_value, encode_value
from tailrace.v1.task_pb2 import Payload

T = TypeVar("T")
UserId = NewType("UserId", int)


class Color(enum.Enum):
    RED = "red"
    DEEP = (1, 2)


class Access(enum.Flag):
    READ = 1
    WRITE = 2


class Point(NamedTuple):
    x: Decimal
    label: str = ""


class Address(TypedDict):
    street: str
    moved_in: NotRequired[date]


@dataclass(frozen=True)
class Line:
    price: Decimal
    color: Color = Color.RED


@dataclass
class Order:
    id: UUID
    lines: list[Line]
    placed: datetime
    notes: dict[str, str | None] = field(default_factory=dict)
    parent: "Order | None" = None
    total: int = field(init=False, default=0)


@dataclass
class Box(Generic[T]):
    content: T
    others: list[T]


ID = UUID("0192f0c1-2b7e-7cc3-98c4-dc0c0c07398f")
WHEN = datetime(2026, 11, 26, 2, 0, 0, 5, tzinfo=UTC)
ORDER = Order(id=ID, lines=[Line(Decimal("1.10"))], placed=WHEN, parent=Order(id=ID, lines=[], placed=WHEN))

WIRE_FORMS: list[tuple[Any, Any, Any]] = [
    (datetime, WHEN, "2026-11-26T02:00:00.000005+00:00"),
    (datetime, WHEN.replace(tzinfo=None, microsecond=0), "2026-11-26T02:00:00"),
    (datetime, datetime(2026, 11, 26, 2, tzinfo=timezone(timedelta(hours=1))), "2026-11-26T02:00:00+01:00"),
    (date, date(2026, 11, 26), "2026-11-26"),
    (time, time(2, 30), "02:30:00"),
    (timedelta, timedelta(seconds=90), "PT90S"),
    (timedelta, timedelta(days=-1, microseconds=1), "-PT86399.999999S"),
    (timedelta, timedelta(days=2, milliseconds=500), "P2DT0.5S"),
    (timedelta, timedelta(days=2), "P2D"),
    (timedelta, timedelta(), "PT0S"),
    (UUID, ID, "0192f0c1-2b7e-7cc3-98c4-dc0c0c07398f"),
    (Decimal, Decimal("1.10"), "1.10"),
    (Decimal, Decimal("1E+3"), "1E+3"),
    (bytes, b"\x00\xff", "AP8="),
    (bytearray, bytearray(b"\x00\xff"), "AP8="),
    (Color, Color.RED, "red"),
    (Color, Color.DEEP, [1, 2]),
    (Access, Access.READ | Access.WRITE, 3),
    (tuple[int, str], (1, "a"), [1, "a"]),
    (tuple[date, ...], (date(2026, 1, 1),), ["2026-01-01"]),
    (tuple, (1, 2), [1, 2]),
    (set[str], {"b", "a"}, ["a", "b"]),
    (frozenset[int], frozenset({3, 1}), [1, 3]),
    (AbstractSet[int], {3, 1}, [1, 3]),
    (list[Color], [Color.RED], ["red"]),
    (Sequence[date], [date(2026, 1, 1)], ["2026-01-01"]),
    (Mapping[str, Decimal], {"a": Decimal(1)}, {"a": "1"}),
    (Point, Point(Decimal(1), "a"), ["1", "a"]),
    (Address, {"street": "Main", "moved_in": date(2026, 1, 1)}, {"street": "Main", "moved_in": "2026-01-01"}),
    (Line, Line(Decimal("1.10")), {"price": "1.10", "color": "red"}),
    (Box[date], Box(date(2026, 1, 1), [date(2026, 1, 2)]), {"content": "2026-01-01", "others": ["2026-01-02"]}),
    (date | None, None, None),
    (date | None, date(2026, 1, 1), "2026-01-01"),
    (int | str, "a", "a"),
    (float | int, 3, 3),
    (Literal["a", 1], 1, 1),
    (UserId, 7, 7),
    (Annotated[date, "of birth"], date(2026, 1, 1), "2026-01-01"),
    (
        Order,
        ORDER,
        {
            "id": str(ID),
            "lines": [{"price": "1.10", "color": "red"}],
            "placed": WHEN.isoformat(),
            "notes": {},
            "parent": {
                "id": str(ID),
                "lines": [],
                "placed": WHEN.isoformat(),
                "notes": {},
                "parent": None,
                "total": 0,
            },
            "total": 0,
        },
    ),
]


def on_the_wire(value: Any) -> Any:
    return json.loads(encode_value([value]).data)[0]


def read(annotation: Any, plain: Any) -> Any:
    payload = Payload(content_type="application/json", data=json.dumps([plain]).encode())
    return decode_value(payload, returns=list[annotation])[0]


@pytest.mark.parametrize(("annotation", "value", "wire"), WIRE_FORMS, ids=lambda part: str(part)[:40])
def test_each_type_has_one_plain_form_and_comes_back_from_it(annotation: Any, value: Any, wire: Any) -> None:
    assert on_the_wire(value) == wire

    back = read(annotation, wire)

    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize(("annotation", "value", "wire"), WIRE_FORMS, ids=lambda part: str(part)[:40])
def test_without_an_annotation_the_plain_form_stays(annotation: Any, value: Any, wire: Any) -> None:
    assert decode_value(encode_value([value])) == [wire]


ZONES = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@pytest.mark.parametrize(
    ("annotation", "values"),
    [
        (datetime, st.datetimes(timezones=st.none() | ZONES)),
        (date, st.dates()),
        (time, st.times()),
        (timedelta, st.timedeltas()),
        (Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
        (UUID, st.uuids()),
        (bytes, st.binary()),
        (set[datetime], st.sets(st.datetimes())),
        (tuple[Decimal, ...], st.lists(st.decimals(allow_nan=False, allow_infinity=False)).map(tuple)),
    ],
    ids=str,
)
def test_every_value_comes_back_as_it_was(annotation: Any, values: st.SearchStrategy[Any]) -> None:
    @settings(deadline=None)  # machines have other things to do
    @given(values)
    def comes_back(value: Any) -> None:
        assert read(annotation, on_the_wire(value)) == value

    comes_back()


def test_a_decimal_keeps_its_digits() -> None:
    assert str(read(Decimal, on_the_wire(Decimal("1.100")))) == "1.100"


def test_one_set_has_the_same_bytes_whatever_its_order_in_memory() -> None:
    words = [f"word {number}" for number in range(100)]

    assert encode_value(set(words)).data == encode_value(frozenset(words)).data == encode_value(sorted(words)).data


@pytest.mark.parametrize(
    ("annotation", "wire", "value"),
    [
        (datetime, "2026-11-26T02:00:00Z", datetime(2026, 11, 26, 2, tzinfo=UTC)),
        (timedelta, "P1W", timedelta(weeks=1)),
        (timedelta, "P1DT2H3M4.5S", timedelta(days=1, hours=2, minutes=3, seconds=4.5)),
        (timedelta, "PT0.000000001S", timedelta()),
        (UUID, str(ID).upper(), ID),
        (Decimal, 3, Decimal(3)),
        (float, 3, 3.0),
        (dict[str, date], {"a": "2026-01-01"}, {"a": date(2026, 1, 1)}),
        (dict, {"a": 1}, {"a": 1}),
        (list, [1], [1]),
        (Line, {"price": "1", "newer_than_us": True}, Line(Decimal(1))),
        (Address, {"street": "Main", "zip": 1}, {"street": "Main", "zip": 1}),
        (Point, ["1"], Point(Decimal(1))),
        (datetime | str, "hello", "hello"),
        (str | datetime, "2026-11-26T02:00:00", "2026-11-26T02:00:00"),
        (datetime | date, "2026-11-26", date(2026, 11, 26)),
        (int | float, 1.5, 1.5),
        (Any, {"a": 1}, {"a": 1}),
        (object, "a", "a"),
        (Path, "/tmp", "/tmp"),
        (T, "a", "a"),
    ],
    ids=lambda part: str(part)[:40],
)
def test_what_other_languages_write_is_read_as_well(annotation: Any, wire: Any, value: Any) -> None:
    back = read(annotation, wire)

    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize(
    ("annotation", "wire", "told"),
    [
        (int, "1", "result[0] must be a whole number, not text"),
        (int, True, "result[0] must be a whole number, not true or false"),
        (int, 1.0, "result[0] must be a whole number, not a number with a fraction"),
        (float, "1", "result[0] must be a number, not text"),
        (float, 10**400, "result[0] is too large for a number with a fraction"),
        (bool, 1, "result[0] must be true or false, not a whole number"),
        (str, 1, "result[0] must be text, not a whole number"),
        (str, None, "result[0] must be text, not null"),
        (None, 1, "result[0] must be null, not a whole number"),
        (datetime, "2026-11-26", "result[0] must be an ISO 8601 datetime, not other text"),
        (datetime, 1, "result[0] must be an ISO 8601 datetime, not a whole number"),
        (date, "2026-11-26T00:00:00", "result[0] must be an ISO 8601 date, not other text"),
        (time, "late", "result[0] must be an ISO 8601 time, not other text"),
        (timedelta, "P1Y", "result[0] must be an ISO 8601 duration, not other text"),
        (timedelta, "P", "result[0] must be an ISO 8601 duration, not other text"),
        (timedelta, "PT", "result[0] must be an ISO 8601 duration, not other text"),
        (timedelta, "P99999999999D", "result[0] must be an ISO 8601 duration, not other text"),
        (UUID, f"{{{ID}}}", "result[0] must be a UUID, not other text"),
        (Decimal, "NaN", "result[0] must be a decimal number as text, not other text"),
        (Decimal, "1_0", "result[0] must be a decimal number as text, not other text"),
        (Decimal, 1.1, "result[0] must be a decimal number as text, not a number with a fraction"),
        (bytes, "AP8", "result[0] must be base64 text, not other text"),
        (bytes, "ü", "result[0] must be base64 text, not other text"),
        (Color, "blue", "result[0] must be one of 'red', [1, 2]"),
        (Access, 8, "result[0] must be one of 1, 2"),
        (Literal["a", 1], True, "result[0] must be one of 'a', 1"),
        (list[int], {}, "result[0] must be a list, not an object"),
        (list[int], [1, "2"], "result[0][1] must be a whole number, not text"),
        (tuple[int, str], [1], "result[0] must have 2 items, not 1"),
        (tuple[int, str], [1, 2], "result[0][1] must be text, not a whole number"),
        (tuple[int, ...], "ab", "result[0] must be a list, not text"),
        (set[str], [["a"]], "result[0][0] must be text, not a list"),
        (set, [["a"]], "result[0] cannot be a set: unhashable type: 'list'"),
        (dict[str, int], [], "result[0] must be an object, not a list"),
        (dict[str, int], {"a b": "1"}, "result[0]['a b'] must be a whole number, not text"),
        (Line, [], "result[0] must be an object, not a list"),
        (Line, {}, "result[0].price is missing"),
        (Order, {"id": str(ID), "lines": [{"price": 1.5}]}, "result[0].lines[0].price must be a decimal number"),
        (Box[int], {"content": 1, "others": ["a"]}, "result[0].others[0] must be a whole number, not text"),
        (Address, {"street": 1}, "result[0].street must be text, not a whole number"),
        (Address, {}, "result[0].street is missing"),
        (Point, [], "result[0] must have the 2 items of Point, not 0"),
        (Point, ["1", 2], "result[0][1] must be text, not a whole number"),
        (Point, {}, "result[0] must be a list, not an object"),
        (date | None, "soon", "result[0] must be an ISO 8601 date, not other text"),
        (int | Line, {"price": 1.5}, "result[0] fits none of its types: must be a whole number, not an object; price"),
    ],
    ids=lambda part: str(part)[:60],
)
def test_what_does_not_fit_is_told_by_its_place_and_not_by_its_value(annotation: Any, wire: Any, told: str) -> None:
    with pytest.raises(PayloadError) as caught:
        read(annotation, wire)

    assert str(caught.value).startswith(told)
    assert str(caught.value).startswith(str(caught.value.path))


@dataclass
class Positive:
    number: int

    def __post_init__(self) -> None:
        if self.number <= 0:
            raise ValueError("not positive")


def test_what_a_class_refuses_itself_is_told() -> None:
    with pytest.raises(PayloadError, match=r"^result\[0\] is no Positive: ValueError: not positive$"):
        read(Positive, {"number": 0})


@dataclass
class Half:
    set_at_once: int
    set_later: int = field(init=False)


def test_a_field_that_has_no_value_yet_is_left_out() -> None:
    assert on_the_wire(Half(1)) == {"set_at_once": 1}


def test_an_alias_is_what_it_stands_for() -> None:
    day = TypeAliasType("day", date)  # what `type day = date` makes in Python 3.12

    assert read(dict[str, day], {"a": "2026-01-01"}) == {"a": date(2026, 1, 1)}


def test_the_order_of_a_union_decides_in_each_of_them() -> None:
    first, second = (
        read(list[datetime | str], ["2026-01-01T00:00:00"]),
        read(list[str | datetime], ["2026-01-01T00:00:00"]),
    )

    assert (first, second) == ([datetime(2026, 1, 1)], ["2026-01-01T00:00:00"])  # noqa: DTZ001


@dataclass
class Node:
    inner: "Node | None" = None


def test_what_other_programs_nest_without_end_is_refused() -> None:
    data = b'{"inner":' * 900 + b"null" + b"}" * 900

    with pytest.raises(PayloadError, match="nested too deep"):
        decode_value(Payload(content_type="application/json", data=data), returns=Node)


def test_names_that_only_type_checkers_know_are_not_looked_for() -> None:
    @dataclass
    class Late:
        known: date
        unknown: "NotThere"  # type: ignore[name-defined]  # noqa: F821

    assert read(Late, {"known": "2026-01-01", "unknown": "as it is"}) == Late(date(2026, 1, 1), "as it is")

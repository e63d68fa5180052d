"""pydantic: its models and annotations, where the program uses it."""

import subprocess
import sys
from datetime import date
from decimal import Decimal
from typing import Annotated, Any

import pydantic.dataclasses
import pytest
from pydantic import AnyUrl, BaseModel, Field

from tailrace.client import PayloadError
from tailrace.client._payload import decode_value, encode_value


class Line(BaseModel):
    price: Decimal
    day: date


class Order(BaseModel):
    number: int = Field(gt=0)
    lines: list[Line] = []


@pydantic.dataclasses.dataclass
class Span:
    days: int


ORDER = Order(number=1, lines=[Line(price=Decimal("1.10"), day=date(2026, 1, 1))])


def test_a_model_is_written_as_pydantic_writes_it_and_comes_back() -> None:
    payload = encode_value(ORDER)

    assert payload.data == b'{"number":1,"lines":[{"price":"1.10","day":"2026-01-01"}]}'
    assert decode_value(payload, returns=Order) == ORDER
    assert decode_value(payload) == {"number": 1, "lines": [{"price": "1.10", "day": "2026-01-01"}]}


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (list[Order], [ORDER]),
        (dict[str, Order | None], {"a": ORDER, "b": None}),
        (Annotated[int, Field(gt=0)], 1),
        (list[Annotated[str, Field(pattern="^a")]], ["ab"]),
        (AnyUrl, AnyUrl("https://example.org/")),
        (Span, Span(days=1)),
    ],
    ids=str,
)
@pytest.mark.parametrize("content_type", ["application/json", "application/msgpack"])
def test_pydantics_types_come_back_wherever_they_stand(annotation: Any, value: Any, content_type: str) -> None:
    assert decode_value(encode_value(value, content_type=content_type), returns=annotation) == value


@pytest.mark.parametrize(
    ("annotation", "value", "told"),
    [
        (Order, {"number": 0}, r"^result\.number does not fit: Input should be greater than 0$"),
        (Order, {"number": 1, "lines": [{"price": "1"}]}, r"^result\.lines\[0\]\.day does not fit: Field required$"),
        (list[Order], [{"number": 0}], r"^result\[0\]\.number does not fit: "),
        (Order, {"number": 0, "lines": 1}, r"^result does not fit: number: Input .* 0; lines: Input should be"),
        (Annotated[int, Field(gt=0)], -1, r"^result does not fit: Input should be greater than 0$"),
    ],
)
def test_what_pydantic_refuses_is_told_by_its_place_and_without_the_value(
    annotation: Any, value: Any, told: str
) -> None:
    with pytest.raises(PayloadError, match=told):
        decode_value(encode_value(value), returns=annotation)


def test_the_sdk_never_imports_pydantic_itself() -> None:
    program = """
import sys
from dataclasses import dataclass
from typing import Annotated
from tailrace.client._payload import decode_value, encode_value
import tailrace.worker
@dataclass
class Order:
    number: Annotated[int, "positive"]
assert decode_value(encode_value(Order(1)), returns=Order) == Order(1)
assert not {"pydantic", "pydantic_core", "msgpack"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-Ic", program], check=True, timeout=60)

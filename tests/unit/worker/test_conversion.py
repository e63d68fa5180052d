"""What comes in as what a task's function takes, and what goes out as whoever asked can read it."""

import asyncio
import functools
import gzip
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, TypedDict, Unpack

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import BaseModel, Field

from tailrace.client._codec import Codecs
from tailrace.client._payload import decode_value, encode_arguments
from tailrace.v1 import task_pb2
from tailrace.worker import Task, Worker
from tailrace.worker._conversion import read_arguments, write_result
from tests.unit.worker.test_execution import run, run_task, with_input


@dataclass
class Line:
    price: Decimal


@dataclass
class Order:
    number: int
    lines: list[Line]


class Customer(BaseModel):
    age: int = Field(ge=0)


class Wishes(TypedDict, total=False):
    gift: bool


def ship(order: Order, day: date | None = None, *extras: Decimal, express: bool = False, **notes: date) -> list[Any]:
    return [order, day, extras, express, notes]


def arguments(function: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return read_arguments(Task(function, task_type="any"), encode_arguments(args, kwargs))


def refusal(function: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    with pytest.raises(TypeError) as caught:
        arguments(function, *args, **kwargs)
    return str(caught.value)


def test_arguments_come_back_as_what_the_annotations_say() -> None:
    day = date(2026, 1, 1)
    order = Order(1, [Line(Decimal("1.10"))])

    args, kwargs = arguments(ship, order, day, Decimal(1), Decimal(2), express=True, packed=day)

    assert args == (order, day, Decimal(1), Decimal(2))
    assert kwargs == {"express": True, "packed": day}


def test_without_annotations_they_stay_plain() -> None:
    assert arguments(lambda order: order, Order(1, [])) == (({"number": 1, "lines": []},), {})


@pytest.mark.parametrize(
    ("args", "kwargs", "told"),
    [
        ((), {}, "missing a required argument: 'order'"),
        ((Order(1, []),), {"express": "yes"}, "express must be true or false, not text"),
        (({"number": "1", "lines": []},), {}, "order.number must be a whole number, not text"),
        (({"number": 1},), {}, "order.lines is missing"),
        (({"number": 1, "lines": [{"price": 1.5}]},), {}, "order.lines[0].price must be a decimal number as text"),
        ((Order(1, []), "soon"), {}, "day must be an ISO 8601 date, not other text"),
        ((Order(1, []), None, "1", "x"), {}, "extras[1] must be a decimal number as text, not other text"),
        ((Order(1, []),), {"packed": "late"}, "notes.packed must be an ISO 8601 date, not other text"),
    ],
)
def test_what_does_not_fit_is_told_by_the_parameter(args: tuple[Any, ...], kwargs: dict[str, Any], told: str) -> None:
    assert refusal(ship, *args, **kwargs).startswith(told)


def test_arguments_that_do_not_fit_fail_for_good_before_any_of_the_tasks_code_runs() -> None:
    calls: list[int] = []

    def remember(number: int) -> None:
        calls.append(number)

    async def remember_later(number: int) -> None:
        calls.append(number)

    for function in (remember, remember_later):
        failure = run(function, with_input(encode_arguments(("7",), {}))).failure

        assert failure.kind == task_pb2.FAILURE_KIND_APPLICATION
        assert failure.type == "TypeError"
        assert failure.non_retryable
        assert failure.message == "add cannot be called: number must be a whole number, not text"
    assert calls == []


@dataclass
class Node:
    inner: "Node | None" = None


def test_arguments_that_are_nested_without_end_do_not_fit() -> None:
    def walk(node: Node) -> None:
        pass

    data = b'{"args":[' + b'{"inner":' * 900 + b"null" + b"}" * 900 + b"]}"
    failure = run(walk, with_input(task_pb2.Payload(content_type="application/json", data=data))).failure

    assert (failure.type, failure.non_retryable) == ("TypeError", True)
    assert failure.message == "add cannot be called: node is nested too deep"


def test_a_parameter_whose_default_is_none_takes_null() -> None:
    def greet(name: str = None) -> None:  # type: ignore[assignment]  # noqa: RUF013
        pass

    assert arguments(greet, None) == ((None,), {})


def test_pydantics_models_and_annotations_are_read_by_pydantic() -> None:
    def greet(customer: Customer, *others: Customer) -> Customer:
        return customer

    assert arguments(greet, Customer(age=1), {"age": "2"}) == ((Customer(age=1), Customer(age=2)), {})
    assert refusal(greet, {"age": 1}, {"age": -1}).startswith("others[0].age does not fit: Input should be")
    assert decode_value(run(greet, with_input(encode_arguments(({"age": 1},), {}))).success) == {"age": 1}


def test_a_typed_dict_of_keywords_leaves_them_as_they_are() -> None:
    def wrap(**wishes: Unpack[Wishes]) -> None:
        pass

    assert arguments(wrap, gift=True) == ((), {"gift": True})


def test_wrapped_functions_are_read_by_what_they_wrap() -> None:
    def charge(price: Decimal) -> None:
        pass

    @functools.wraps(charge)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        charge(*args, **kwargs)

    assert arguments(wrapper, Decimal(1)) == ((Decimal(1),), {})
    assert arguments(functools.partial(charge), Decimal(1)) == ((Decimal(1),), {})


class Charger:
    def __call__(self, price: "Decimal") -> "Decimal":
        return price


def test_objects_that_can_be_called_are_read_by_their_call() -> None:
    task = Task(Charger(), task_type="charge")

    assert read_arguments(task, encode_arguments((Decimal(1),), {})) == ((Decimal(1),), {})
    assert task.result_type is Decimal


def test_annotations_that_only_type_checkers_know_are_not_checked() -> None:
    def charge(price: "NotThere", day: "date") -> None:  # type: ignore[name-defined]  # noqa: F821
        pass

    assert arguments(charge, "any", date(2026, 1, 1)) == (("any", date(2026, 1, 1)), {})


def test_a_message_is_read_as_the_class_of_the_first_parameter() -> None:
    def wait(span: Duration) -> Duration:
        return Duration(seconds=span.seconds * 2)

    payload = encode_arguments((Duration(seconds=5),), {})
    result = run(wait, with_input(payload))

    assert result.success.content_type == "application/protobuf; type=google.protobuf.Duration"
    assert decode_value(result.success, returns=Duration) == Duration(seconds=10)
    assert refusal(wait, 5) == "span must be the protobuf message google.protobuf.Duration, not a whole number"


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        (
            encode_arguments((Timestamp(),), {}),
            "the protobuf message google.protobuf.Timestamp, not google.protobuf.Duration",
        ),
        (task_pb2.Payload(content_type="text/csv", data=b"1;2"), "'text/csv', and this program reads application/json"),
        (
            task_pb2.Payload(content_type="application/json", content_encoding="zstd", data=b"1"),
            "content_encoding 'zstd', and this program has no codecs",
        ),
    ],
)
def test_input_of_a_kind_that_cannot_be_read_fails_for_good_telling_what_can(
    payload: task_pb2.Payload, told: str
) -> None:
    def wait(span: Duration) -> None:
        pass

    failure = run(wait, with_input(payload)).failure

    assert (failure.type, failure.non_retryable) == ("PayloadError", True)
    assert told in failure.message


def test_results_are_written_in_the_format_of_the_input() -> None:
    def echo(value: bytes) -> bytes:
        return value

    for content_type in ("application/json", "application/msgpack", "application/octet-stream"):
        result = run(echo, with_input(encode_arguments((b"\x00",), {}, content_type=content_type)))

        assert result.success.content_type == content_type
        assert decode_value(result.success, returns=bytes) == b"\x00"


def test_a_task_may_declare_what_its_results_are() -> None:
    def render(page: int) -> bytes:
        return bytes([page])

    task = Worker().task(content_type="application/octet-stream")(render)

    assert write_result(task, b"\x01", encode_arguments((1,), {})) == task_pb2.Payload(
        content_type="application/octet-stream", data=b"\x01"
    )


def test_a_task_cannot_declare_what_nobody_can_write() -> None:
    with pytest.raises(ValueError, match="content_type is one of application/json"):
        Worker().task(content_type="text/csv")(ship)


class Gzip:
    content_encoding = "gzip"

    def encode(self, data: bytes) -> bytes:
        return gzip.compress(data, mtime=0)

    def decode(self, data: bytes) -> bytes:
        return gzip.decompress(data)


def test_a_workers_codecs_are_those_of_its_tasks() -> None:
    task = Worker(codecs=[Gzip()]).task(name="add")(lambda x: x + 1)
    payload = encode_arguments((1,), {}, codecs=Codecs([Gzip()]))

    result = run_task(task, with_input(payload))

    assert result.success.content_encoding == "gzip"
    assert decode_value(result.success, codecs=Codecs([Gzip()])) == 2


def test_what_a_class_of_the_tasks_own_raises_when_it_is_made_ends_the_task_and_nothing_else() -> None:
    class Leaving:
        content_encoding = "leaving"

        def encode(self, data: bytes) -> bytes:
            return data

        def decode(self, data: bytes) -> bytes:
            raise SystemExit(3)

    async def later(x: int) -> None:
        await asyncio.sleep(0)

    worker = Worker(codecs=[Leaving()])
    payload = encode_arguments((1,), {}, codecs=Codecs([Leaving()]))

    for function in (lambda x: None, later):
        assert (
            run_task(worker.task(name=f"t{id(function)}")(function), with_input(payload)).failure.type == "SystemExit"
        )


@pytest.mark.parametrize(
    ("function", "type_"),
    [(ship, list[Any]), (lambda: 1, Any), (max, Any)],
)
def test_the_type_of_a_result_is_what_the_function_says(function: Callable[..., Any], type_: Any) -> None:
    assert Task(function, task_type="any").result_type == type_


def test_the_type_of_a_coroutines_result_is_what_awaiting_it_gives() -> None:
    async def fetch() -> Order:
        return Order(1, [])

    def fetch_later() -> Awaitable[Order]:
        return fetch()

    assert Task(fetch).result_type is Order
    assert Task(fetch_later, executor="asyncio").result_type is Order

"""Values on their whole way: from a client through the server into a task, and back."""

import os
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from queue import Queue
from typing import Any
from uuid import UUID

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from pydantic import BaseModel

from tailrace.client import AsyncClient, Client, PayloadError, Progress, TaskFailedError
from tailrace.testing import run_server, run_server_async
from tailrace.v1 import task_pb2
from tailrace.v1.task_service_pb2 import GetTaskRequest
from tailrace.v1.task_service_pb2_grpc import TaskServiceStub
from tailrace.worker import RetryPolicy, Worker, current_task

WITHIN_S = 20.0
MSGPACK = "application/msgpack"
BYTES = "application/octet-stream"


class Deflate:
    content_encoding = "deflate"

    def encode(self, data: bytes) -> bytes:
        return zlib.compress(data)

    def decode(self, data: bytes) -> bytes:
        return zlib.decompress(data)


@dataclass
class Line:
    price: Decimal
    taken: datetime


@dataclass
class Order:
    id: UUID
    lines: list[Line]


class Customer(BaseModel):
    name: str
    since: datetime


WHEN = datetime(2026, 11, 26, 2, tzinfo=UTC)
ORDER = Order(UUID(int=7), [Line(Decimal("1.10"), WHEN), Line(Decimal("2.20"), WHEN)])

worker = Worker(codecs=[Deflate()])
apart = Worker("apart", codecs=[Deflate()], processes=1)
gone_half = Queue[str]()


@worker.task
def total(order: Order) -> Decimal:
    assert isinstance(order, Order)
    return sum((line.price for line in order.lines), Decimal(0))


@worker.task
async def later(order: Order, span: timedelta) -> Order:
    return Order(order.id, [Line(line.price, line.taken + span) for line in order.lines])


@worker.task
def rename(customer: Customer, name: str) -> Customer:
    return Customer(name=name, since=customer.since)


@worker.task(content_type=BYTES)
def shrink(data: bytes) -> bytes:
    return data[:2]


@worker.task
def double(span: Duration) -> Duration:
    return Duration(seconds=span.seconds * 2)


@worker.task
def kind_of(value: Any) -> str:
    return type(value).__name__


@worker.task
def wrong() -> int:
    return "not a number"  # type: ignore[return-value]


@worker.task(retry=RetryPolicy(max_attempts=2, initial_backoff=timedelta(milliseconds=10)))
def half() -> Any:
    task = current_task()
    if task.attempt == 1:
        task.progress(1, 2, "half", checkpoint={"secret": 42})
        gone_half.get(timeout=WITHIN_S)
        raise ConnectionError("cut")
    return task.checkpoint


@apart.task(executor="process", queue="apart")
def total_apart(order: Order) -> tuple[int, Decimal]:
    return os.getpid(), total(order)


@apart.task(executor="process", queue="apart", content_type=BYTES)
def shrink_apart(data: bytes) -> bytes:
    return data[:2]


@apart.task(
    executor="process", queue="apart", retry=RetryPolicy(max_attempts=2, initial_backoff=timedelta(milliseconds=10))
)
def checkpoint_apart() -> Any:
    task = current_task()
    if task.attempt == 1:
        task.progress(1, 2, checkpoint={"secret": 42})
        raise ConnectionError("cut")
    return task.checkpoint


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with run_server() as server, worker.running(server.address), apart.running(server.address):
        yield server.address


@pytest.fixture
def client(address: str) -> Iterator[Client]:
    with Client(address, call_timeout=20, codecs=[Deflate()]) as connected:
        yield connected


@pytest.fixture
def plain_client(address: str) -> Iterator[Client]:
    with Client(address, call_timeout=20) as connected:
        yield connected


def record_of(address: str, task_id: str) -> task_pb2.Task:
    with grpc.insecure_channel(address) as channel:
        request = GetTaskRequest(task_id=task_id, view=task_pb2.TASK_VIEW_FULL)
        return TaskServiceStub(channel).GetTask(request, timeout=WITHIN_S).task


@pytest.mark.parametrize("content_type", ["application/json", MSGPACK])
def test_values_of_rich_types_arrive_and_come_back(client: Client, content_type: str) -> None:
    submitter = client.options(content_type=content_type)

    assert submitter.submit(total, ORDER).get(WITHIN_S) == Decimal("3.30")
    late = submitter.submit(later, ORDER, span=timedelta(days=1)).get(WITHIN_S)
    assert late == Order(ORDER.id, [Line(line.price, WHEN + timedelta(days=1)) for line in ORDER.lines])
    renamed = submitter.submit(rename, Customer(name="Ada", since=WHEN), "Eve").get(WITHIN_S)
    assert renamed == Customer(name="Eve", since=WHEN)


def test_results_are_plain_unless_a_type_is_said(client: Client) -> None:
    result = client.submit("total", {"id": str(ORDER.id), "lines": []})
    result.wait(WITHIN_S)

    assert result.get() == "0"
    assert result.returning(Decimal).get() == Decimal(0)
    assert client.result(result.id).returning(Decimal).get(WITHIN_S) == Decimal(0)
    assert client.gather([result, result.returning(Decimal)], WITHIN_S) == ["0", Decimal(0)]


def test_many_results_come_as_their_function_says(client: Client) -> None:
    assert client.gather(client.map(total, [(ORDER,), [ORDER]]), WITHIN_S) == [Decimal("3.30")] * 2
    drawn = client.as_completed(client.imap(total, [(ORDER,), [ORDER]]), WITHIN_S)
    assert [result.get(WITHIN_S) for result in drawn] == [Decimal("3.30")] * 2


def test_messages_and_bytes_travel_as_themselves(client: Client, plain_client: Client, address: str) -> None:
    assert client.submit(double, Duration(seconds=5)).get(WITHIN_S) == Duration(seconds=10)

    result = plain_client.submit(shrink, b"\x00\xff\x00")
    result.wait(WITHIN_S)
    stored = record_of(address, result.id).outcome.result
    assert (stored.content_type, stored.content_encoding) == (BYTES, "deflate")
    assert client.result(result.id).get(WITHIN_S) == b"\x00\xff"


def test_payloads_are_stored_as_the_codec_made_them(client: Client, address: str) -> None:
    result = client.submit("kind_of", ["a text"] * 100)
    assert result.get(WITHIN_S) == "list"

    stored = record_of(address, result.id).outcome.result
    assert stored.content_encoding == "deflate"
    assert zlib.decompress(stored.data) == b'"list"'


def test_checkpoints_go_through_the_codec_too(client: Client, address: str) -> None:
    told = Queue[Progress]()
    with ThreadPoolExecutor(1) as pool:
        result = client.submit(half)
        value = pool.submit(result.get, WITHIN_S, on_progress=told.put)
        progress = told.get(timeout=WITHIN_S)
        details = record_of(address, result.id).outcome.progress.details
        seen = result.progress
        gone_half.put("now")

        assert progress.details == {"secret": 42}
        assert seen is not None
        assert seen.details == {"secret": 42}
        assert details.content_encoding == "deflate"
        assert value.result(WITHIN_S) == {"secret": 42}


def test_child_processes_read_and_write_as_their_worker_does(client: Client, address: str) -> None:
    whole = client.submit(total_apart, ORDER)
    pid, price = whole.get(WITHIN_S)
    named = client.options(queue="apart").submit("shrink_apart", b"\x00\xff\x00")
    assert named.get(WITHIN_S) == b"\x00\xff"

    assert pid != os.getpid()
    assert price == Decimal("3.30")
    assert client.submit(checkpoint_apart).get(WITHIN_S) == {"secret": 42}
    stored = [record_of(address, result.id).outcome.result for result in (whole, named)]
    assert [(each.content_type, each.content_encoding) for each in stored] == [
        ("application/json", "deflate"),
        (BYTES, "deflate"),
    ]


def test_plain_arguments_are_read_by_all_and_encoded_results_by_who_has_the_codec(
    client: Client, plain_client: Client
) -> None:
    result = plain_client.submit(total, ORDER)
    result.wait(WITHIN_S)

    assert client.result(result.id).get(WITHIN_S) == "3.30"
    with pytest.raises(PayloadError, match="content_encoding 'deflate', and this program has no codecs") as caught:
        result.get(WITHIN_S)
    assert caught.value.task_id == result.id


def test_arguments_that_do_not_fit_end_the_task_with_what_is_wrong(client: Client) -> None:
    result = client.submit("total", {"id": "x", "lines": []})

    with pytest.raises(
        TypeError, match=r"^total cannot be called: order\.id must be a UUID, not other text$"
    ) as caught:
        result.get(WITHIN_S)
    assert isinstance(caught.value.__cause__, TaskFailedError)


def test_a_result_that_is_not_what_its_function_says_is_told_where_it_is_read(client: Client) -> None:
    result = client.submit(wrong)

    with pytest.raises(PayloadError, match=r"^result must be a whole number, not text$"):
        result.get(WITHIN_S)
    assert result.successful()
    assert result.returning(str).get() == "not a number"


async def test_the_asyncio_client_does_all_the_same() -> None:
    async with (
        run_server_async() as server,
        AsyncClient(server.address, call_timeout=20, codecs=[Deflate()], content_type=MSGPACK) as client,
    ):
        own = Worker(codecs=[Deflate()])
        own.task(later.function)
        with own.running(server.address):
            result = await client.submit(later, ORDER, timedelta())
            by_name = await client.submit("later", ORDER, timedelta())

            assert await result.get(WITHIN_S) == ORDER
            assert await by_name.returning(Order).get(WITHIN_S) == ORDER
            assert (await by_name)["id"] == str(ORDER.id)
            assert await client.gather(await client.map(later, [(ORDER, timedelta())]), WITHIN_S) == [ORDER]
            drawn = client.as_completed(client.imap(later, [(ORDER, timedelta())]), WITHIN_S)
            assert [await each.get(WITHIN_S) async for each in drawn] == [ORDER]

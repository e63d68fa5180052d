"""The options of a submit against a real server: what comes of them there."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tailrace.client import AsyncClient, Client, InvalidRequestError, TaskFailedError, TaskRevokedError
from tailrace.testing import run_server, run_server_async
from tests.integration.hand_worker import HandWorker

MINUTE = timedelta(minutes=1)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with run_server() as server:
        yield server.address


@pytest.fixture
def client(address: str) -> Iterator[Client]:
    with Client(address, call_timeout=20) as connected:
        yield connected


@pytest.fixture
def worker(address: str) -> Iterator[HandWorker]:
    worker = HandWorker(address)
    yield worker
    worker.close()


@pytest.fixture
async def async_client() -> AsyncIterator[AsyncClient]:
    async with run_server_async() as server, AsyncClient(server.address, call_timeout=20) as connected:
        yield connected


def test_options_reach_the_worker(client: Client, worker: HandWorker) -> None:
    past = datetime(2020, 1, 1, tzinfo=UTC)
    options = client.options(
        schedule_time=past,
        start_within=MINUTE,
        execution_timeout=2 * MINUTE,
        total_timeout=3 * MINUTE,
        labels={"customer": "7"},
        headers={"tenant": "acme"},
        parent_task_id="t0",
    )
    result = options.submit("add", 1, 2)

    assignment = worker.take()
    worker.succeed(assignment, 3)

    spec = assignment.spec
    assert assignment.parent_task_id == "t0"
    assert spec.schedule_time.ToDatetime(tzinfo=UTC) == past
    assert (spec.execution_timeout.ToTimedelta(), spec.total_timeout.ToTimedelta()) == (2 * MINUTE, 3 * MINUTE)
    assert (dict(spec.labels), dict(spec.headers)) == ({"customer": "7"}, {"tenant": "acme"})
    assert result.get(timeout=10) == 3


def test_a_task_that_nobody_starts_in_time_is_revoked(client: Client) -> None:
    patient = client.options(queue="never").submit("add", 1, 2)
    within = client.options(queue="never", start_within=timedelta(milliseconds=50)).submit("add", 1, 2)
    by_then = client.options(queue="never", start_deadline=datetime.now(UTC)).submit("add", 1, 2)

    for result in (within, by_then):
        with pytest.raises(TaskRevokedError) as caught:
            result.get(timeout=20)
        assert caught.value.kind == "TIMEOUT"
    assert patient.state == "PENDING"


def test_a_task_that_is_not_done_in_time_fails(client: Client) -> None:
    result = client.options(queue="never", total_timeout=timedelta(milliseconds=50)).submit("add", 1, 2)

    with pytest.raises(TaskFailedError) as caught:
        result.get(timeout=20)
    assert caught.value.kind == "TIMEOUT"


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"execution_timeout": timedelta(milliseconds=1)}, "execution_timeout"),
        ({"total_timeout": timedelta(0)}, "total_timeout"),
        ({"start_within": timedelta(days=400)}, "start_within"),
        ({"labels": {"k" * 65: "v"}}, "labels"),
        ({"headers": {"k": "v" * 9000}}, "headers"),
        ({"parent_task_id": "a b"}, "parent_task_id"),
    ],
)
def test_a_value_out_of_bounds_is_refused_by_the_server_and_named(
    client: Client, options: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidRequestError, match=field):
        client.options(**options).submit("add", 1, 2)


async def test_the_asyncio_client_takes_the_same_options(async_client: AsyncClient) -> None:
    options = async_client.options(delay=MINUTE, labels={"customer": "7"}, total_timeout=2 * MINUTE)

    result = await options.submit("add", 1, 2)

    assert result.state == "PENDING"
    with pytest.raises(InvalidRequestError, match="delay: must not be set together with schedule_time"):
        async_client.options(delay=MINUTE, schedule_time=datetime.now(UTC))

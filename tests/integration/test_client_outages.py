"""Clients whose server stops and comes back."""

import asyncio
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tailrace.client import AsyncClient, Client, ServerUnavailableError, WaitTimeoutError
from tailrace.testing import run_server, run_server_async
from tailrace.testing.embedded import RunningServer
from tests.faults.processes import Processes
from tests.integration.hand_worker import HandWorker


class Place:
    """An address and a store that outlive the servers."""

    def __init__(self, directory: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        self.store = f"sqlite:///{directory}/tailrace.db"

    def server(self) -> AbstractContextManager[RunningServer]:
        return run_server(store=self.store, listen=self.address)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def worker(place: Place) -> Iterator[HandWorker]:
    worker = HandWorker(place.address)
    yield worker
    worker.close()


def test_a_wait_ends_with_the_truth_though_the_server_was_away(place: Place, worker: HandWorker) -> None:
    with Client(place.address) as client, ThreadPoolExecutor(4) as threads:
        with place.server():
            results = client.map("square", [(number,) for number in range(4)])
            waits = [threads.submit(result.get, 60) for result in results]
            assert [result.state for result in results] == ["PENDING"] * 4

        with place.server():
            worker.work_through(4)

            assert [wait.result(60) for wait in waits] == [0, 1, 4, 9]


def test_a_submit_made_while_the_server_is_away_is_accepted_when_it_is_back(place: Place, worker: HandWorker) -> None:
    with Client(place.address, call_timeout=60) as client, ThreadPoolExecutor(1) as threads:
        submitting = threads.submit(client.submit, "square", 5)

        with place.server():
            result = submitting.result(60)
            worker.work_through(1)

            assert result.get(timeout=30) == 25


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    processes = Processes(tmp_path)
    yield processes
    processes.close()


def test_a_client_that_found_no_server_reaches_it_soon_after_it_is_there(place: Place, processes: Processes) -> None:
    server = processes.server(place.store)
    server.process.kill()

    with Client(server.address) as client, ThreadPoolExecutor(1) as threads:
        asking = threads.submit(client.server_info)
        server.start()

        assert asking.result(timeout=3).max_batch_size == 1000


def test_a_wait_that_found_no_server_can_be_repeated_once_there_is_one(place: Place, worker: HandWorker) -> None:
    with Client(place.address, call_timeout=0.5) as client:
        with place.server():
            result = client.result(client.submit("square", 6).id)
            worker.work_through(1)
        with pytest.raises(WaitTimeoutError) as caught:
            result.get(timeout=0.5)
        assert isinstance(caught.value.__cause__, ServerUnavailableError)
        with pytest.raises(ServerUnavailableError):
            result.ready()

        with place.server():
            assert result.get(timeout=60) == 36


async def test_asynchronous_waits_end_with_the_truth_though_the_server_was_away(
    place: Place, worker: HandWorker
) -> None:
    async with AsyncClient(place.address) as client:
        async with run_server_async(store=place.store, listen=place.address):
            results = await client.map("square", [(number,) for number in range(150)])
            waits = [asyncio.create_task(result.get(60)) for result in results]
            assert await results[0].refresh() == "PENDING"

        async with run_server_async(store=place.store, listen=place.address):
            await asyncio.to_thread(worker.work_through, 150)

            assert await asyncio.gather(*waits) == [number * number for number in range(150)]


async def test_as_completed_goes_on_though_the_server_was_away(place: Place, worker: HandWorker) -> None:
    async with AsyncClient(place.address) as client:
        async with run_server_async(store=place.store, listen=place.address):
            results = await client.map("square", [(1,), (2,)])
            completed = client.as_completed(results, timeout=60)
            await asyncio.to_thread(worker.work_through, 1)
            first = await anext(completed)

        async with run_server_async(store=place.store, listen=place.address):
            await asyncio.to_thread(worker.work_through, 1)

            rest = [result async for result in completed]

    assert {first.id, *(result.id for result in rest)} == {result.id for result in results}
    assert len(rest) == 1

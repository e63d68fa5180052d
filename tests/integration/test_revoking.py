"""Revoking through both SDKs, over each store: what callers see, what running code is told, and how soon."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta

import pytest

from tailrace.client import Client, RetryPolicy, TaskNotFoundError, TaskRevokedError, TaskState
from tailrace.testing import run_server
from tailrace.worker import Worker, current_task
from tests.redis_server import redis_server

WITHIN_S = 20.0
NEWS_S = 1.0
"""How soon a running task hears that it is to stop."""


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    with ExitStack() as stack:
        store = None
        if request.param == "redis":
            store = stack.enter_context(redis_server(appendonly="no", maxmemory_policy="noeviction")).url
        yield stack.enter_context(run_server(store=store)).address


@pytest.fixture
def client(address: str) -> Iterator[Client]:
    with Client(address) as client:
        yield client


@pytest.fixture
def queue(request: pytest.FixtureRequest) -> str:
    """A queue of the test's own on the server that all share."""
    return str(request.node.name).translate(str.maketrans("[]", "__"))[:64].rstrip("_")


class Probe:
    """What running code has come to."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.told = threading.Event()
        self.told_at = 0.0

    def note_told(self) -> None:
        self.told_at = time.monotonic()
        self.told.set()


@pytest.mark.parametrize("force", [False, True])
def test_a_waiting_task_ends_at_once_and_says_why(client: Client, queue: str, force: bool) -> None:
    result = client.options(queue=queue).submit("nobody_runs_this")

    assert result.revoke(force=force, reason="the order was cancelled") is TaskState.REVOKED

    with pytest.raises(TaskRevokedError, match="the order was cancelled"):
        result.get(timeout=WITHIN_S)
    assert result.revoke() is TaskState.REVOKED


def test_an_unknown_task_cannot_be_revoked(client: Client) -> None:
    with pytest.raises(TaskNotFoundError):
        client.result("nobody-submitted-this").revoke()


@pytest.mark.parametrize("force", [False, True])
def test_a_coroutine_is_cancelled_within_a_second(client: Client, address: str, queue: str, force: bool) -> None:
    worker, probe = Worker([queue]), Probe()

    @worker.task(queue=queue, retry=RetryPolicy(max_attempts=5))
    async def rest_for_ever() -> None:
        probe.begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            probe.note_told()
            raise

    with worker.running(address):
        result = client.submit(rest_for_ever)
        assert probe.begun.wait(WITHIN_S)
        asked_at = time.monotonic()
        state = result.revoke(force=force, reason="enough")

        assert probe.told.wait(WITHIN_S)
        assert probe.told_at - asked_at < NEWS_S
        assert state is (TaskState.REVOKED if force else TaskState.STARTED)
        with pytest.raises(TaskRevokedError, match="enough"):
            result.get(timeout=WITHIN_S)


def test_a_coroutine_that_returns_all_the_same_has_succeeded(client: Client, address: str, queue: str) -> None:
    worker, probe = Worker([queue]), Probe()

    @worker.task(queue=queue)
    async def finish_anyway() -> str:
        probe.begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            probe.note_told()
        return "finished"

    with worker.running(address):
        result = client.submit(finish_anyway)
        assert probe.begun.wait(WITHIN_S)
        result.revoke()

        assert result.get(timeout=WITHIN_S) == "finished"


@pytest.mark.parametrize("force", [False, True])
def test_a_thread_is_told_within_a_second_and_may_raise(client: Client, address: str, queue: str, force: bool) -> None:
    worker, probe = Worker([queue]), Probe()

    @worker.task(queue=queue, retry=RetryPolicy(max_attempts=5))
    def rest_until_told() -> None:
        probe.begun.set()
        assert current_task().revoked.wait(WITHIN_S)
        probe.note_told()
        raise RuntimeError("stopped half-way")

    with worker.running(address):
        result = client.submit(rest_until_told)
        assert probe.begun.wait(WITHIN_S)
        asked_at = time.monotonic()
        result.revoke(force=force, reason="enough")

        assert probe.told.wait(WITHIN_S)
        assert probe.told_at - asked_at < NEWS_S
        with pytest.raises(TaskRevokedError, match="enough"):
            result.get(timeout=WITHIN_S)


def test_a_thread_that_returns_all_the_same_has_succeeded(client: Client, address: str, queue: str) -> None:
    worker, probe = Worker([queue]), Probe()

    @worker.task(queue=queue)
    def finish_anyway() -> str:
        probe.begun.set()
        assert current_task().revoked.wait(WITHIN_S)
        return "finished"

    with worker.running(address):
        result = client.submit(finish_anyway)
        assert probe.begun.wait(WITHIN_S)
        result.revoke()

        assert result.get(timeout=WITHIN_S) == "finished"


def test_what_a_thread_returns_after_force_is_refused(client: Client, address: str, queue: str) -> None:
    worker, probe = Worker([queue]), Probe()

    @worker.task(queue=queue)
    def finish_anyway() -> str:
        probe.begun.set()
        assert current_task().revoked.wait(WITHIN_S)
        return "finished"

    with worker.running(address):
        result = client.submit(finish_anyway)
        assert probe.begun.wait(WITHIN_S)
        assert result.revoke(force=True) is TaskState.REVOKED

    assert result.state is TaskState.REVOKED


def test_a_running_task_is_left_alone_when_another_is_revoked(client: Client, address: str, queue: str) -> None:
    worker, probe = Worker([queue]), Probe()
    release = threading.Event()

    @worker.task(queue=queue)
    def rest() -> bool:
        probe.begun.set()
        assert release.wait(WITHIN_S)
        return current_task().revoked.is_set()

    with worker.running(address):
        result = client.submit(rest)
        assert probe.begun.wait(WITHIN_S)
        client.options(queue=queue, delay=timedelta(minutes=1)).submit("another").revoke()
        release.set()

        assert result.get(timeout=WITHIN_S) is False


def test_a_task_that_is_done_stays_as_it_is(client: Client, address: str, queue: str) -> None:
    worker = Worker([queue])
    task = worker.task(name="one", queue=queue)(lambda: 1)

    with worker.running(address):
        result = client.submit(task)
        assert result.get(timeout=WITHIN_S) == 1

    assert result.revoke(force=True) is TaskState.SUCCESS
    assert result.get() == 1

"""Servers in this process, on a thread or on the caller's event loop."""

import asyncio
import logging
import tempfile
import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import structlog

from tailrace.server import Server, ServerConfig
from tailrace.server.store.sqlite.store import SqliteStore
from tailrace.testing.clock import MovableClock

START_S = 30.0
NO_GRACE = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningServer:
    """A server that can be called."""

    address: str
    """HOST:PORT, for ``Client`` and ``Worker``."""
    server: Server
    """The server itself."""
    clock: MovableClock | None = None
    """Of its store; None where that has one of its own."""

    def advance(self, by: timedelta) -> None:
        """Move the store's clock forward: what becomes due by it, such as a retry or a delay, happens within a second.

        Everything on the server moves with it: a task that runs loses its lease, unless that is longer, and results
        expire. Clients and workers are not moved: what ``get(timeout=...)`` waits for is real time.

        Raises:
            ValueError: ``by`` is negative. No store's clock goes back.
            RuntimeError: The store was named when the server was started, and has a clock of its own.
        """
        if self.clock is None:
            raise RuntimeError("the clock of a store that you named cannot be moved; leave out store=")
        self.clock.advance(by)


@contextmanager
def run_server(*, store: str | None = None, listen: str = "127.0.0.1:0") -> Generator[RunningServer, None, None]:
    """Run a server on a thread until the block ends.

    For tests that use the synchronous client and workers. A test on an event loop of its own uses ``run_server_async``
    instead: gRPC does not get on well with several event loops in one process.

    Args:
        store: URL of the store; None is an embedded one that is deleted afterwards.
        listen: HOST:PORT; port 0 picks a free one.

    Raises:
        RuntimeError: It could not start; the cause tells why.
    """
    thread = _ServerThread(store, listen)
    try:
        yield thread.start()
    finally:
        thread.stop()


@asynccontextmanager
async def run_server_async(
    *, store: str | None = None, listen: str = "127.0.0.1:0"
) -> AsyncGenerator[RunningServer, None]:
    """Run a server on the running event loop until the block ends. See ``run_server`` for the arguments."""
    _quieten()
    with tempfile.TemporaryDirectory(prefix="tailrace-") as directory:
        clock = None if store else MovableClock()
        own_store = SqliteStore(Path(directory, "tailrace.db"), clock=clock) if clock else None
        server = Server(ServerConfig(listen=listen, store=store), own_store)
        await server.start()
        try:
            yield RunningServer(address=server.address, server=server, clock=clock)
        finally:
            await server.stop(NO_GRACE)


def _quieten() -> None:
    """Keep a test that passes from printing a line for each call, unless its project has its own idea of structlog."""
    if not structlog.is_configured():
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))


class _ServerThread:
    """An event loop on a thread, with a server on it."""

    def __init__(self, store: str | None, listen: str) -> None:
        self._store = store
        self._listen = listen
        self._thread = threading.Thread(target=self._run, name="tailrace-server", daemon=True)
        self._started = threading.Event()
        self._running: RunningServer | None = None
        self._error: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: asyncio.Event | None = None

    def start(self) -> RunningServer:
        self._thread.start()
        if not self._started.wait(START_S):
            raise TimeoutError(f"the server did not start within {START_S:g} s")
        if self._running is None:
            raise RuntimeError("the server could not start") from self._error
        return self._running

    def stop(self) -> None:
        if self._loop is not None and self._end is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(START_S)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that started this one
            self._error = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        async with run_server_async(store=self._store, listen=self._listen) as running:
            self._running = running
            self._started.set()
            await self._end.wait()

"""What one server process counts, put together, and served over HTTP."""

import asyncio
from collections.abc import Callable, Mapping

from tailrace.server.coordinator.operators import Operators
from tailrace.server.dispatch.presence import Presence
from tailrace.server.metrics.calls import Calls, StoreCalls, measured
from tailrace.server.metrics.catalogue import Sources
from tailrace.server.metrics.endpoint import Endpoint, Response
from tailrace.server.metrics.exposition import collect, render
from tailrace.server.metrics.loop_lag import LoopLag
from tailrace.server.metrics.names import Names
from tailrace.server.metrics.queue_depths import QueueDepths
from tailrace.server.metrics.tally import Tally
from tailrace.server.store.base import Store


class Metrics:
    """Everything is of this process alone but for the queues, which are the store's. No two servers share any of it."""

    def __init__(self, *, version: str) -> None:
        self.calls = Calls()
        """What the edge reports to."""
        self._version = version
        self._names = Names()
        self._tally = Tally(self._names)
        self._store_calls = StoreCalls()
        self._loop_lag = LoopLag()
        self._queues: QueueDepths | None = None
        self._presence: Presence | None = None
        self._repairs: Mapping[str, int] = {}
        self._endpoint: Endpoint | None = None

    def watch(self, store: Store) -> Store:
        """Count what a store that is not open yet is going to do; what is returned is to be called in its place."""
        store.observe(self._tally.observe)
        return measured(store, self._store_calls)

    def look_at(self, *, operators: Operators, presence: Presence, repairs: Mapping[str, int]) -> None:
        """Name what is asked at each scrape."""
        self._queues = QueueDepths(operators)
        self._presence = presence
        self._repairs = repairs

    async def start(self, address: str, is_ready: Callable[[], bool]) -> int:
        """Serve HOST:PORT, and tell the port.

        Raises:
            OSError: The address cannot be listened on; the text says what to do.
        """

        async def ready(_: str) -> Response:
            if is_ready():
                return Response(b"ready\n")
            return Response(b"not serving\n", status="503 Service Unavailable")

        self._endpoint = Endpoint({"/metrics": self._page, "/healthz": _healthy, "/readyz": ready})
        host, _, port = address.rpartition(":")
        try:
            return await self._endpoint.start(host.strip("[]"), int(port))
        except OSError as error:
            why = error.strerror or str(error)
            raise OSError(f"cannot serve metrics on {address} ({why}); choose another --metrics HOST:PORT") from None

    async def run(self) -> None:
        """Measure until cancelled."""
        await self._loop_lag.run()

    async def stop(self) -> None:
        """Stop serving. A second call does nothing."""
        if self._endpoint is not None:
            await self._endpoint.stop()
        if self._queues is not None:
            await self._queues.stop()

    async def scrape(self, accept: str = "") -> tuple[bytes, str]:
        """Write down all numbers as of now; tells their content type too."""
        assert self._queues is not None, "look_at is called first"
        assert self._presence is not None, "look_at is called first"
        queues = await self._queues.latest()
        sources = Sources(
            names=self._names,
            tally=self._tally,
            calls=self.calls,
            store_calls=self._store_calls,
            loop_lag=self._loop_lag,
            repairs=dict(self._repairs),
            workers=self._presence.workers(),
            queues=queues,
            version=self._version,
        )
        # The loop has better things to do than to write thousands of lines.
        return await asyncio.to_thread(render, collect(sources), accept)

    async def _page(self, accept: str) -> Response:
        return Response(*await self.scrape(accept))


async def _healthy(_: str) -> Response:
    # That this is answered says that the event loop turns.
    await asyncio.sleep(0)
    return Response(b"ok\n")

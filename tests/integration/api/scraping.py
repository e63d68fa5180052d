"""What a server tells Prometheus, as a test reads it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tailrace.server.metrics.catalogue import FAMILIES
from tailrace.server.store.base import Store
from tests.integration.api.serving import CALL_S, Api, serving
from tests.store.harness import Harness

Labels = str | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a GET brought."""

    status: int
    headers: dict[str, str]
    body: str


async def get(address: str | None, path: str, *, method: str = "GET", accept: str = "*/*") -> Answer:
    assert address is not None
    host, _, port = address.rpartition(":")
    async with asyncio.timeout(CALL_S):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: {address}\r\nAccept: {accept}\r\n\r\n".encode())
        raw = await reader.read()
        writer.close()
        await writer.wait_closed()
    head, _, body = raw.decode().partition("\r\n\r\n")
    status, *fields = head.split("\r\n")
    headers = dict(field.lower().split(": ", 1) for field in fields)
    return Answer(int(status.split(" ")[1]), headers, body)


class Scrape:
    """All samples of one scrape."""

    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self._samples = [sample for family in self.families.values() for sample in family.samples]

    def values(self, name: str) -> dict[Labels, float]:
        """Tell the samples of one name by the values of their labels, in the order in which they are documented."""
        found: dict[Labels, float] = {}
        family = next(each for each in FAMILIES if name.startswith(each.name))
        for sample in self._samples:
            if sample.name == name:
                labels = tuple(sample.labels[label] for label in (*family.labels, "le") if label in sample.labels)
                found[labels[0] if len(labels) == 1 else labels] = sample.value
        return found

    def value(self, name: str) -> float:
        (value,) = self.values(name).values()
        return value


async def scrape(api: Api) -> Scrape:
    answer = await get(api.server.metrics_address, "/metrics")
    assert answer.status == 200
    return Scrape(answer.body)


@asynccontextmanager
async def metered(harness: Harness, store: Store | None = None, **settings: Any) -> AsyncIterator[Api]:
    """Run a server that serves metrics; its readings of queues are as of now."""
    async with serving(harness, store, metrics="127.0.0.1:0", **settings) as api:
        yield api

"""A way to Redis on which the answer to one chosen script is lost after the script has run."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

CHUNK_BYTES = 1 << 16


class RedisProxy:
    """Passes everything on, except the answer that ``lose_answer_to`` asks it to lose."""

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname, parts.port)
        self._sha: bytes | None = None
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.Task[None]] = set()
        self.lost = 0
        """Answers that were lost so far."""

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def lose_answer_to(self, sha: str) -> None:
        """Swallow the next answer to this script and break its connection."""
        self._sha = sha.encode()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for link in self._links:
            link.cancel()
        if self._links:
            await asyncio.wait(self._links)
        await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = asyncio.create_task(self._link(reader, writer))
        self._links.add(link)
        link.add_done_callback(self._links.discard)

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection(*self._upstream)
        is_to_lose = asyncio.Event()

        async def ask() -> None:
            while chunk := await reader.read(CHUNK_BYTES):
                # Redis commands are short enough that name and SHA come in one piece.
                if self._sha is not None and b"EVALSHA" in chunk and self._sha in chunk:
                    self._sha = None
                    is_to_lose.set()
                upstream_writer.write(chunk)
                await upstream_writer.drain()

        async def answer() -> None:
            while chunk := await upstream_reader.read(CHUNK_BYTES):
                if is_to_lose.is_set():
                    self.lost += 1
                    return
                writer.write(chunk)
                await writer.drain()

        ways = [asyncio.create_task(ask()), asyncio.create_task(answer())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.wait(ways)
            for end in (writer, upstream_writer):
                end.close()


@asynccontextmanager
async def redis_proxy(upstream: str) -> AsyncIterator[RedisProxy]:
    """Run a proxy in front of a Redis."""
    proxy = RedisProxy(upstream)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()

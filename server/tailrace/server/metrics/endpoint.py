"""Answers GET over HTTP, and nothing else: one request a connection, little of it kept, none waited for for long."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

import structlog

MAX_HEAD_BYTES: Final = 16 << 10
MAX_CONNECTIONS: Final = 64
"""More at a time are closed without an answer."""
DEADLINE_S: Final = 10.0
"""For the whole of a request and its answer."""
TEXT: Final = "text/plain; charset=utf-8"

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Response:
    """What a path answers."""

    body: bytes
    content_type: str = TEXT
    status: str = "200 OK"


Page = Callable[[str], Awaitable[Response]]
"""Makes the answer to one GET; it is given the request's Accept header."""


class Endpoint:
    """Serves some paths at one address."""

    def __init__(self, pages: Mapping[str, Page]) -> None:
        self._pages = pages
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int) -> int:
        """Begin to listen, and tell the port.

        Raises:
            OSError: The address cannot be listened on.
        """
        self._server = await asyncio.start_server(self._connected, host, port, limit=MAX_HEAD_BYTES)
        number: int = self._server.sockets[0].getsockname()[1]
        return number

    async def stop(self) -> None:
        """Stop listening and hang up. A second call does nothing."""
        if self._server is None:
            return
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        if self._connections:
            await asyncio.wait(self._connections)
        await self._server.wait_closed()
        self._server = None

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= MAX_CONNECTIONS:
            writer.close()
            return
        connection = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(DEADLINE_S):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(_rendered(await self._answer(head), is_head=head.startswith(b"HEAD ")))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            logger.debug("http_request_broken", error=repr(error))
            writer.transport.abort()  # to close would wait for as long as the client reads nothing
        finally:
            writer.close()

    async def _answer(self, head: bytes) -> Response:
        request, *fields = head.decode("latin-1").split("\r\n")
        method, _, target = request.partition(" ")
        path = target.partition(" ")[0].partition("?")[0]
        if method not in {"GET", "HEAD"}:
            return Response(b"only GET is answered here\n", status="405 Method Not Allowed")
        if (page := self._pages.get(path)) is None:
            return Response(f"there are {', '.join(self._pages)}\n".encode(), status="404 Not Found")
        try:
            return await page(_accept_of(fields))
        except Exception:
            logger.exception("http_request_crashed", path=path)
            return Response(b"internal error\n", status="500 Internal Server Error")


def _accept_of(fields: list[str]) -> str:
    named = (field.partition(":") for field in fields)
    return ",".join(value.strip() for name, _, value in named if name.strip().lower() == "accept")


def _rendered(response: Response, *, is_head: bool) -> bytes:
    head = (
        f"HTTP/1.1 {response.status}\r\nContent-Type: {response.content_type}\r\n"
        f"Content-Length: {len(response.body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode("latin-1") + (b"" if is_head else response.body)

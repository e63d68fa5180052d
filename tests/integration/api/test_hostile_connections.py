"""Connections that speak no gRPC, or nothing: closed, and nobody else notices."""

import asyncio
import contextlib
import os
import socket
import ssl
from typing import Any

import psutil
import pytest

from tests.integration.api.serving import CALL_S, Api
from tests.wait import eventually_async


def http_1() -> bytes:
    return b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


def noise() -> bytes:
    return os.urandom(4_096)


def tls_hello() -> bytes:
    """Make the first flight of a TLS client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def broken_http_2() -> bytes:
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 64


@pytest.mark.parametrize("opening", [http_1, noise, tls_hello, broken_http_2])
async def test_bytes_that_are_no_grpc_close_their_connection_and_harm_nobody(lone_api: Api, opening: Any) -> None:
    host, _, port = lone_api.server.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(opening())
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(CALL_S):
                while await reader.read(65_536):
                    pass
        assert reader.at_eof() or reader.exception() is not None
    finally:
        writer.close()
    await lone_api.check_unharmed()


async def test_many_connections_that_say_nothing_keep_nobody_out(lone_api: Api) -> None:
    host, _, port = lone_api.server.address.rpartition(":")
    process = psutil.Process()

    def open_count() -> int:
        return sum(connection.laddr.port == int(port) for connection in process.net_connections("tcp4"))

    before = open_count()
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(socket.create_connection((host, int(port)), timeout=CALL_S))

        await lone_api.check_unharmed()
    # Before the server stops: gRPC 1.78 may crash when it does so with connections that never spoke.
    await eventually_async(lambda: open_count() <= before, "the server has let go of them")

import asyncio
import socket

import psutil
import pytest

from tailrace.server.metrics import endpoint
from tailrace.server.metrics.endpoint import Endpoint, Response
from tests.wait import eventually_async

MORE_THAN_THE_KERNEL_TAKES = bytes(32 << 20)


async def large(_: str) -> Response:
    return Response(MORE_THAN_THE_KERNEL_TAKES)


async def test_client_that_reads_nothing_is_hung_up_on_when_its_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "DEADLINE_S", 0.2)
    served = Endpoint({"/large": large})
    port = await served.start("127.0.0.1", 0)

    def accepted() -> list[int]:
        connections = psutil.Process().net_connections("tcp")
        return [each.fd for each in connections if each.laddr.port == port and each.status != psutil.CONN_LISTEN]

    with socket.create_connection(("127.0.0.1", port)) as client:
        client.setblocking(False)
        await asyncio.get_running_loop().sock_sendall(client, b"GET /large HTTP/1.1\r\n\r\n")
        await eventually_async(accepted, "the connection is accepted")
        await eventually_async(lambda: not accepted(), "the connection is given up", within_s=5.0)
    await served.stop()

"""A server process with connections that never spoke stops as gracefully as any other."""

import contextlib
import socket
from pathlib import Path

from tests.faults.processes import Processes


def test_server_stops_in_good_order_while_connections_never_speak(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    try:
        server = processes.server(f"sqlite:///{tmp_path}/tailrace.db")
        host, _, port = server.address.rpartition(":")
        with contextlib.ExitStack() as stack:
            for _ in range(50):
                stack.enter_context(socket.create_connection((host, int(port)), timeout=10))
            server.process.ask_to_stop()

            assert server.process.wait() == 0
    finally:
        processes.close()

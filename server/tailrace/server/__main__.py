"""``python -m tailrace.server``: arguments, signals and exit codes; no logic."""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace

from tailrace.server.config import ServerConfig, from_environment
from tailrace.server.domain.errors import TailraceError
from tailrace.server.logging import configure
from tailrace.server.process import Server

EXIT_OK, EXIT_FAILED, EXIT_USAGE = 0, 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run a server until SIGTERM or SIGINT, then stop it gracefully; a second signal stops it at once.

    Returns:
        0 after a graceful stop, 1 when the server could not start or broke, 2 for arguments that make no sense.
    """
    try:
        config = _config(argv)
    except ValueError as error:
        print(f"tailrace server: {error}", file=sys.stderr)  # noqa: T201
        return EXIT_USAGE
    configure(config.log_level, config.log_format)
    try:
        return asyncio.run(_serve(config))
    except (TailraceError, OSError, ValueError) as error:
        print(f"tailrace server: {error}", file=sys.stderr)  # noqa: T201
        return EXIT_FAILED


def _config(argv: Sequence[str] | None) -> ServerConfig:
    config = from_environment(os.environ)
    parser = argparse.ArgumentParser(prog="tailrace server", description="Run a Tailrace server.")
    parser.add_argument("--listen", metavar="HOST:PORT", default=config.listen, help="default: %(default)s")
    parser.add_argument(
        "--store",
        metavar="URL",
        default=config.store,
        help="sqlite:///path, redis://host:port/db, redis+cluster://host:port, or rediss for TLS; "
        "default: an embedded store in your state directory",
    )
    parser.add_argument(
        "--metrics",
        metavar="HOST:PORT",
        default=config.metrics,
        help="serve metrics for Prometheus over HTTP, for example on 127.0.0.1:7441; default: nowhere",
    )
    parser.add_argument(
        "--max-queue-depth",
        metavar="N",
        type=int,
        default=config.max_queue_depth,
        help="refuse more tasks than may wait in one queue; default: no limit",
    )
    parser.add_argument(
        "--stop-on-empty-store",
        action="store_true",
        default=config.stop_on_empty_store,
        help="stop, instead of going on, when the store came back without its data",
    )
    parser.add_argument("--log-level", default=config.log_level, help="debug, info, warning or error")
    parser.add_argument("--log-format", default=config.log_format, help="auto, console or json")
    arguments = parser.parse_args(argv)
    return replace(config, **vars(arguments))


async def _serve(config: ServerConfig) -> int:
    server = Server(config)
    print(f"store: {server.store.description}", file=sys.stderr, flush=True)  # noqa: T201
    stop = _stop_signals()
    await server.start()
    print(f"tailrace server is listening on {server.address}", file=sys.stderr, flush=True)  # noqa: T201
    if server.metrics_address is not None:
        print(f"metrics: http://{server.metrics_address}/metrics", file=sys.stderr, flush=True)  # noqa: T201
    waits = [asyncio.create_task(stop.wait()), asyncio.create_task(server.failed.wait())]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    await server.stop()
    return EXIT_FAILED if server.failed.is_set() else EXIT_OK


def _stop_signals() -> asyncio.Event:
    """Set the event at the first signal; the second has its default effect, which ends the process."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        stop.set()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    return stop


if __name__ == "__main__":
    sys.exit(main())

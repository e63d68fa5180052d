"""Crashes of the server and of Redis, and stops of the server, under a crowd of waits and a long queue."""

import time
from functools import partial

import pytest

from tests.faults import journal
from tests.faults.figures import Figures
from tests.faults.processes import Processes, ServerProcess
from tests.faults.scene import hold_to_the_truth
from tests.redis_server import RedisServer
from tests.wait import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

QUEUED_LESS = 500
HANGUPS = 5
EXIT_WITHIN_S = 12.0
"""The server's default grace, and the two seconds that gRPC has on top of it."""


async def test_nothing_is_lost_when_the_server_is_killed(
    processes: Processes, store_url: str, figures: Figures, caplog: pytest.LogCaptureFixture
) -> None:
    def kill_server(server: ServerProcess) -> None:
        server.process.kill()
        server.start()

    await hold_to_the_truth(processes, store_url, kill_server, figures)

    # The crowd's waits share a stream for each of its two clients.
    interrupted = [record for record in caplog.records if record.getMessage().startswith("watch_interrupted")]
    assert len(interrupted) >= 2


async def test_nothing_is_lost_when_redis_is_killed(processes: Processes, redis: RedisServer, figures: Figures) -> None:
    def kill_redis(server: ServerProcess) -> None:
        failures = len(server.process.lines_with("_failed"))
        redis.kill()
        # Long enough away that nobody gets by without trying again.
        server.process.wait_for_line("_failed", count=failures + 6)
        redis.start()

    await hold_to_the_truth(processes, redis.url, kill_redis, figures)


async def test_nothing_is_lost_while_redis_hangs_up_again_and_again(
    processes: Processes, redis: RedisServer, figures: Figures
) -> None:
    def hang_up(server: ServerProcess) -> None:
        for _ in range(HANGUPS):
            eventually(partial(_has_hung_up, redis, "normal"), "the server calls again")
            eventually(partial(_has_hung_up, redis, "pubsub"), "the server listens again")
            redis.command("SCRIPT", "FLUSH")
            wanted = journal.count(processes.directory) + 10
            eventually(partial(_has_run, processes, wanted), "the workers go on")

    await hold_to_the_truth(processes, redis.url, hang_up, figures, queued=QUEUED_LESS)


async def test_server_that_is_told_to_stop_under_load_exits_in_time_and_loses_nothing(
    processes: Processes, store_url: str, figures: Figures
) -> None:
    def stop_server(server: ServerProcess) -> None:
        began_at = time.monotonic()
        server.process.ask_to_stop()
        assert server.process.wait(EXIT_WITHIN_S) == 0
        figures.add(f"the server stopped after {time.monotonic() - began_at:.1f} s")
        server.start()

    await hold_to_the_truth(processes, store_url, stop_server, figures, queued=QUEUED_LESS)


def _has_hung_up(redis: RedisServer, kind: str) -> bool:
    return redis.command("CLIENT", "KILL", "TYPE", kind) != ":0"


def _has_run(processes: Processes, executions: int) -> bool:
    return journal.count(processes.directory) >= executions

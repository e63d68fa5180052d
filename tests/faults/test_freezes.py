"""Redis stands still until calls have run out of time, under the same load as the crashes. Only in ``make faults``."""

import os
import signal

import pytest

from tests.faults.figures import Figures
from tests.faults.processes import Processes, ServerProcess
from tests.faults.scene import hold_to_the_truth
from tests.redis_server import RedisServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


async def test_nothing_is_done_twice_when_redis_freezes(
    processes: Processes, redis: RedisServer, figures: Figures
) -> None:
    def freeze(server: ServerProcess) -> None:
        failures = len(server.process.lines_with("_failed"))
        os.kill(redis.pid, signal.SIGSTOP)
        try:
            server.process.wait_for_line("_failed", count=failures + 1)
        finally:
            # What was asked of it meanwhile it does now, long after it was given up.
            os.kill(redis.pid, signal.SIGCONT)

    await hold_to_the_truth(processes, redis.url, freeze, figures)

"""Revoking at one server what runs on a worker of another."""

import time

import pytest

from tailrace.client import Client, TaskRevokedError
from tests.faults.figures import Figures
from tests.faults.processes import Processes
from tests.redis_server import RedisServer

CALL_S = 20.0
HEARD_WITHIN_S = 1.0
TASKS = 5


@pytest.mark.parametrize("force", [False, True])
def test_revoking_at_one_server_reaches_what_runs_at_another_within_a_second(
    processes: Processes, redis: RedisServer, figures: Figures, force: bool
) -> None:
    here, there = (processes.server(redis.url) for _ in range(2))
    worker = processes.worker(there.address, concurrency=TASKS)
    with Client(here.address) as client:
        results = [client.submit("heed") for _ in range(TASKS)]
        delays_s = []
        for result in results:
            worker.wait_for_line("execution_began", result.id)
            revoked_at = time.monotonic()
            result.revoke(force=force)
            line = worker.wait_for_line("revocation_heard", result.id)
            delays_s.append(float(line.partition(" at ")[2].split()[0]) - revoked_at)
        for result in results:
            with pytest.raises(TaskRevokedError):
                result.get(timeout=CALL_S)

    figures.add(f"a revocation was heard after {min(delays_s):.3f} to {max(delays_s):.3f} s")
    assert max(delays_s) < HEARD_WITHIN_S

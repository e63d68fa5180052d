"""What counting costs a server for the whole life of a task: submitted, delivered, begun, ended.

    python -m bench.counting

Measured is what is done because of metrics: reading what a Redis script says of transitions, and adding it up.
"""

import argparse
import time
from collections.abc import Callable

from tailrace.server.domain.transition import Transitions
from tailrace.server.metrics.names import Names
from tailrace.server.metrics.tally import Tally
from tailrace.server.store.base import MAX_ITEMS
from tailrace.server.store.redis.replies import transitions_in
from tailrace.v1 import task_pb2, task_service_pb2

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=400)
    rounds = parser.parse_args().rounds
    for items in (1, 50, MAX_ITEMS):
        life = _life(items)
        life()
        spans_s = [_timed(life) for _ in range(rounds)]
        print(f"calls of {items:>3} items: {min(spans_s) / items * 1e6:.2f} us a task, at best of {rounds}")


def _life(items: int) -> Callable[[], None]:
    tally = Tally(Names())
    spec = task_pb2.TaskSpec(task_type="billing.charge", queue="default", headers={"traceparent": TRACEPARENT})
    naming = task_service_pb2.SubmitRequest(spec=spec).SerializeToString()[:136]
    accepted = [("default", "billing.charge")] * items
    began = [b"default", 37] * items
    ended = [b"default", naming, b"SUCCESS", 153, None] * items

    def live() -> None:
        tally.observe(Transitions(operation="submit_tasks", accepted=list(accepted)))
        tally.observe(Transitions(operation="lease_tasks", delivered={"default": items}))
        tally.observe(transitions_in("beat_leases", began, ()))
        tally.observe(transitions_in("store_results", (), ended))

    return live


def _timed(call: Callable[[], None]) -> float:
    began_at = time.perf_counter()
    call()
    return time.perf_counter() - began_at


if __name__ == "__main__":
    main()

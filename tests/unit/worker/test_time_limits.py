"""Limits on time: who is called, who no longer, and what is kept of attempts that have ended."""

import queue
from collections.abc import Iterator

import pytest

from tailrace.worker._leases import LeaseKey
from tailrace.worker._time_limits import MAX_STALE, TimeLimits
from tests.unit.worker.messages import a_key

PATIENCE_S = 10.0
LONG_S = 3_600.0


class Called:
    """Limits, and who was called of them."""

    def __init__(self) -> None:
        self.soft = queue.SimpleQueue[LeaseKey]()
        self.hard = queue.SimpleQueue[LeaseKey]()
        self.limits = TimeLimits(self.soft.put, self.hard.put, hard_limit_s=0)


@pytest.fixture
def called() -> Iterator[Called]:
    called = Called()
    yield called
    called.limits.close()


def test_both_limits_of_an_attempt_are_called(called: Called) -> None:
    called.limits.watch(a_key(1), 0)

    assert called.soft.get(timeout=PATIENCE_S) == a_key(1)
    assert called.hard.get(timeout=PATIENCE_S) == a_key(1)


def test_attempt_that_has_ended_is_called_no_more(called: Called) -> None:
    called.limits.watch(a_key(1), 0.05)
    called.limits.watch(a_key(2), 0.1)
    called.limits.forget(a_key(1))

    assert called.hard.get(timeout=PATIENCE_S) == a_key(2)
    assert called.soft.get(timeout=PATIENCE_S) == a_key(2)
    assert called.soft.empty()


def test_attempts_that_end_early_leave_next_to_nothing_behind(called: Called) -> None:
    called.limits.watch(a_key(0), LONG_S)
    for number in range(1, 10_001):
        called.limits.watch(a_key(number), LONG_S)
        called.limits.forget(a_key(number))

    assert 2 <= len(called.limits) <= MAX_STALE + 8


def test_attempts_that_still_run_keep_their_limits_when_others_are_swept_out(called: Called) -> None:
    called.limits.watch(a_key(0), 0.2)
    for number in range(1, 1_001):
        called.limits.watch(a_key(number), LONG_S)
        called.limits.forget(a_key(number))

    assert called.hard.get(timeout=PATIENCE_S) == a_key(0)
    assert called.soft.get(timeout=PATIENCE_S) == a_key(0)

"""Which calls are repeated, and when."""

import grpc
import pytest

from tailrace.client._retry import Backoff, Tries
from tailrace.client._status import CallStatus

UNAVAILABLE = CallStatus(code=grpc.StatusCode.UNAVAILABLE)


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def tries(clock: Clock, *, timeout_s: float = 60.0, repeat_for_s: float | None = None, dice: float = 1.0) -> Tries:
    return Tries(timeout_s=timeout_s, repeat_for_s=repeat_for_s, clock=clock, dice=lambda: dice)


def test_pauses_double_up_to_the_cap() -> None:
    backoff = Backoff(initial_s=0.1, cap_s=2.0)

    assert [backoff.pause_s(failures, 1.0) for failures in range(1, 8)] == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]


def test_dice_shorten_a_pause_by_half_at_most() -> None:
    assert Backoff().pause_s(1, 0.0) == pytest.approx(0.05)


def test_pauses_stay_finite_after_days_of_failures() -> None:
    assert Backoff().pause_s(1_000_000, 1.0) == 2.0


@pytest.mark.parametrize(
    "code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED]
)
def test_a_call_without_an_answer_is_repeated(code: grpc.StatusCode) -> None:
    assert tries(Clock()).pause_after(CallStatus(code=code)) == 0.1


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
    ],
)
def test_an_answer_is_final(code: grpc.StatusCode) -> None:
    attempts = tries(Clock())

    assert attempts.pause_after(CallStatus(code=code)) is None
    assert not attempts.is_exhausted


def test_repeating_stops_when_the_call_has_no_time_left() -> None:
    clock = Clock()
    attempts = tries(clock, timeout_s=5)
    clock.now_s += 4.95

    assert attempts.pause_after(UNAVAILABLE) is None
    assert attempts.is_exhausted


def test_repeating_stops_sooner_than_the_call_where_a_repetition_would_not_be_safe() -> None:
    clock = Clock()
    attempts = tries(clock, timeout_s=60, repeat_for_s=1)
    clock.now_s += 1

    assert attempts.pause_after(UNAVAILABLE) is None
    assert attempts.timeout_s() == 10


def test_a_call_that_must_not_be_repeated_is_made_once() -> None:
    assert tries(Clock(), repeat_for_s=0).pause_after(UNAVAILABLE) is None


def test_one_try_has_ten_seconds_or_what_is_left() -> None:
    clock = Clock()
    attempts = tries(clock, timeout_s=25)

    assert attempts.timeout_s() == 10
    clock.now_s += 22
    assert attempts.timeout_s() == 3
    clock.now_s += 10
    assert attempts.timeout_s() == 0


def test_the_server_may_ask_for_a_longer_pause() -> None:
    assert tries(Clock()).pause_after(CallStatus(code=grpc.StatusCode.UNAVAILABLE, pushback_ms=1500)) == 1.5


def test_the_server_may_forbid_a_repetition() -> None:
    attempts = tries(Clock())

    assert attempts.pause_after(CallStatus(code=grpc.StatusCode.UNAVAILABLE, pushback_ms=-1)) is None


@pytest.mark.parametrize(
    "status",
    [
        CallStatus(code=grpc.StatusCode.RESOURCE_EXHAUSTED, reason="QUEUE_FULL", pushback_ms=1_000),
        CallStatus(code=grpc.StatusCode.RESOURCE_EXHAUSTED, reason="STORE_FULL", pushback_ms=1_000),
        CallStatus(code=grpc.StatusCode.DATA_LOSS, reason="STORE_EMPTIED"),
    ],
    ids=lambda status: status.reason,
)
def test_refusals_that_may_last_are_left_to_the_caller(status: CallStatus) -> None:
    assert tries(Clock()).pause_after(status) is None

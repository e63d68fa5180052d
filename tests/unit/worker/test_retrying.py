"""Which exceptions a task calls worth another attempt, and when it wants it."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tailrace.v1 import task_pb2
from tailrace.worker import RetryLater, Worker
from tests.unit.worker.messages import an_assignment
from tests.unit.worker.test_execution import run_task


def failure_of(error: Callable[[], BaseException], **options: Any) -> task_pb2.Failure:
    def fail() -> None:
        raise error()

    task = Worker().task(name="add", **options)(fail)
    return run_task(task, an_assignment()).failure


@pytest.mark.parametrize(
    ("options", "error", "is_final"),
    [
        ({}, ValueError, False),
        ({"dont_retry_on": (ValueError, TypeError)}, ValueError, True),
        ({"dont_retry_on": LookupError}, KeyError, True),
        ({"dont_retry_on": (KeyError,)}, LookupError, False),
        ({"retry_on": (OSError,)}, ConnectionResetError, False),
        ({"retry_on": (OSError,)}, ValueError, True),
        ({"retry_on": OSError, "dont_retry_on": ConnectionError}, ConnectionResetError, True),
        ({"retry_on": ConnectionError, "dont_retry_on": OSError}, ConnectionResetError, True),
        ({"retry_on": OSError, "dont_retry_on": ConnectionError}, FileNotFoundError, False),
        ({"retry_on": ()}, ValueError, True),
    ],
)
def test_task_says_which_of_its_exceptions_are_final(
    options: dict[str, Any], error: type[BaseException], is_final: bool
) -> None:
    assert failure_of(error, **options).non_retryable is is_final


@pytest.mark.parametrize("option", ["retry_on", "dont_retry_on"])
@pytest.mark.parametrize("value", ["ValueError", (1,), (ValueError(),), int])
def test_what_is_no_exception_class_is_refused(option: str, value: object) -> None:
    with pytest.raises(TypeError, match=rf"^{option} takes exception classes, not ('ValueError'|1|ValueError\(\)|<)"):
        Worker().task(name="add", **{option: value})(max)  # type: ignore[call-overload]


def test_retry_later_carries_its_delay_and_is_worth_another_attempt() -> None:
    later = timedelta(minutes=1, milliseconds=500)

    failure = failure_of(lambda: RetryLater("not yet", delay=later), retry_on=(OSError,), dont_retry_on=Exception)

    assert (failure.type, failure.message) == ("tailrace.worker.RetryLater", "not yet")
    assert failure.next_retry_delay.ToTimedelta() == later
    assert not failure.non_retryable


def test_other_failures_leave_the_delay_to_the_policy() -> None:
    assert not failure_of(ValueError).HasField("next_retry_delay")


def test_retry_later_without_words_says_when() -> None:
    assert str(RetryLater(delay=timedelta(seconds=90))) == "to be tried again in 0:01:30"


@pytest.mark.parametrize("delay", [timedelta(microseconds=-1), timedelta(days=30, microseconds=1)])
def test_delay_out_of_bounds_is_refused_where_it_is_given(delay: timedelta) -> None:
    with pytest.raises(ValueError, match="from zero to 30 days"):
        RetryLater(delay=delay)


def test_delay_without_a_unit_is_refused() -> None:
    with pytest.raises(TypeError, match="delay must be a timedelta, not int"):
        RetryLater(delay=60)  # type: ignore[arg-type]

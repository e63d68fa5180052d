from collections.abc import Callable

import pytest

from tailrace.v1 import task_pb2
from tailrace.worker._failure import SOURCE, failure_from

NOTHING: dict[str, str] = {}


class DeclinedError(Exception):
    pass


class UnspeakableError(Exception):
    def __init__(self, in_str: BaseException) -> None:
        self._in_str = in_str

    def __str__(self) -> str:
        raise self._in_str


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    with pytest.raises(type(error)) as caught:
        raise error from cause
    return caught.value


def raised_by(function: Callable[[], None]) -> BaseException:
    with pytest.raises(ValueError, match="second") as caught:
        function()
    return caught.value


def stumble() -> None:
    try:
        NOTHING["first"]
    except KeyError:
        int("second")


def stumble_silently() -> None:
    try:
        NOTHING["first"]
    except KeyError:
        raise ValueError("second") from None


def test_builtin_exception_goes_by_its_bare_name() -> None:
    failure = failure_from(raised(ValueError("Something went wrong!")))

    assert failure.kind == task_pb2.FAILURE_KIND_APPLICATION
    assert failure.type == "ValueError"
    assert failure.message == "Something went wrong!"
    assert failure.source == SOURCE
    assert SOURCE.startswith("python/3.")
    assert not failure.non_retryable


def test_other_exceptions_go_by_module_and_name() -> None:
    assert failure_from(raised(DeclinedError())).type == f"{__name__}.DeclinedError"


def test_traceback_is_pythons_own_text_with_the_tasks_lines() -> None:
    traceback = failure_from(raised(ValueError("Something went wrong!"))).traceback

    assert traceback.startswith("Traceback (most recent call last):\n")
    assert "raise error from cause" in traceback
    assert traceback.endswith("ValueError: Something went wrong!\n")


def test_causes_are_told_one_beneath_the_other() -> None:
    root = raised(KeyError("root"))
    middle = raised(OSError("middle"), root)

    failure = failure_from(raised(ValueError("top"), middle))

    assert [failure.type, failure.cause.type, failure.cause.cause.type] == ["ValueError", "OSError", "KeyError"]
    assert failure.cause.message == "middle"
    assert not failure.cause.cause.HasField("cause")
    assert "The above exception was the direct cause" in failure.traceback
    assert failure.cause.traceback == ""


def test_exception_raised_while_handling_another_has_that_one_as_its_cause() -> None:
    assert failure_from(raised_by(stumble)).cause.type == "KeyError"


def test_suppressed_context_is_no_cause() -> None:
    assert not failure_from(raised_by(stumble_silently)).HasField("cause")


def test_chain_of_causes_ends_after_eight() -> None:
    error = raised(ValueError("0"))
    for level in range(1, 20):
        error = raised(ValueError(str(level)), error)

    failure = failure_from(error)

    depth = 0
    while failure.HasField("cause"):
        failure, depth = failure.cause, depth + 1
    assert depth == 8


def test_causes_that_run_in_a_circle_end() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first

    failure = failure_from(first)

    assert failure.cause.message == "second"
    assert not failure.cause.HasField("cause")


def test_long_texts_are_cut_where_the_contract_says() -> None:
    name = "E" * 300
    long_error = type(name, (Exception,), {"__module__": "builtins"})

    failure = failure_from(raised(long_error("é" * 5000)))

    assert failure.type == "E" * 256
    assert failure.message == "é" * 2048


def test_long_traceback_is_cut_in_the_middle() -> None:
    failure = failure_from(raised(ValueError("x" * 100_000)))

    assert len(failure.traceback.encode()) <= 32 * 1024
    assert failure.traceback.startswith("Traceback (most recent call last):\n")
    assert "\n... cut ...\n" in failure.traceback
    assert failure.traceback.endswith("xxx\n")


def test_text_that_is_no_unicode_still_crosses_the_wire() -> None:
    failure = failure_from(raised(ValueError("\ud800")))

    assert failure.message == "\\ud800"
    assert task_pb2.Failure.FromString(failure.SerializeToString()) == failure


@pytest.mark.parametrize("in_str", [RuntimeError("no words"), SystemExit(1)])
def test_exception_that_cannot_be_put_into_words_is_told_by_its_type(in_str: BaseException) -> None:
    failure = failure_from(raised(UnspeakableError(in_str)))

    assert failure.type.endswith("UnspeakableError")
    assert type(in_str).__name__ in failure.message

"""What became of a task, as a value or an exception."""

import builtins
import logging
import traceback
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.client import PayloadError, TaskFailedError, TaskRevokedError, TaskState
from tailrace.client._conversion import Conversion
from tailrace.client._outcome import Outcome
from tailrace.client._remote_errors import BUILTIN_ERRORS, RemoteErrors
from tailrace.v1 import task_pb2
from tailrace.v1.task_pb2 import Failure, Payload, TaskResult

REMOTE_TRACEBACK = 'Traceback (most recent call last):\n  File "tasks.py", line 7, in work\nValueError: no\n'


NEW_STATE = cast("task_pb2.TaskState.ValueType", 42)


class DeclinedError(Exception):
    def __str__(self) -> str:
        return f"declined: {self.args[0]}"


def in_utf_8(text: str) -> str:
    return text.encode(errors="replace").decode()


def a_success(**fields: Any) -> Outcome:
    return Outcome(TaskResult(task_id="t1", state=task_pb2.TASK_STATE_SUCCESS, done=True, **fields))


def a_failure(state: task_pb2.TaskState.ValueType = task_pb2.TASK_STATE_FAILURE, **fields: Any) -> Outcome:
    defaults = {
        "kind": task_pb2.FAILURE_KIND_APPLICATION,
        "type": "ValueError",
        "message": "no",
        "traceback": REMOTE_TRACEBACK,
    }
    return Outcome(TaskResult(task_id="t1", state=state, done=True, failure=Failure(**{**defaults, **fields})))


def error_of(outcome: Outcome, remote_errors: RemoteErrors | None = None) -> Any:
    with pytest.raises(Exception) as caught:  # noqa: PT011 (which one is what the tests ask)
        outcome.unwrap(Conversion(remote_errors=remote_errors or RemoteErrors()))
    return caught.value


def test_a_success_is_its_value() -> None:
    outcome = a_success(result=Payload(content_type="application/json", data=b"30"))

    assert outcome.unwrap(Conversion()) == 30
    assert outcome.error(Conversion()) is None


def test_a_success_without_a_value_is_none() -> None:
    assert a_success().unwrap(Conversion()) is None


def test_a_value_that_is_no_json_names_the_task() -> None:
    error = error_of(a_success(result=Payload(content_type="application/protobuf", data=b"x")))

    assert isinstance(error, PayloadError)
    assert error.task_id == "t1"


def test_a_builtin_comes_back_as_itself_with_the_workers_words() -> None:
    error = error_of(a_failure(type="ValueError", message="Something went wrong!"))

    assert type(error) is ValueError
    assert str(error) == "Something went wrong!"


def test_the_cause_tells_what_the_worker_knew() -> None:
    cause = error_of(a_failure()).__cause__

    assert isinstance(cause, TaskFailedError)
    assert (cause.remote_type, cause.message, cause.traceback) == ("ValueError", "no", REMOTE_TRACEBACK)
    assert (cause.kind, cause.task_id) == ("APPLICATION", "t1")


def test_a_printed_traceback_shows_the_workers_lines() -> None:
    error = error_of(a_failure())

    printed = "".join(traceback.format_exception(error))

    assert 'File "tasks.py", line 7, in work' in printed


@pytest.mark.parametrize("name", sorted(BUILTIN_ERRORS))
def test_each_builtin_of_the_table_is_made_from_a_text_that_it_repeats(name: str) -> None:
    error = error_of(a_failure(type=name, message="some text"))

    assert type(error) is getattr(builtins, name)
    assert str(error) == "some text"


@pytest.mark.parametrize(
    "name",
    [
        "SystemExit",
        "KeyboardInterrupt",
        "GeneratorExit",
        "BaseException",
        "StopIteration",
        "StopAsyncIteration",
        "UnicodeDecodeError",
        "ExceptionGroup",
        "BaseExceptionGroup",
        "eval",
        "subprocess.CalledProcessError",
        "com.acme.PaymentDeclined",
        "",
    ],
)
def test_no_other_name_becomes_anything_but_a_failed_task(name: str) -> None:
    error = error_of(a_failure(type=name))

    assert type(error) is TaskFailedError
    assert error.remote_type == name


@given(st.one_of(st.text(), st.integers(), st.binary(), st.tuples(st.text())))
def test_a_key_error_reads_as_it_did_in_the_worker(key: Any) -> None:
    raised = KeyError(key)

    error = RemoteErrors().failed(
        Failure(kind=task_pb2.FAILURE_KIND_APPLICATION, type="KeyError", message=in_utf_8(str(raised))),
        "t1",
    )

    assert type(error) is KeyError
    assert str(error) == in_utf_8(str(raised))


def test_a_key_error_has_its_key_where_that_was_a_text() -> None:
    assert error_of(a_failure(type="KeyError", message="'user'")).args == ("user",)


@pytest.mark.parametrize("message", ["", "no such key", "7", "'a", r"'\d'", "'a' and 'b'"])
def test_a_key_error_keeps_a_message_that_is_no_key(message: str) -> None:
    assert str(error_of(a_failure(type="KeyError", message=message))) == message


@pytest.mark.parametrize(
    "kind", [task_pb2.FAILURE_KIND_TIMEOUT, task_pb2.FAILURE_KIND_LEASE_EXPIRED, task_pb2.FAILURE_KIND_SYSTEM, 99]
)
def test_what_the_tasks_own_code_did_not_raise_is_not_raised_as_if_it_had(kind: Any) -> None:
    error = error_of(a_failure(kind=kind, type="TimeoutError"))

    assert type(error) is TaskFailedError


def test_a_failed_task_says_type_and_message() -> None:
    error = error_of(a_failure(kind=task_pb2.FAILURE_KIND_SYSTEM, type="ResultTooLarge", message="2 MiB"))

    assert str(error) == "ResultTooLarge: 2 MiB"
    assert error.kind == "SYSTEM"


def test_a_failure_beneath_the_failure_is_the_causes_cause() -> None:
    beneath = Failure(kind=task_pb2.FAILURE_KIND_APPLICATION, type="OSError", message="disk full")

    error = error_of(a_failure(cause=beneath))

    assert str(error.__cause__.__cause__) == "OSError: disk full"


def test_a_registered_class_comes_back_as_itself() -> None:
    remote_errors = RemoteErrors()
    remote_errors.register(DeclinedError)

    error = error_of(a_failure(type=f"{__name__}.DeclinedError", message="card expired"), remote_errors)

    assert type(error) is DeclinedError
    assert str(error) == "declined: card expired"
    assert isinstance(error.__cause__, TaskFailedError)


def test_a_class_may_be_registered_for_another_languages_name() -> None:
    remote_errors = RemoteErrors()
    remote_errors.register(DeclinedError, name="com.acme.PaymentDeclined")

    assert type(error_of(a_failure(type="com.acme.PaymentDeclined"), remote_errors)) is DeclinedError


def test_registering_concerns_one_client_alone() -> None:
    RemoteErrors().register(DeclinedError)

    assert type(error_of(a_failure(type=f"{__name__}.DeclinedError"))) is TaskFailedError


class TwoArgumentsError(Exception):
    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)


@pytest.mark.parametrize("error_class", [KeyboardInterrupt, SystemExit, int, TwoArgumentsError])
def test_a_class_that_cannot_be_raised_from_a_text_is_refused_when_it_is_registered(error_class: Any) -> None:
    with pytest.raises(TypeError):
        RemoteErrors().register(error_class)


class PickyError(Exception):
    def __init__(self, message: str) -> None:
        if message != "a message":
            raise LookupError(message)
        super().__init__(message)


def test_a_registered_class_that_fails_leaves_the_failure_told(caplog: pytest.LogCaptureFixture) -> None:
    remote_errors = RemoteErrors()
    remote_errors.register(PickyError, name="Picky")

    with caplog.at_level(logging.WARNING, logger="tailrace.client"):
        error = error_of(a_failure(type="Picky"), remote_errors)

    assert type(error) is TaskFailedError
    assert "registered_exception_unusable" in caplog.text


def test_a_revoked_task_raises_that_and_no_failure() -> None:
    error = error_of(
        a_failure(task_pb2.TASK_STATE_REVOKED, kind=task_pb2.FAILURE_KIND_REVOKED, type="Revoked", message="by request")
    )

    assert isinstance(error, TaskRevokedError)
    assert (str(error), error.kind, error.task_id, error.__cause__) == ("by request", "REVOKED", "t1", None)


def test_a_task_revoked_over_a_failure_has_it_as_its_cause() -> None:
    error = error_of(a_failure(task_pb2.TASK_STATE_REVOKED))

    assert isinstance(error, TaskRevokedError)
    assert str(error.__cause__) == "ValueError: no"


def test_the_names_of_the_states_are_the_contracts() -> None:
    names = {name.removeprefix("TASK_STATE_") for name in task_pb2.TaskState.DESCRIPTOR.values_by_name} - {
        "UNSPECIFIED"
    }

    assert {state.value for state in TaskState} == names | {"UNKNOWN"}


def test_a_state_newer_than_this_client_is_unknown_and_done_only_if_it_says_so() -> None:
    goes_on = Outcome(TaskResult(task_id="t1", state=NEW_STATE))
    ended = Outcome(TaskResult(task_id="t1", state=NEW_STATE, done=True, failure=Failure(type="New", message="way")))

    assert (goes_on.state, goes_on.error(Conversion())) == (TaskState.UNKNOWN, None)
    assert str(error_of(ended)) == "New: way"


def test_the_traceback_is_that_of_the_end_or_else_of_the_latest_attempt() -> None:
    retrying = Outcome(
        TaskResult(task_id="t1", state=task_pb2.TASK_STATE_RETRY, last_failure=Failure(traceback=REMOTE_TRACEBACK))
    )

    assert a_failure().traceback == REMOTE_TRACEBACK
    assert retrying.traceback == REMOTE_TRACEBACK
    assert a_success().traceback is None

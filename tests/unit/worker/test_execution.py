import asyncio
import contextvars
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tailrace.client import _payload
from tailrace.v1 import task_pb2
from tailrace.v1 import worker_service_pb2 as wire
from tailrace.worker import RetryPolicy, Task, TaskInterrupt, Worker, current_task
from tailrace.worker._execution import Execution, unknown_task_type
from tests.unit.worker.messages import a_key, an_assignment


def executed(
    function: Callable[..., Any], *args: Any, retry: RetryPolicy | None = None, **kwargs: Any
) -> wire.AttemptResult:
    return run(function, an_assignment(args=args, kwargs=kwargs), retry=retry)


def run(
    function: Callable[..., Any], assignment: wire.Assignment, *, retry: RetryPolicy | None = None
) -> wire.AttemptResult:
    return run_task(Worker().task(name="add", retry=retry)(function), assignment)


def run_task(task: Task[..., Any], assignment: wire.Assignment) -> wire.AttemptResult:
    execution = Execution(a_key(1), assignment, task, lambda _, __: None)
    context = contextvars.Context()
    if task.executor == "asyncio":
        return context.run(asyncio.run, execution.run_async())
    return context.run(execution.run)


def with_input(payload: task_pb2.Payload) -> wire.Assignment:
    return an_assignment(spec=task_pb2.TaskSpec(task_type="add", input=payload))


def add(x: int, y: int = 1) -> int:
    return x + y


async def add_later(x: int, y: int = 1) -> int:
    return x + y


@dataclass
class Interrupted:
    x: int

    def __post_init__(self) -> None:
        raise TaskInterrupt


def takes_interrupted(value: Interrupted) -> None: ...


@pytest.mark.parametrize("function", [add, add_later])
def test_returned_value_is_the_result(function: Callable[..., Any]) -> None:
    result = executed(function, 10, y=20)

    assert result.lease == a_key(1).to_wire()
    assert _payload.decode_value(result.success) == 30
    assert not result.HasField("default_retry_policy")


def test_none_is_an_empty_payload() -> None:
    result = executed(lambda: None)

    assert result.WhichOneof("outcome") == "success"
    assert result.success == task_pb2.Payload()


def test_task_without_input_is_called_without_arguments() -> None:
    assert _payload.decode_value(run(lambda: "called", with_input(task_pb2.Payload())).success) == "called"


def fail() -> None:
    raise ValueError("Something went wrong!")


async def fail_later() -> None:
    raise ValueError("Something went wrong!")


@pytest.mark.parametrize("function", [fail, fail_later])
def test_exception_is_a_failure_whose_traceback_begins_in_the_task(function: Callable[..., Any]) -> None:
    failure = executed(function).failure

    assert (failure.type, failure.message) == ("ValueError", "Something went wrong!")
    lines = failure.traceback.splitlines()
    assert "test_execution.py" in lines[1]
    assert '_execution.py", line' not in failure.traceback.replace("test_execution.py", "")


def test_failure_carries_the_policy_that_the_task_declares() -> None:
    policy = RetryPolicy(max_attempts=3)

    assert executed(fail, retry=policy).default_retry_policy == policy.to_wire()


def leave() -> None:
    sys.exit(3)


async def leave_later() -> None:
    sys.exit(3)


async def cancel_itself() -> None:
    raise asyncio.CancelledError


def interrupt_itself() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("function", "type_"),
    [
        (leave, "SystemExit"),
        (leave_later, "SystemExit"),
        (cancel_itself, "asyncio.exceptions.CancelledError"),
        (interrupt_itself, "KeyboardInterrupt"),
    ],
)
def test_whatever_a_task_raises_ends_the_task_and_nothing_else(function: Callable[..., Any], type_: str) -> None:
    assert executed(function).failure.type == type_


def test_result_that_json_cannot_carry_fails_for_good_naming_the_place() -> None:
    failure = executed(lambda: {"when": [1, object()]}).failure

    assert failure.type == "PayloadError"
    assert failure.non_retryable
    assert "result.when[1]" in failure.message


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        (task_pb2.Payload(content_type="application/json", data=b"{"), "not JSON"),
        (task_pb2.Payload(content_type="application/protobuf", data=b"\x01"), "'application/protobuf'"),
        (task_pb2.Payload(content_type="application/json", data=b"[1]"), "shape"),
    ],
)
def test_input_that_cannot_be_read_fails_for_good(payload: task_pb2.Payload, told: str) -> None:
    failure = run(add, with_input(payload)).failure

    assert failure.type == "PayloadError"
    assert failure.non_retryable
    assert told in failure.message


@pytest.mark.parametrize("function", [add, add_later])
def test_arguments_that_do_not_fit_the_function_fail_for_good(function: Callable[..., Any]) -> None:
    failure = executed(function, 1, 2, 3).failure

    assert failure.type == "TypeError"
    assert failure.non_retryable
    assert failure.message == "add cannot be called: too many positional arguments"


def test_type_error_of_the_tasks_own_code_may_be_retried() -> None:
    failure = executed(lambda: len(1)).failure  # type: ignore[arg-type]

    assert failure.type == "TypeError"
    assert not failure.non_retryable


def test_task_that_is_to_stop_while_its_arguments_are_read_has_not_failed() -> None:
    task = Worker().task(name="add")(takes_interrupted)
    execution = Execution(a_key(1), an_assignment(args=({"x": 1},)), task, lambda _, __: None)
    execution.revoked.set()

    assert contextvars.Context().run(execution.run).WhichOneof("outcome") == "revoked"


@pytest.mark.parametrize("as_coroutine", [False, True])
def test_task_can_see_what_it_runs_for(as_coroutine: bool) -> None:
    def look() -> list[Any]:
        task = current_task()
        return [task.id, task.attempt, dict(task.headers), task.parent_task_id, task.task_type, task.queue]

    async def look_later() -> list[Any]:
        return look()

    spec = task_pb2.TaskSpec(task_type="add", queue="slow", headers={"tenant": "acme"})
    assignment = an_assignment(spec=spec, attempt=2, parent_task_id="parent")
    result = run(look_later if as_coroutine else look, assignment)

    assert _payload.decode_value(result.success) == ["task-1", 2, {"tenant": "acme"}, "parent", "add", "slow"]


def test_outside_a_task_there_is_no_current_task() -> None:
    with pytest.raises(RuntimeError, match="outside a task"):
        current_task()


def test_function_whose_signature_python_cannot_tell_is_called_all_the_same() -> None:
    assert _payload.decode_value(executed(max, 1, 2).success) == 2


def test_unknown_task_type_is_a_failure_of_the_system_that_may_be_retried() -> None:
    result = unknown_task_type(a_key(1), "subtract")

    assert result.lease == a_key(1).to_wire()
    assert result.failure.kind == task_pb2.FAILURE_KIND_SYSTEM
    assert result.failure.type == "UnknownTaskType"
    assert "subtract" in result.failure.message
    assert not result.failure.non_retryable


@pytest.mark.parametrize(("function", "kept"), [(add, True), (fail, False)])
def test_interrupted_task_keeps_its_outcome_only_if_it_succeeded(function: Callable[..., Any], kept: bool) -> None:
    outcomes: list[wire.AttemptResult | None] = []
    task = Worker().task(name="add")(function)
    assignment = an_assignment(args=(1,) if kept else ())
    execution = Execution(a_key(1), assignment, task, lambda _, result: outcomes.append(result))
    execution.cancelled = True

    execution.done(contextvars.Context().run(execution.run))

    assert [outcome is not None for outcome in outcomes] == [kept]

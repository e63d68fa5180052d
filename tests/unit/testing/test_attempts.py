"""Tasks run in the test itself, without a server."""

import asyncio
import math
import threading
from collections.abc import Awaitable
from datetime import timedelta

import pytest

from tailrace.client import PayloadError, TaskFailedError
from tailrace.testing import run_attempt, run_attempt_async, task_context
from tailrace.worker import RetryLater, RetryPolicy, Worker, current_task

worker = Worker()
A_MINUTE = timedelta(minutes=1)


class BankClosedError(Exception):
    """Of a program, and not known to any client."""


@worker.task
def add(x: int, y: int = 1) -> int:
    return x + y


@worker.task
def pair() -> tuple[int, int]:
    return 1, 2


@worker.task
def unfit() -> float:
    return math.nan


@worker.task(retry=RetryPolicy(max_attempts=3), dont_retry_on=LookupError)
def charge(order: int) -> str:
    if order < 0:
        raise LookupError(f"no order {order}")
    if order == 0:
        raise RetryLater("busy", delay=A_MINUTE)
    if order > 100:
        raise BankClosedError("closed")
    return f"charged {order} at attempt {current_task().attempt}"


@worker.task(queue="imports")
def describe() -> list[object]:
    task = current_task()
    return [task.id, task.task_type, task.queue, task.attempt, dict(task.labels), dict(task.headers), task.checkpoint]


@worker.task
def count_to(number: int) -> int:
    first: int = current_task().checkpoint or 0
    for each in range(first, number):
        current_task().progress(each + 1, number, f"number {each}", checkpoint=each + 1)
    return first


@worker.task
async def greet(name: str) -> str:
    await asyncio.sleep(0)
    if not name:
        raise BankClosedError("nobody")
    return f"hello {name} from {current_task().task_type}"


def test_an_attempt_returns_what_the_task_does_as_a_client_gets_it() -> None:
    assert run_attempt(add, 1, y=2).get() == 3
    assert run_attempt(pair).value == (1, 2)


def test_an_argument_that_cannot_be_carried_is_found() -> None:
    with pytest.raises(PayloadError) as caught:
        run_attempt(add, math.inf)

    assert caught.value.path == "args[0]"


def test_a_result_that_cannot_be_carried_is_a_failure_that_no_retry_mends() -> None:
    attempt = run_attempt(unfit)

    assert isinstance(attempt.error, TaskFailedError)
    assert attempt.error.remote_type == "PayloadError"
    assert not attempt.may_retry


def test_arguments_that_do_not_fit_are_a_failure_that_no_retry_mends() -> None:
    attempt = run_attempt(add, 1, 2, 3)

    with pytest.raises(TypeError, match="add cannot be called: too many positional arguments"):
        attempt.get()
    assert not attempt.may_retry


def test_what_a_task_raises_is_the_very_object() -> None:
    attempt = run_attempt(charge, 101)

    assert isinstance(attempt.error, BankClosedError)
    with pytest.raises(BankClosedError, match="closed"):
        attempt.get()


@pytest.mark.parametrize(
    ("order", "may_retry", "retry_delay"), [(-1, False, None), (0, True, A_MINUTE), (101, True, None), (7, False, None)]
)
def test_an_attempt_says_whether_and_when_another_would_follow(
    order: int, may_retry: bool, retry_delay: timedelta | None
) -> None:
    attempt = run_attempt(charge, order)

    assert (attempt.may_retry, attempt.retry_delay) == (may_retry, retry_delay)


def test_a_task_finds_what_the_context_says() -> None:
    labels, headers = {"team": "blue"}, {"trace": "1"}
    with task_context(attempt=3, labels=labels, headers=headers, task_id="t1", checkpoint=[5]):
        assert run_attempt(describe).value == ["t1", "describe", "imports", 3, labels, headers, [5]]
        assert describe() == ["t1", "test", "default", 3, labels, headers, [5]]
        assert current_task().parent_task_id is None
    with pytest.raises(RuntimeError, match="outside a task"):
        current_task()


def test_a_task_without_a_context_is_in_its_first_attempt() -> None:
    assert run_attempt(charge, 7).value == "charged 7 at attempt 1"


def test_contexts_may_be_nested() -> None:
    with task_context(attempt=1):
        with task_context(attempt=2):
            assert current_task().attempt == 2
        assert current_task().attempt == 1


def test_progress_and_checkpoints_can_be_looked_at() -> None:
    first = run_attempt(count_to, 3)
    with task_context(checkpoint=first.checkpoint) as context:
        second = run_attempt(count_to, 5)
        third = count_to(4)

    assert [(said.current, said.total, said.message) for said in first.progress] == [
        (1, 3, "number 0"),
        (2, 3, "number 1"),
        (3, 3, "number 2"),
    ]
    assert (second.value, second.checkpoint, len(second.progress)) == (3, 5, 2)
    assert (third, context.checkpoint, len(context.progress)) == (3, 4, 3)


def test_a_checkpoint_stays_until_another_one_is_said() -> None:
    with task_context(checkpoint=[5]) as context:
        silent = run_attempt(add, 1)

        assert (silent.checkpoint, context.checkpoint) == ([5], [5])
    assert run_attempt(add, 1).checkpoint is None


def test_a_function_for_the_event_loop_may_return_something_to_await() -> None:
    @Worker().task(executor="asyncio")
    def lazy(name: str) -> Awaitable[str]:
        return greet(name)

    assert run_attempt(lazy, "you").value == "hello you from lazy"


def test_a_task_may_be_asked_to_stop_beforehand() -> None:
    with task_context() as context:
        context.revoked.set()

        assert current_task().revoked.is_set()


def test_a_time_limit_is_told_and_ends_nothing() -> None:
    with task_context(execution_timeout=A_MINUTE):
        time_left = current_task().time_left

    assert time_left is not None
    assert timedelta(seconds=50) < time_left <= A_MINUTE


def test_a_coroutine_runs_on_a_loop_of_its_own_where_there_is_none() -> None:
    assert run_attempt(greet, "you").value == "hello you from greet"
    assert isinstance(run_attempt(greet, "").error, BankClosedError)


async def test_a_coroutine_runs_on_the_running_loop() -> None:
    with task_context(attempt=2):
        attempt = await run_attempt_async(greet, "you")

    assert attempt.get() == "hello you from greet"
    assert (await run_attempt_async(add, 1)).value == 2


async def test_where_a_loop_runs_the_other_function_says_so() -> None:
    with pytest.raises(RuntimeError, match="await run_attempt_async"):
        run_attempt(greet, "you")


async def test_a_cancelled_attempt_cancels_the_task() -> None:
    begun, cleaned_up = asyncio.Event(), asyncio.Event()

    @Worker().task
    async def wait_for_ever() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            cleaned_up.set()

    attempt = asyncio.create_task(run_attempt_async(wait_for_ever))
    await begun.wait()
    attempt.cancel()

    with pytest.raises(asyncio.CancelledError):
        await attempt
    assert cleaned_up.is_set()


def test_code_beside_the_task_does_not_see_its_context() -> None:
    seen: list[str] = []

    def look() -> None:
        try:
            seen.append(current_task().id)
        except RuntimeError:
            seen.append("nothing")

    with task_context():
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()

    assert seen == ["nothing"]


def test_an_interrupt_from_the_keyboard_ends_the_test() -> None:
    @Worker().task
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_attempt(interrupted)


def test_a_task_that_was_asked_to_stop_and_raises_has_failed_of_it() -> None:
    @Worker().task
    def polite() -> None:
        if current_task().revoked.is_set():
            raise BankClosedError("as you wish")

    with task_context() as context:
        context.revoked.set()

        assert isinstance(run_attempt(polite).error, BankClosedError)

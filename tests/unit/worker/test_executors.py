import asyncio
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tailrace.v1 import worker_service_pb2 as wire
from tailrace.worker import Worker, current_task
from tailrace.worker._execution import Execution
from tailrace.worker._executors import AsyncioExecutor, Executor, ThreadExecutor
from tests.unit.worker.messages import a_key, an_assignment

PATIENCE_S = 5.0


class Desk:
    """Makes executions and collects what becomes of them."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self._outcomes: queue.SimpleQueue[wire.AttemptResult | None] = queue.SimpleQueue()

    def execution(self, function: Callable[..., Any], *args: Any) -> Execution:
        task = Worker().task(name="task")(function)
        return Execution(a_key(), an_assignment(args=args), task, lambda _, result: self._outcomes.put(result))

    def submit(self, function: Callable[..., Any], *args: Any) -> Execution:
        execution = self.execution(function, *args)
        self.executor.submit(execution)
        return execution

    def outcome(self) -> wire.AttemptResult | None:
        return self._outcomes.get(timeout=PATIENCE_S)

    def data(self) -> bytes:
        outcome = self.outcome()
        assert outcome is not None
        return outcome.success.data


@pytest.fixture
def threads() -> Iterator[Desk]:
    executor = ThreadExecutor()
    yield Desk(executor)
    executor.close()


@pytest.fixture
def loop() -> Iterator[Desk]:
    executor = AsyncioExecutor()
    yield Desk(executor)
    executor.close()


def thread_name() -> str:
    return threading.current_thread().name


async def thread_name_later() -> str:
    return threading.current_thread().name


def test_function_runs_in_a_daemon_thread_of_the_worker(threads: Desk) -> None:
    threads.submit(lambda: [thread_name(), threading.current_thread().daemon])

    assert threads.data() == b'["tailrace-worker-task-1",true]'


def test_idle_thread_is_used_again(threads: Desk) -> None:
    for _ in range(3):
        threads.submit(thread_name)
        assert threads.data() == b'"tailrace-worker-task-1"'


def test_functions_run_side_by_side(threads: Desk) -> None:
    meeting = threading.Barrier(3)
    for _ in range(3):
        threads.submit(lambda: meeting.wait(PATIENCE_S) >= 0)

    assert [threads.data() for _ in range(3)] == [b"true"] * 3


def test_function_that_was_cancelled_before_it_began_does_not_run(threads: Desk) -> None:
    execution = threads.execution(thread_name)
    execution.cancelled = True

    threads.executor.submit(execution)

    assert threads.outcome() is None


def test_thread_cannot_be_interrupted(threads: Desk) -> None:
    going_on = threading.Event()
    execution = threads.submit(lambda: going_on.wait(PATIENCE_S))

    assert threads.executor.interrupt(execution) is False

    going_on.set()
    assert threads.data() == b"true"


def test_threads_end_with_their_executor(threads: Desk) -> None:
    ended = threading.Event()

    class Goodbye:
        def __del__(self) -> None:
            ended.set()

    local = threading.local()

    def leave_something_in_the_thread() -> None:
        local.goodbye = Goodbye()

    threads.submit(leave_something_in_the_thread)
    threads.outcome()

    threads.executor.close()
    threads.executor.close()

    assert ended.wait(PATIENCE_S)


def test_nothing_is_begun_after_the_end(threads: Desk, loop: Desk) -> None:
    for desk in (threads, loop):
        desk.executor.close()
        with pytest.raises(RuntimeError, match="closed"):
            desk.submit(thread_name)


def test_coroutine_runs_on_the_executors_own_loop(loop: Desk) -> None:
    loop.submit(thread_name_later)

    assert loop.data() == b'"tailrace-worker-asyncio"'


def test_coroutines_run_side_by_side(loop: Desk) -> None:
    waiting: list[asyncio.Event] = []

    async def meet() -> int:
        waiting.append(asyncio.Event())
        if len(waiting) == 3:
            for event in waiting:
                event.set()
        await waiting[-1].wait()
        return 1

    for _ in range(3):
        loop.submit(meet)

    assert [loop.data() for _ in range(3)] == [b"1"] * 3


def test_plain_function_may_run_on_the_loop(loop: Desk) -> None:
    loop.submit(thread_name)

    assert loop.data() == b'"tailrace-worker-asyncio"'


async def wait_for_ever() -> None:
    await asyncio.Event().wait()


def test_interrupted_coroutine_has_no_outcome(loop: Desk) -> None:
    execution = loop.submit(wait_for_ever)
    execution.cancelled = True

    assert loop.executor.interrupt(execution) is True

    assert loop.outcome() is None


def test_coroutine_that_was_cancelled_before_it_began_does_not_run(loop: Desk) -> None:
    execution = loop.execution(thread_name_later)
    execution.cancelled = True

    loop.executor.submit(execution)

    assert loop.outcome() is None


def test_interrupted_coroutine_that_returns_a_value_all_the_same_keeps_it(loop: Desk) -> None:
    entered = threading.Event()

    async def finish_anyway() -> str:
        entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "finished"
        return "undisturbed"

    execution = loop.submit(finish_anyway)
    assert entered.wait(PATIENCE_S)
    execution.cancelled = True
    loop.executor.interrupt(execution)

    assert loop.data() == b'"finished"'


def test_coroutine_that_raises_system_exit_leaves_the_loop_running(loop: Desk) -> None:
    async def leave() -> None:
        raise SystemExit(1)

    loop.submit(leave)
    outcome = loop.outcome()
    assert outcome is not None
    assert outcome.failure.type == "SystemExit"

    loop.submit(thread_name_later)
    assert loop.data() == b'"tailrace-worker-asyncio"'


def test_end_of_the_executor_cancels_what_still_runs(loop: Desk) -> None:
    unwound = threading.Event()
    entered = threading.Event()

    async def clean_up() -> None:
        try:
            entered.set()
            await asyncio.Event().wait()
        finally:
            unwound.set()

    loop.submit(clean_up)
    assert entered.wait(PATIENCE_S)

    loop.executor.close()
    loop.executor.close()

    assert unwound.is_set()


def test_interrupting_after_the_end_does_nothing(loop: Desk) -> None:
    execution = loop.submit(wait_for_ever)
    loop.executor.close()

    assert loop.executor.interrupt(execution) is False


async def rest_for_ever(begun: threading.Event) -> None:
    begun.set()
    await asyncio.Event().wait()


def test_coroutine_that_is_revoked_says_so(loop: Desk) -> None:
    begun = threading.Event()
    execution = loop.submit(lambda: rest_for_ever(begun))
    assert begun.wait(PATIENCE_S)

    execution.revoked.set()
    assert loop.executor.interrupt(execution)

    outcome = loop.outcome()
    assert outcome is not None
    assert outcome.WhichOneof("outcome") == "revoked"


def test_what_is_revoked_before_it_begins_does_not_begin(loop: Desk, threads: Desk) -> None:
    for desk in (loop, threads):
        execution = desk.execution(lambda: 1)
        execution.revoked.set()

        desk.executor.submit(execution)

        assert desk.outcome() is None


def test_function_sees_that_it_is_revoked_and_its_value_counts(threads: Desk) -> None:
    execution = threads.submit(lambda: current_task().revoked.wait(PATIENCE_S))

    execution.revoked.set()

    assert threads.data() == b"true"


@pytest.mark.parametrize("leave", [sys.exit, lambda: asyncio.get_running_loop().stop()])
def test_loop_that_a_task_ends_goes_on(loop: Desk, leave: Callable[[], Any]) -> None:
    async def leave_soon() -> None:
        leave()

    async def have_another_leave() -> str:
        other = asyncio.get_running_loop().create_task(leave_soon())
        await asyncio.wait([other])
        other.exception()
        return "finished"

    loop.submit(have_another_leave)
    assert loop.data() == b'"finished"'
    loop.submit(have_another_leave)
    assert loop.data() == b'"finished"'

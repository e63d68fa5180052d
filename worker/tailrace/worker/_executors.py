"""Where tasks run: on an event loop of their own, or in threads. Never in a thread that speaks to the server."""

import asyncio
import contextvars
import logging
import queue
import threading
from collections.abc import Awaitable, Callable
from typing import Protocol

from tailrace.v1 import worker_service_pb2 as wire
from tailrace.worker._execution import Execution

_CLOSE_S = 2.0

logger = logging.getLogger("tailrace.worker")


class Executor(Protocol):
    """Something that runs executions. Any thread may call its methods, and none of them blocks for long."""

    def submit(self, execution: Execution) -> None:
        """Begin an execution, and call its done() when it has ended.

        Raises:
            RuntimeError: It cannot be begun; done() will not be called.
        """

    def interrupt(self, execution: Execution) -> bool:
        """Stop an execution that is cancelled or revoked, if that can be done. False: it runs on as it likes."""
        ...

    def kill(self, execution: Execution) -> bool:
        """End an execution by force, if that can be done, its done() following soon. False: it cannot be done."""
        ...

    def close(self) -> None:
        """Let go of everything. What still runs must not keep the process from exiting. Again: no effect."""


class AsyncioExecutor:
    """Runs coroutines on one event loop in a daemon thread."""

    def __init__(self) -> None:
        self._tasks: dict[Execution, asyncio.Task[wire.AttemptResult]] = {}
        self._lock = threading.Lock()
        self._stopped = False
        self._loop = asyncio.new_event_loop()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="tailrace-worker-asyncio", daemon=True)
        self._thread.start()

    def submit(self, execution: Execution) -> None:
        """Begin an execution in a context of its own."""
        with self._lock:
            if self._stopped:
                raise RuntimeError("the event loop is closed")
            self._loop.call_soon_threadsafe(self._begin, execution)

    def interrupt(self, execution: Execution) -> bool:
        """Cancel the execution's asyncio task."""
        return self._on_loop(lambda: self._cancel(execution))

    def settle(self, awaitable: Awaitable[object]) -> BaseException | None:
        """Await something beside the executions, and block until it ends. Returns what it raised."""
        return asyncio.run_coroutine_threadsafe(_settled(awaitable), self._loop).result()

    def kill(self, execution: Execution) -> bool:
        """Do nothing: a coroutine that goes on when it is cancelled has the loop's thread, as all the others do."""
        return False

    def close(self) -> None:
        """Cancel what runs and end the loop, unless a coroutine blocks it: then it is left behind."""
        self._closed = True
        self._on_loop(self._loop.stop)
        self._thread.join(_CLOSE_S)
        if self._thread.is_alive():
            logger.warning("executor_left_behind: a coroutine blocks the worker's event loop")

    def _on_loop(self, callback: Callable[[], None]) -> bool:
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:  # the loop is closed
            return False
        return True

    def _run(self) -> None:
        # The runner cancels what is left and closes asynchronous generators on its way out.
        with asyncio.Runner(loop_factory=lambda: self._loop):
            try:
                while not self._closed:
                    self._run_for_a_while()
            finally:
                with self._lock:
                    self._stopped = True

    def _run_for_a_while(self) -> None:
        """Run the loop until it is closed, or something that a task has started ends it, which is not its to end."""
        try:
            self._loop.run_forever()
        except (SystemExit, KeyboardInterrupt):
            logger.exception("loop_left: something that a task started would end the worker's event loop; it goes on")

    def _begin(self, execution: Execution) -> None:
        if execution.need_not_begin or self._stopped:  # what begins while the runner tidies up would never end
            execution.done(None)
            return
        task = self._loop.create_task(execution.run_async(), context=contextvars.Context())
        self._tasks[execution] = task
        task.add_done_callback(lambda task: self._end(execution, task))

    def _cancel(self, execution: Execution) -> None:
        task = self._tasks.get(execution)
        if task:
            task.cancel()

    def _end(self, execution: Execution, task: asyncio.Task[wire.AttemptResult]) -> None:
        del self._tasks[execution]
        execution.done(None if task.cancelled() else task.result())


async def _settled(awaitable: Awaitable[object]) -> BaseException | None:
    try:
        await awaitable
    except BaseException as error:  # noqa: BLE001 (SystemExit would end the event loop)
        return error
    return None


class ThreadExecutor:
    """Runs functions in daemon threads: made when none is idle, kept until the end.

    There are as many threads as executions at a time; limiting those is the caller's part. A thread cannot be
    stopped, and must not keep the process from exiting: hence not concurrent.futures, which waits for its threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle = 0
        self._threads = 0
        self._closed = False
        self._executions: queue.SimpleQueue[Execution | None] = queue.SimpleQueue()

    def submit(self, execution: Execution) -> None:
        """Begin an execution in a context of its own."""
        with self._lock:
            if self._closed:
                raise RuntimeError("the executor is closed")
            if self._idle:
                self._idle -= 1
                self._executions.put(execution)
                return
            name = f"tailrace-worker-task-{self._threads + 1}"
            threading.Thread(target=self._work, args=(execution,), name=name, daemon=True).start()
            self._threads += 1

    def interrupt(self, execution: Execution) -> bool:
        """Do nothing: a thread cannot be stopped."""
        return False

    def kill(self, execution: Execution) -> bool:
        """Do nothing: a thread cannot be killed."""
        return False

    def close(self) -> None:
        """End the idle threads now, and the others when their functions return."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for _ in range(self._threads):
                self._executions.put(None)

    def _work(self, first: Execution) -> None:
        self._execute(first)
        del first  # an idle thread must not keep arguments and results alive
        while (execution := self._executions.get()) is not None:
            self._execute(execution)
            del execution

    def _execute(self, execution: Execution) -> None:
        result = None if execution.need_not_begin else contextvars.Context().run(execution.run)
        with self._lock:
            self._idle += 1  # before done(), which may lead to the next submit
        execution.done(result)

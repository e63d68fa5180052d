"""Worker: what a program declares its tasks with, and runs them by."""

import contextlib
import inspect
import queue
import threading
from collections.abc import Callable, Generator, Sequence
from datetime import timedelta
from typing import Any, ParamSpec, Self, TypeVar, overload

from tailrace.client import PayloadCodec, RetryPolicy
from tailrace.client._codec import Codecs
from tailrace.worker._curable import ErrorTypes
from tailrace.worker._hooks import Hook
from tailrace.worker._place import Place
from tailrace.worker._runtime import Runtime
from tailrace.worker._settings import WorkerSettings, resolve_settings
from tailrace.worker._signals import next_of, signals_to
from tailrace.worker._task import ExecutorName, Task, TaskRegistry

P = ParamSpec("P")
R = TypeVar("R")
HookT = TypeVar("HookT", bound=Hook)


class Worker:
    """Runs tasks.

    Declares them with ``@worker.task``; then either ``run()`` in a program that does nothing else, or ``start()`` and
    ``stop()``, or ``with worker.running(): ...`` inside another one.
    """

    def __init__(
        self,
        queues: Sequence[str] | None = None,
        *,
        address: str | None = None,
        concurrency: int | None = None,
        threads: int | None = None,
        processes: int | None = None,
        max_tasks_per_child: int | None = None,
        name: str | None = None,
        grace_period: timedelta | None = None,
        codecs: Sequence[PayloadCodec] = (),
    ) -> None:
        """Settle what the worker draws from; nothing is connected yet.

        What is None is looked up when the worker starts: in the variable TAILRACE_WORKER_CONCURRENCY and the like, and
        TAILRACE_ADDRESS. Where that is not set either, the default holds.

        Args:
            queues: Queues to draw from, most wanted first, 1 to 64; "default" by default. A worker must know every
                task type that its queues carry: what it does not know fails there, and is tried again elsewhere or
                later.
            address: The server, as HOST:PORT; localhost:7440 by default.
            concurrency: Tasks at a time, those of all executors together; 1 to 10,000, 10 by default.
            threads: Those of them that may run in threads; all by default.
            processes: Those of them that may run in child processes, of which there are as many; 1 to 1000, never more
                than ``concurrency``, by default as many as there are processors. A worker without a task for the
                process executor has no child processes.
            max_tasks_per_child: After how many tasks a child process is replaced by a fresh one; never by default.
            name: What operators know it by, at most 100 characters; by default the host's name. Every process adds
                what makes it unique.
            grace_period: How long running tasks may take to finish once the worker is told to stop; 30 s by default.
            codecs: The first encodes results and checkpoints; all of them decode what comes in, by the name that it
                carries. A worker with tasks for the process executor needs codecs that can be pickled.

        Raises:
            ValueError: A value is out of bounds.
        """
        self._codecs = Codecs(codecs)
        self._given: dict[str, Any] = {
            "queues": _names(queues),
            "address": address,
            "concurrency": concurrency,
            "threads": threads,
            "processes": processes,
            "max_tasks_per_child": max_tasks_per_child,
            "name": name,
            "grace_period": grace_period,
        }
        resolve_settings(self._given, {})
        self._registry = TaskRegistry()
        self._on_start: list[Hook] = []
        self._on_stop: list[Hook] = []
        self._on_process_start: list[Hook] = []
        self._on_process_stop: list[Hook] = []
        self._lock = threading.Lock()
        self._runtime: Runtime | None = None

    @overload
    def task(self, function: Callable[P, R], /) -> Task[P, R]: ...

    @overload
    def task(
        self,
        /,
        *,
        name: str | None = None,
        retry: RetryPolicy | None = None,
        retry_on: ErrorTypes | None = None,
        dont_retry_on: ErrorTypes = (),
        executor: ExecutorName | None = None,
        queue: str | None = None,
        content_type: str | None = None,
    ) -> Callable[[Callable[P, R]], Task[P, R]]: ...

    def task(
        self,
        function: Callable[P, R] | None = None,
        /,
        *,
        name: str | None = None,
        retry: RetryPolicy | None = None,
        retry_on: ErrorTypes | None = None,
        dont_retry_on: ErrorTypes = (),
        executor: ExecutorName | None = None,
        queue: str | None = None,
        content_type: str | None = None,
    ) -> Task[P, R] | Callable[[Callable[P, R]], Task[P, R]]:
        """Make a function a task of this worker. It can still be called as before.

        Args:
            function: The function, when used without parentheses.
            name: The task type to submit it as; None is the function's own name.
            retry: When its failed attempts are tried again, unless the submitter says; None is not at all.
            retry_on: Exception classes that are worth another attempt, subclasses included; any other exception ends
                the task, whatever the policy. None is all of them.
            dont_retry_on: Exception classes that end the task, subclasses included, even if ``retry_on`` names them.
                Neither applies to RetryLater or to an attempt that ran too long.
            executor: "asyncio" runs it on the worker's event loop, "thread" in a thread, "process" in a child process,
                which imports it: it must be at the top level of a module. None goes by whether it is a coroutine
                function.
            queue: The queue for submits that name none.
            content_type: What its arguments are written as by submits that name the function, and what its result is
                where the input does not say. With ``application/octet-stream`` a result that is bytes goes as such,
                whatever the input was.

        Raises:
            ValueError: The name is no task type or is taken, the function or a codec does not suit the executor, or
                nothing is known of the content_type.
            TypeError: ``retry_on`` or ``dont_retry_on`` names something that is not an exception class.
        """

        def register(function: Callable[P, R]) -> Task[P, R]:
            plain = function.function if isinstance(function, Task) else function
            task = Task(
                plain,
                task_type=name,
                default_queue=queue,
                retry=retry,
                retry_on=retry_on,
                dont_retry_on=dont_retry_on,
                executor=executor,
                content_type=content_type,
                codecs=self._codecs,
            )
            self._registry.add(task)
            return task

        return register if function is None else register(function)

    def on_start(self, function: HookT, /) -> HookT:
        """Have a function without arguments called when the worker starts, before it asks for its first task.

        Several are called in the order in which they were declared, once for every run. A coroutine function runs on
        the event loop of the tasks, so that what it opens there can be used by them; a plain one in a thread. One
        that raises ends the run: those after it are not called, nor those of ``on_stop``, and run(), start() or
        running() raises what it raised. One that hangs is waited for until a second signal.

        Returns:
            The function as it was: ``@worker.on_start``.

        Raises:
            TypeError: It cannot be called.
        """
        self._on_start.append(_callable(function))
        return function

    def on_stop(self, function: HookT, /) -> HookT:
        """Have a function without arguments called when the worker has drained.

        No task runs any more then, save for those that could not be stopped. Several functions are called last declared
        first, wherever ``on_start`` runs its own, and 10 seconds are given to them all. One that raises is logged, and
        the others are called all the same.

        Returns:
            The function as it was: ``@worker.on_stop``.

        Raises:
            TypeError: It cannot be called.
        """
        self._on_stop.append(_callable(function))
        return function

    def on_process_start(self, function: HookT, /) -> HookT:
        """Have a function without arguments called in every child process when it starts, before its first task.

        For what children cannot share: connections, loaded models. Several are called in the order in which they were
        declared. A worker whose first children cannot start, as one raises, ends its run with ProcessStartError; later
        ones are started again and again, at growing distances.

        Returns:
            The function as it was: ``@worker.on_process_start``.

        Raises:
            TypeError: It is not a plain function.
            ValueError: It is not at the top level of a module, where child processes find it.
        """
        self._on_process_start.append(_importable(function))
        return function

    def on_process_stop(self, function: HookT, /) -> HookT:
        """Have a function without arguments called in every child process before it ends.

        Several are called last declared first, and have 10 seconds. They are not called in a child that dies or is
        killed. One that raises is logged.

        Returns:
            The function as it was: ``@worker.on_process_stop``.

        Raises:
            TypeError: It is not a plain function.
            ValueError: It is not at the top level of a module, where child processes find it.
        """
        self._on_process_stop.append(_importable(function))
        return function

    def run(
        self,
        address: str | None = None,
        *,
        queues: Sequence[str] | None = None,
        concurrency: int | None = None,
        threads: int | None = None,
        processes: int | None = None,
        max_tasks_per_child: int | None = None,
        grace_period: timedelta | None = None,
    ) -> int | None:
        """Work until SIGTERM or SIGINT, then drain and return.

        Draining takes no more tasks, lets the running ones finish within the grace period and gives back those that
        do not. A second signal ends the grace period at once and then raises SystemExit(128 + its number); a third
        one has its default effect. A server that is away is waited for, however long.

        In a thread other than the main one signals are left alone, and only stop() ends the run.

        Args:
            address: Instead of the worker's own, as is all that follows.
            queues: See Worker.
            concurrency: See Worker.
            threads: See Worker.
            processes: See Worker.
            max_tasks_per_child: See Worker.
            grace_period: See Worker.

        Returns:
            The number of the signal that ended it; None: stop() did.

        Raises:
            TailraceError: The server refuses this worker: ProtocolUnsupportedError, InvalidRequestError,
                CallRefusedError.
            RuntimeError: It is running already.
            ProcessStartError: Its child processes cannot start.
            SystemExit: There was a second signal.
            BaseException: Whatever a function of ``on_start`` raised.
        """
        happenings: queue.SimpleQueue[int | None] = queue.SimpleQueue()  # its put() is safe in a signal handler
        settings = self._settings_for(
            address=address,
            queues=_names(queues),
            concurrency=concurrency,
            threads=threads,
            processes=processes,
            max_tasks_per_child=max_tasks_per_child,
            grace_period=grace_period,
        )
        with signals_to(happenings.put) as restore_signals:
            runtime = self._launch(settings, lambda: happenings.put(None))
            first = next_of(happenings)
            if first is not None:
                runtime.stop()
                second = next_of(happenings)
                if second is not None:
                    restore_signals()
                    runtime.hurry()
                    runtime.join()
                    raise SystemExit(128 + second)
        if runtime.failure:
            raise runtime.failure
        return first

    def start(self, address: str | None = None) -> None:
        """Begin to work, in threads of its own, and return. While it is running already: no effect.

        Returns once the functions of ``on_start`` have; whether the server can be reached shows later. If it refuses
        this worker, the logger "tailrace.worker" says so.

        Raises:
            ProcessStartError: Its child processes cannot start.
            BaseException: Whatever a function of ``on_start`` raised.
        """
        try:
            runtime = self._launch(self._settings_for(address=address))
        except _AlreadyRunningError:
            return
        _begin(runtime)

    def stop(self) -> None:
        """Drain as run() does, and wait for the end. From any thread; again, or before the start: no effect."""
        with self._lock:
            runtime = self._runtime
        if runtime:
            runtime.stop()
            runtime.join()

    @contextlib.contextmanager
    def running(self, address: str | None = None) -> Generator[Self, None, None]:
        """Work inside a with statement; its end drains.

        Raises:
            TailraceError: At the end: the server refused this worker.
            RuntimeError: It is running already.
            BaseException: Before the first statement: whatever a function of ``on_start`` raised.
        """
        runtime = self._launch(self._settings_for(address=address))
        try:
            _begin(runtime)
            yield self
        finally:
            runtime.stop()
            runtime.join()
        if runtime.failure:
            raise runtime.failure

    def _settings_for(self, **given: Any) -> WorkerSettings:
        return resolve_settings(self._given | {name: value for name, value in given.items() if value is not None})

    def _launch(self, settings: WorkerSettings, on_end: Callable[[], None] = lambda: None) -> Runtime:
        with self._lock:
            if self._runtime and not self._runtime.ended:
                raise _AlreadyRunningError("this worker is running already")
            self._runtime = Runtime(
                settings,
                self._registry,
                on_start=self._on_start,
                on_stop=self._on_stop[::-1],
                on_process_start=self._on_process_start,
                on_process_stop=self._on_process_stop[::-1],
                on_end=on_end,
            )
            self._runtime.start()
            return self._runtime


class _AlreadyRunningError(RuntimeError):
    pass


def _callable(function: HookT) -> HookT:
    if not callable(function):
        raise TypeError(f"a function without arguments is called, not {function!r}")
    return function


def _importable(function: HookT) -> HookT:
    if inspect.iscoroutinefunction(function):
        raise TypeError(f"a child process has no event loop: {function!r} must be a plain function")
    Place.of(_callable(function))
    return function


def _names(queues: Sequence[str] | None) -> tuple[str, ...] | None:
    if queues is None:
        return None
    return (queues,) if isinstance(queues, str) else tuple(queues)


def _begin(runtime: Runtime) -> None:
    """Wait for the beginning; where it failed, wait for the end and raise what was wrong."""
    runtime.wait_until_begun()
    if runtime.start_error:
        runtime.join()
        raise runtime.start_error

"""Runs tasks in a child process, one at a time, and can be told to stop them."""

import contextlib
import contextvars
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Generator, Mapping
from types import FrameType
from typing import NoReturn

from tailrace.v1 import task_pb2
from tailrace.v1 import worker_service_pb2 as wire
from tailrace.worker._execution import Execution
from tailrace.worker._leases import LeaseKey
from tailrace.worker._pipe import Pipe, TaskOrder, Word
from tailrace.worker._signals import take_signals
from tailrace.worker._task import Task
from tailrace.worker._task_interrupt import TaskInterrupt

INTERRUPT = signal.SIGUSR2
"""How the reader reaches the main thread: a signal, which ends waits in the kernel too. SIGUSR1 is left to users."""
LEFT_TO_THE_PARENT = (signal.SIGINT, signal.SIGTERM)
"""A terminal and systemd send these to children as well. When to end is the parent's to say."""
PARENT_GONE = 70
"""Exit code of a child whose parent is gone."""

_INSIST_EVERY_S = 0.2


class ChildRunner:
    """The main thread, which runs the tasks, and a reader, which hears the parent even then.

    TaskInterrupt is raised by a signal handler, so between any two steps of the main thread. It may leave the task's
    own code only: never what speaks to the parent, as half a message would be the end of the pipe.
    """

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._tasks: Mapping[str, Task[..., object]] = {}
        self._executions: queue.SimpleQueue[Execution | None] = queue.SimpleQueue()
        self._current: Execution | None = None
        self._stopped: Execution | None = None
        self._interrupted: Execution | None = None
        self._interruptible: Execution | None = None
        """What may be interrupted just now; each once."""
        self._is_forked = False
        """This is no longer the child but a process that its task has forked."""

    def listen(self) -> None:
        """Begin to hear the parent, and leave its signals to it. In the main thread, with these signals blocked."""
        # Not SIG_IGN, which the programs that a task starts would inherit.
        take_signals(LEFT_TO_THE_PARENT, _ignore)
        signal.signal(INTERRUPT, self._on_interrupt)
        os.register_at_fork(after_in_child=self._be_forked)
        threading.Thread(target=self._read, name="tailrace-worker-reader", daemon=True).start()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {*LEFT_TO_THE_PARENT, INTERRUPT})

    def say(self, word: Word, body: bytes = b"") -> None:
        """Tell the parent something. From any thread; in a process that a task has forked: no effect.

        A child that cannot be heard, as the parent is gone or a task has closed the pipe, ends here.
        """
        if self._is_forked:
            return
        with self._uninterrupted():
            try:
                self._pipe.say(word, body)
            except OSError:
                os._exit(PARENT_GONE)

    def work(self, tasks: Mapping[str, Task[..., object]]) -> None:
        """Say that all is ready, and run one task after the other until told to leave."""
        self._tasks = tasks
        self.say(Word.READY)
        while (execution := self._executions.get()) is not None:
            self.say(Word.BEGUN)
            result = self._run(execution)
            if self._is_forked:
                _end_forked(result)
            self._current = None
            self.say(Word.ENDED, result.SerializeToString())
            del execution, result  # a child that waits must not keep arguments and results alive

    def _run(self, execution: Execution) -> wire.AttemptResult:
        try:
            self._interruptible = execution
            self._interrupt_if_stopped()
            result = contextvars.Context().run(execution.run)
            self._interruptible = None
        except TaskInterrupt as error:  # at the very edge of the function
            return execution.interrupted(error)
        return result

    def _be_forked(self) -> None:
        """Be a process of the task's own: it speaks for nobody."""
        self._is_forked = True
        self._interruptible = None
        self._pipe.close()
        signal.signal(INTERRUPT, signal.SIG_DFL)

    @contextlib.contextmanager
    def _uninterrupted(self) -> Generator[None, None, None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        execution, self._interruptible = self._interruptible, None
        try:
            yield
        finally:
            self._interruptible = execution
            self._interrupt_if_stopped()

    def _on_interrupt(self, _number: int, _frame: FrameType | None) -> None:
        self._interrupt_if_stopped()

    def _interrupt_if_stopped(self) -> None:
        execution = self._interruptible
        if execution is not None and execution is self._stopped:
            self._interruptible = None
            self._interrupted = execution
            raise TaskInterrupt("the task is to stop")

    def _read(self) -> None:
        try:
            while True:
                self._hear(*self._pipe.hear())
        except (EOFError, OSError):
            os._exit(PARENT_GONE)
        except BaseException as error:  # noqa: BLE001 (a child that does not listen could never be told to end)
            traceback.print_exception(error)
            os._exit(1)

    def _hear(self, word: Word, body: bytes) -> None:
        if word is Word.TASK:
            self._current = execution = self._execution(TaskOrder.from_bytes(body))
            self._executions.put(execution)
        elif word is Word.STOP:
            self._stop(has_timed_out=body == b"1")
        elif word is Word.LEAVE:
            self._executions.put(None)

    def _stop(self, *, has_timed_out: bool) -> None:
        execution = self._current
        if execution is None:
            return
        execution.timed_out |= has_timed_out
        execution.revoked.set()
        self._stopped = execution
        threading.Thread(target=self._insist, args=(execution,), name="tailrace-worker-interrupt", daemon=True).start()

    def _insist(self, execution: Execution) -> None:
        """Send the signal until it is heard.

        Python runs a handler between two of its own steps: a signal that comes after the last one before a wait in the
        kernel does not end that wait.
        """
        main_thread = threading.main_thread().ident
        assert main_thread is not None
        pause = threading.Event()
        while self._current is execution and self._interrupted is not execution:
            signal.pthread_kill(main_thread, INTERRUPT)
            pause.wait(_INSIST_EVERY_S)

    def _execution(self, order: TaskOrder) -> Execution:
        assignment = order.assignment
        key = LeaseKey.of(assignment.lease)
        return Execution(
            key,
            assignment,
            self._tasks[assignment.spec.task_type],
            lambda _execution, _result: None,
            lambda progress: self._tell_progress(key, progress),
            deadline=None if order.time_left_s is None else time.monotonic() + order.time_left_s,
        )

    def _tell_progress(self, key: LeaseKey, progress: task_pb2.Progress) -> None:
        current = self._current
        if current is not None and current.key == key:
            self.say(Word.PROGRESS, progress.SerializeToString())


def _ignore(_number: int, _frame: FrameType | None) -> None:
    pass


def _end_forked(result: wire.AttemptResult) -> NoReturn:
    """End a forked process whose code has left the task, as Python would have ended it."""
    code = 0
    if result.HasField("failure"):
        code = _exit_code_of(result.failure)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # there may be none, or a closed one
            stream.flush()
    os._exit(code)


def _exit_code_of(failure: task_pb2.Failure) -> int:
    if failure.type != "SystemExit":
        sys.stderr.write(failure.traceback)
        return 1
    if not failure.message:
        return 0
    if failure.message.isdecimal():
        return int(failure.message) & 0xFF
    sys.stderr.write(f"{failure.message}\n")
    return 1

"""Keeps one place among the child processes filled: starts a child, gives it tasks, replaces it."""

import contextlib
import logging
import multiprocessing
import threading
import time
from collections import deque
from typing import Protocol

from tailrace.v1 import task_pb2
from tailrace.v1 import worker_service_pb2 as wire
from tailrace.worker._child import ChildFunctions
from tailrace.worker._child_logging import handle_forwarded
from tailrace.worker._child_process import ChildProcess
from tailrace.worker._execution import Execution
from tailrace.worker._pipe import TaskOrder, Word

LEAVE_S = 10.0
"""How long a child may take for its on_process_stop hooks."""

MAX_FALSE_STARTS = 3
"""How many children may die of one execution before it begins: what kills three when they hear of it is no accident."""

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0

logger = logging.getLogger("tailrace.worker")


class Pool(Protocol):
    """What keepers share."""

    lock: threading.RLock
    """Guards all the rest, and the keepers' ``execution`` and ``is_idle``."""
    pending: deque[Execution]
    """Executions that no child has yet."""
    closed: bool
    """There is nothing more to do."""
    is_hurried: bool
    """There is no time for hooks."""

    def note_beginning(self, problem: str) -> None:
        """Hear that a child can take tasks; or, with a problem, that one cannot."""


class ChildKeeper:
    """A thread that has one child after another, and is the only one to speak with them.

    So a child that does not listen holds up nobody else.
    """

    def __init__(self, pool: Pool, functions: ChildFunctions, *, max_tasks: int | None, number: int) -> None:
        self.execution: Execution | None = None
        """What its child runs, or is about to."""
        self.is_idle = False
        """Whether its child waits for something to run."""
        self.child: ChildProcess | None = None
        self._pool = pool
        self._functions = functions
        self._max_tasks = max_tasks
        self._tasks = 0
        self._has_begun = False
        self._leave_by: float | None = None
        self._to_stop: deque[Execution] = deque()
        self._wake, self._waker = multiprocessing.Pipe(duplex=False)
        self._thread = threading.Thread(target=self._run, name=f"tailrace-worker-child-{number}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Have it look at what there is to do."""
        with self._pool.lock:
            if not self._waker.closed:
                self._waker.send_bytes(b"")

    def stop(self, execution: Execution) -> None:
        """Have the child asked to stop this, if it is what it runs."""
        self._to_stop.append(execution)
        self.wake()

    def kill(self) -> None:
        """Kill the child, which is then replaced unless the pool is closed."""
        if child := self.child:
            child.kill()

    def join(self, timeout_s: float) -> None:
        """Wait for the end, which comes once the pool is closed; before start(): no effect."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        failures = 0
        while not (self._pool.closed or self._pool.is_hurried):
            try:
                problem = self._keep_one()
            except Exception as error:
                logger.exception("process_not_kept: a child process is replaced")
                problem = f"{type(error).__name__}: {error}"
                self._give_up()
            failures = failures + 1 if problem else 0
            if problem and not self._pool.closed:
                self._note_failure(problem, min(_FIRST_PAUSE_S * 2 ** (failures - 1), _LONGEST_PAUSE_S))
        with self._pool.lock:
            self._waker.close()
            self._wake.close()

    def _note_failure(self, problem: str, pause_s: float) -> None:
        logger.error("process_not_started: %s", problem)
        self._pool.note_beginning(problem)
        with self._pool.lock:
            execution = self._pool.pending.popleft() if self._pool.pending else None
        if execution:
            execution.done(None)  # others may be better off
        resume_at = time.monotonic() + pause_s
        while not self._pool.closed and (rest_s := resume_at - time.monotonic()) > 0:
            self._wake.poll(rest_s)
            self._forget_wakes()

    def _give_up(self) -> None:
        """Get rid of a child with which something went wrong that nobody foresaw."""
        with self._pool.lock:
            child, self.child = self.child, None
            self.is_idle = False
        if child:
            child.kill()
            with contextlib.suppress(OSError, ValueError):  # it was buried already
                child.bury()
        if self.execution:
            self._end(None)

    def _keep_one(self) -> str:
        """Have a child from its start to its end. Returns why it could take no tasks, if it could not."""
        try:
            child = ChildProcess(self._functions)
        except Exception as error:  # noqa: BLE001 (an operator is told, and another try follows)
            return f"no child process can be started: {type(error).__name__}: {error}"
        self.child = child
        self._tasks, self._has_begun, self._leave_by = 0, False, None
        problem = self._await_ready(child)
        if problem is None:
            self._serve(child)
        exit_code = child.bury()
        with self._pool.lock:
            self.is_idle = False
            self.child = None
        if problem is None:
            self._settle(child, exit_code)
            return ""
        return f"a child process cannot start: {problem or f'it ended with exit code {exit_code}'}"

    def _await_ready(self, child: ChildProcess) -> str | None:
        """Wait until it can take tasks. Returns what it says it cannot for, which may be nothing; None: it can."""
        try:
            while True:
                if self._pool.closed or self._pool.is_hurried:
                    child.kill()
                match child.hear(self._wake, None):
                    case (Word.READY, _):
                        self._pool.note_beginning("")
                        return None
                    case (Word.UNFIT, body):
                        return body.decode()
                    case (word, body):
                        self._take(word, body)
                    case None:
                        pass
                self._forget_wakes()
        except (EOFError, OSError):
            return ""

    def _serve(self, child: ChildProcess) -> None:
        """Give a child what there is to do, and hear of it, until it is dead."""
        try:
            while True:
                self._give_orders(child)
                if message := child.hear(self._wake, self._patience_s(child)):
                    self._take(*message)
                self._forget_wakes()
        except (EOFError, OSError):
            return

    def _patience_s(self, child: ChildProcess) -> float | None:
        if self._leave_by is None:
            return None
        rest_s = self._leave_by - time.monotonic()
        if rest_s <= 0:
            child.kill()
            self._leave_by = None
            return None
        return rest_s

    def _give_orders(self, child: ChildProcess) -> None:
        execution = self._next_execution(child)
        if execution:
            child.say(Word.TASK, TaskOrder(execution.assignment, execution.time_left_s).to_bytes())
        while self._to_stop:
            execution = self._to_stop.popleft()
            if execution is self.execution:
                child.say(Word.STOP, b"1" if execution.timed_out else b"")

    def _next_execution(self, child: ChildProcess) -> Execution | None:
        with self._pool.lock:
            if self.execution is not None or self._leave_by is not None:
                return None
            is_worn = self._max_tasks is not None and self._tasks >= self._max_tasks
            if self._pool.closed or is_worn:
                self.is_idle = False
                self._leave_by = time.monotonic() + LEAVE_S
                child.say(Word.LEAVE)
                return None
            self.execution = self._pool.pending.popleft() if self._pool.pending else None
            self.is_idle = self.execution is None
            return self.execution

    def _take(self, word: Word, body: bytes) -> None:
        if word is Word.RECORD:
            handle_forwarded(body)
        elif word is Word.BEGUN:
            self._has_begun = True
        elif word is Word.PROGRESS and self.execution:
            self.execution.tell_progress(task_pb2.Progress.FromString(body))
        elif word is Word.ENDED:
            self._end(wire.AttemptResult.FromString(body))

    def _end(self, result: wire.AttemptResult | None) -> None:
        with self._pool.lock:
            execution, self.execution = self.execution, None
            self._has_begun = False
            self._tasks += 1
        if execution:
            execution.done(result)

    def _settle(self, child: ChildProcess, exit_code: int) -> None:
        """Answer for what a dead child leaves behind."""
        execution = self.execution
        if execution is None:
            if self._leave_by is None and not self._pool.closed:
                logger.warning("process_lost: idle child process %d ended with exit code %d", child.pid, exit_code)
        elif self._has_begun or not self._put_back(execution):
            logger.log(
                logging.INFO if execution.cancelled or execution.timed_out else logging.ERROR,
                "process_died: child process %d ended with exit code %d while it ran task %s",
                child.pid,
                exit_code,
                execution.key.task_id,
                extra={"task_id": execution.key.task_id},
            )
            is_to_blame = self._has_begun or execution.false_starts >= MAX_FALSE_STARTS
            self._end(execution.died(exit_code) if is_to_blame else None)

    def _put_back(self, execution: Execution) -> bool:
        """Have another child run what has not begun, unless there is no sense in that."""
        with self._pool.lock:  # so that whoever asks it to stop finds it either here or there
            execution.false_starts += 1
            if self._pool.closed or execution.need_not_begin or execution.false_starts >= MAX_FALSE_STARTS:
                return False
            self.execution = None
            self._pool.pending.appendleft(execution)
            return True

    def _forget_wakes(self) -> None:
        while self._wake.poll():
            self._wake.recv_bytes()

"""Runs functions in child processes, which can be killed one by one."""

import atexit
import threading
import time
from collections import deque

from tailrace.worker._child import ChildFunctions
from tailrace.worker._child_keeper import LEAVE_S, ChildKeeper
from tailrace.worker._execution import Execution

_KILLED_S = 2.0


class ProcessStartError(RuntimeError):
    """A worker's child processes cannot start; the message says why."""

    __module__ = "tailrace.worker"


class ProcessExecutor:
    """Child processes, started at the beginning and kept; each runs one task at a time."""

    def __init__(self, functions: ChildFunctions, *, processes: int, max_tasks: int | None = None) -> None:
        """Decide what there is to be; ``start`` begins.

        Args:
            functions: What the children run.
            processes: How many there are.
            max_tasks: After how many tasks a child is replaced by a fresh one; None: never.
        """
        self.lock = threading.RLock()
        self.pending: deque[Execution] = deque()
        self.closed = False
        self.is_hurried = False
        self._task_types = frozenset(task.task_type for task in functions.tasks)
        self._began = threading.Condition(self.lock)
        self._beginnings = 0
        self._problem = ""
        self._keepers = [
            ChildKeeper(self, functions, max_tasks=max_tasks, number=number) for number in range(1, processes + 1)
        ]

    def start(self) -> None:
        """Start the children."""
        atexit.register(self._kill_all)  # multiprocessing would wait for them without end
        for keeper in self._keepers:
            keeper.start()

    def wait_until_ready(self) -> str:
        """Wait until every child can take tasks, or nobody can wait any longer. Returns why one cannot, if so."""
        with self._began:
            self._began.wait_for(
                lambda: self.closed or self.is_hurried or self._problem or self._beginnings >= len(self._keepers)
            )
            return self._problem

    def knows(self, task_type: str) -> bool:
        """Tell whether the children can run a task."""
        return task_type in self._task_types

    def submit(self, execution: Execution) -> None:
        """Give an execution to the next child that is free."""
        with self.lock:
            if self.closed:
                raise RuntimeError("the executor is closed")
            self.pending.append(execution)
            keeper = next((keeper for keeper in self._keepers if keeper.is_idle), None)
            if keeper:
                keeper.is_idle = False
                keeper.wake()

    def interrupt(self, execution: Execution) -> bool:
        """Raise TaskInterrupt in the execution's code."""
        with self.lock:
            keeper = self._keeper_of(execution)
            is_pending = execution in self.pending
            if is_pending:
                self.pending.remove(execution)
        if is_pending:
            execution.done(None)
        elif keeper:
            keeper.stop(execution)
        return True

    def kill(self, execution: Execution) -> bool:
        """Kill the child that runs the execution."""
        with self.lock:
            keeper = self._keeper_of(execution)
            if keeper:
                keeper.kill()
        return True

    def hurry(self) -> None:
        """Wait for no child that does nothing but begin or leave, and start none again. Again: no effect."""
        with self.lock:
            self.is_hurried = True
            self._began.notify_all()
            for keeper in self._keepers:
                if keeper.execution is None:
                    keeper.kill()

    def close(self) -> None:
        """Kill what runs, and let the others call their hooks. Again: no effect."""
        with self.lock:
            if self.closed:
                return
            self.closed = True
            self._began.notify_all()
            pending = list(self.pending)
            self.pending.clear()
            for keeper in self._keepers:
                if keeper.execution or self.is_hurried:
                    keeper.kill()
                keeper.wake()
        for execution in pending:
            execution.done(None)
        deadline = time.monotonic() + LEAVE_S + _KILLED_S
        for keeper in self._keepers:
            keeper.join(max(0.0, deadline - time.monotonic()))
        atexit.unregister(self._kill_all)

    def _kill_all(self) -> None:
        """Kill every child, and start none again."""
        with self.lock:
            self.closed = True
        for keeper in self._keepers:
            keeper.kill()

    def note_beginning(self, problem: str) -> None:
        """Hear of a child that can take tasks, or cannot."""
        with self._began:
            if self._beginnings < len(self._keepers):
                self._problem = self._problem or problem
            self._beginnings += 1
            self._began.notify_all()

    def process_ids(self) -> list[int]:
        """List the children that live."""
        return [child.pid for keeper in self._keepers if (child := keeper.child)]

    def _keeper_of(self, execution: Execution) -> ChildKeeper | None:
        return next((keeper for keeper in self._keepers if keeper.execution is execution), None)

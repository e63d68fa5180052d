"""Starts the tasks that the server assigns, and hands their outcomes back."""

import logging
import threading
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from tailrace.v1 import worker_service_pb2 as wire
from tailrace.worker._conversation import Conversation
from tailrace.worker._execution import Execution, unknown_task_type
from tailrace.worker._executors import AsyncioExecutor, Executor, ThreadExecutor
from tailrace.worker._leases import LeaseKey
from tailrace.worker._process_executor import ProcessExecutor
from tailrace.worker._task import ExecutorName, Task, TaskRegistry
from tailrace.worker._time_limits import HARD_LIMIT_S, TimeLimits

# The process executor is there from the beginning, where there is one.
_MAKERS: dict[ExecutorName, Callable[[], Executor]] = {"asyncio": AsyncioExecutor, "thread": ThreadExecutor}

logger = logging.getLogger("tailrace.worker")


class Runner:
    """Between the conversation, which knows leases, and the executors, which know functions. Thread-safe."""

    def __init__(
        self,
        conversation: Conversation,
        registry: TaskRegistry,
        *,
        processes: ProcessExecutor | None = None,
        hard_limit_s: float = HARD_LIMIT_S,
    ) -> None:
        self._conversation = conversation
        self._registry = registry
        self._lock = threading.Lock()
        self._executions: dict[LeaseKey, Execution] = {}
        self._processes = processes
        self._executors: dict[ExecutorName, Executor] = {"process": processes} if processes else {}
        self._time_limits = TimeLimits(self._time_out, self._abandon, hard_limit_s=hard_limit_s)

    def start_processes(self) -> str:
        """Start the child processes, if there are any, and wait for them. Returns why they cannot be, if so."""
        if self._processes is None:
            return ""
        self._processes.start()
        return self._processes.wait_until_ready()

    def start(self, tasks: Sequence[tuple[LeaseKey, wire.Assignment]]) -> None:
        """Begin tasks. Their first beats are on the stream."""
        for key, assignment in tasks:
            task = self._registry.get(assignment.spec.task_type)
            if task is None or not self._can_run(task):
                self._refuse(key, assignment)
                continue
            execution = Execution(key, assignment, task, self._done, partial(self._conversation.tell_progress, key))
            with self._lock:
                self._executions[key] = execution
            if not self._conversation.is_running(key):  # lost before stop() could find it
                execution.cancelled = True
            elif self._conversation.is_revoked(key):  # asked before revoke() could find it
                execution.revoked.set()
            if execution.limit_s is not None:
                self._time_limits.watch(key, execution.limit_s)
            self._begin(execution)

    def stop(self, keys: Sequence[LeaseKey]) -> None:
        """Stop tasks whose lease was lost."""
        for key in keys:
            execution = self._execution(key)
            if execution is None:
                continue
            execution.revoked.set()
            self._time_limits.hasten(key)
            if not self._interrupt(execution):
                logger.warning(
                    "task_abandoned: task %s runs on in its thread, its slot stays taken; its result will be dropped",
                    key.task_id,
                    extra={"task_id": key.task_id},
                )

    def revoke(self, keys: Sequence[LeaseKey]) -> None:
        """Ask tasks to stop; what they come to is told as ever."""
        for key in keys:
            logger.info("task_revoked: task %s is asked to stop", key.task_id, extra={"task_id": key.task_id})
            execution = self._execution(key)
            if execution:
                execution.revoked.set()
                self._executor(execution.task.executor).interrupt(execution)

    def interrupt(self, keys: Sequence[LeaseKey]) -> list[LeaseKey]:
        """Stop what can be stopped of these. Returns what was, or soon will be."""
        executions = [(key, self._execution(key)) for key in keys]
        return [key for key, execution in executions if execution and self._interrupt(execution)]

    def kill(self, keys: Sequence[LeaseKey]) -> None:
        """End by force what can be ended so."""
        for key in keys:
            execution = self._execution(key)
            if execution:
                self._executor(execution.task.executor).kill(execution)

    def settle(self, awaitable: Awaitable[object]) -> BaseException | None:
        """Await something on the event loop of the tasks, and block until it ends. Returns what it raised."""
        executor = self._executor("asyncio")
        assert isinstance(executor, AsyncioExecutor)
        return executor.settle(awaitable)

    def hurry(self) -> None:
        """Wait no longer for child processes that have nothing to do but to begin or to end. Again: no effect."""
        if self._processes:
            self._processes.hurry()

    def close(self) -> None:
        """Let go of the executors. Again: no effect."""
        self._time_limits.close()
        with self._lock:
            executors = list(self._executors.values())
        for executor in executors:
            executor.close()

    def _time_out(self, key: LeaseKey) -> None:
        execution = self._execution(key)
        if execution is not None and not execution.cancelled:
            logger.warning("task_timed_out: task %s is asked to stop", key.task_id, extra={"task_id": key.task_id})
            execution.timed_out = True
            execution.revoked.set()
            self._executor(execution.task.executor).interrupt(execution)

    def _abandon(self, key: LeaseKey) -> None:
        """Kill an attempt that did not stop when asked to, or answer for it where it cannot be killed."""
        execution = self._execution(key)
        if execution is None:
            return
        if self._executor(execution.task.executor).kill(execution):
            logger.warning("task_killed: task %s did not stop", key.task_id, extra={"task_id": key.task_id})
        elif not execution.cancelled and self._conversation.abandon(key, execution.overran()):
            logger.error(
                "task_abandoned: task %s did not stop after its execution_timeout and runs on, its slot stays taken",
                key.task_id,
                extra={"task_id": key.task_id},
            )

    def _begin(self, execution: Execution) -> None:
        try:
            self._executor(execution.task.executor).submit(execution)
        except RuntimeError:  # no more threads; an event loop that a task has stopped
            extra = {"task_id": execution.key.task_id}
            logger.exception("task_not_begun: task %s is given back", execution.key.task_id, extra=extra)
            self._done(execution, None)

    def _can_run(self, task: Task[..., object]) -> bool:
        """Tell whether an executor knows it: child processes know what was declared before the worker started."""
        if task.executor != "process":
            return True
        return self._processes is not None and self._processes.knows(task.task_type)

    def _executor(self, name: ExecutorName) -> Executor:
        with self._lock:
            if name not in self._executors:
                self._executors[name] = _MAKERS[name]()
            return self._executors[name]

    def _execution(self, key: LeaseKey) -> Execution | None:
        with self._lock:
            return self._executions.get(key)

    def _interrupt(self, execution: Execution) -> bool:
        execution.cancelled = True
        return self._executor(execution.task.executor).interrupt(execution)

    def _refuse(self, key: LeaseKey, assignment: wire.Assignment) -> None:
        task_type = assignment.spec.task_type
        logger.warning("task_type_unknown: %s", task_type, extra={"task_id": key.task_id})
        self._conversation.finish(key, unknown_task_type(key, task_type))

    def _done(self, execution: Execution, result: wire.AttemptResult | None) -> None:
        with self._lock:
            self._executions.pop(execution.key, None)
        self._time_limits.forget(execution.key)
        self._conversation.finish(execution.key, result)

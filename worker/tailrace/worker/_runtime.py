"""One run of a worker: everything it is made of, from start to the last goodbye."""

import logging
import random
import threading
from collections.abc import Callable, Sequence

import grpc

from tailrace.client._channel import stream_channel_options
from tailrace.client._retry import CALL_BACKOFF
from tailrace.v1.worker_service_pb2_grpc import WorkerServiceStub
from tailrace.worker._child import ChildFunctions
from tailrace.worker._connection import Connection
from tailrace.worker._conversation import Conversation
from tailrace.worker._hooks import Hook, HookRun
from tailrace.worker._leases import LeaseKey
from tailrace.worker._process_executor import ProcessExecutor, ProcessStartError
from tailrace.worker._runner import Runner
from tailrace.worker._session import WorkerSession
from tailrace.worker._settings import WorkerSettings
from tailrace.worker._slots import Slots
from tailrace.worker._stream import StreamTimes
from tailrace.worker._task import ExecutorName, TaskRegistry
from tailrace.worker._time_limits import HARD_LIMIT_S

# After the grace period: for coroutines to act on their cancellation, and for the server to acknowledge the rest.
_UNWIND_S = 2.0
_FAREWELL_S = 5.0
_KILLED_S = 1.0
_HURRIED_S = 1.0
_STOP_HOOKS_S = 10.0

logger = logging.getLogger("tailrace.worker")


class Runtime:
    """A worker at work. Starts once, stops once; stopping takes at most the grace period and some seconds."""

    def __init__(
        self,
        settings: WorkerSettings,
        registry: TaskRegistry,
        *,
        on_start: Sequence[Hook] = (),
        on_stop: Sequence[Hook] = (),
        on_process_start: Sequence[Hook] = (),
        on_process_stop: Sequence[Hook] = (),
        on_end: Callable[[], None] = lambda: None,
        times: StreamTimes | None = None,
        hard_limit_s: float = HARD_LIMIT_S,
    ) -> None:
        info = settings.introduction()
        session = WorkerSession(
            info,
            slots=_slots(settings, registry),
            retry_pause_s=lambda failures: CALL_BACKOFF.pause_s(failures, random.random()),
        )
        self._grace_s = settings.grace_period.total_seconds()
        self._conversation = Conversation(session)
        tasks = [task for task in registry if task.executor == "process"]
        functions = ChildFunctions(tasks=tasks, on_start=on_process_start, on_stop=on_process_stop)
        processes = _processes(settings, functions) if tasks else None
        self._runner = Runner(self._conversation, registry, processes=processes, hard_limit_s=hard_limit_s)
        self._channel = grpc.insecure_channel(settings.resolved_address(), options=stream_channel_options())
        stub = WorkerServiceStub(self._channel)
        self._connection = Connection(stub, self._conversation, self._runner, times=times)
        self._start_hooks = HookRun("on_start", on_start, self._runner.settle, stops_at_error=True)
        self._stop_hooks = HookRun("on_stop", on_stop, self._runner.settle, stops_at_error=False)
        self._process_error: ProcessStartError | None = None
        self._begun = threading.Event()
        self._on_end = on_end
        self._stopping = False
        self._hurried = False
        self._keeper = threading.Thread(target=self._live, name="tailrace-worker-keeper", daemon=True)
        logger.info(
            "worker_started: %s at %s, %d at a time, queues: %s, tasks: %s",
            info.worker_id,
            settings.resolved_address(),
            settings.concurrency,
            ", ".join(info.queues),
            ", ".join(task.task_type for task in registry) or "none: nothing was decorated with @worker.task",
        )

    @property
    def failure(self) -> BaseException | None:
        """Why the run ended by itself: it could not begin, or the server refused the worker. None: it did not."""
        return self.start_error or self._connection.refusal

    @property
    def start_error(self) -> BaseException | None:
        """What an on_start hook raised, or why there can be no child processes; None when all is well."""
        return self._start_hooks.error or self._process_error

    @property
    def ended(self) -> bool:
        """True once a run that was started is over."""
        return not self._keeper.is_alive()

    def start(self) -> None:
        """Begin."""
        self._keeper.start()

    def wait_until_begun(self) -> None:
        """Wait until the on_start hooks have come to their end, well or not."""
        self._begun.wait()

    def stop(self) -> None:
        """Begin to drain; returns at once. Again: no effect."""
        self._stopping = True
        self._conversation.wake()

    def hurry(self) -> None:
        """End the grace period now, and the wait for hooks. Again: no effect."""
        self._hurried = True
        self._start_hooks.give_up()
        self._stop_hooks.give_up()
        self._runner.hurry()
        self._conversation.wake()

    def join(self) -> None:
        """Wait for the end. Blocks for ever unless stop() is called, a hook fails or the server refuses this worker."""
        self._keeper.join()

    def _live(self) -> None:
        try:
            if self._start_hooks.run(_HURRIED_S if self._hurried else None):
                if self._has_processes():
                    self._work()
                self._stop_hooks.run(self._patience(_STOP_HOOKS_S))
            self._close()
        finally:
            self._begun.set()
            self._on_end()

    def _has_processes(self) -> bool:
        problem = "" if self._hurried else self._runner.start_processes()
        if problem:
            self._process_error = ProcessStartError(problem)
        return not problem

    def _work(self) -> None:
        if not self._stopping:
            self._connection.start()
        self._begun.set()
        self._conversation.wait_for(lambda: self._stopping)
        if self._stopping:
            self._drain()

    def _drain(self) -> None:
        logger.info("worker_draining")
        conversation = self._conversation
        conversation.drain()
        conversation.wait_for(lambda: conversation.idle or conversation.drained or self._hurried, self._grace_s)
        running = conversation.running()
        if running:
            self._give_back(running)
        conversation.wait_for(lambda: conversation.said_goodbye, self._patience(_FAREWELL_S))
        if conversation.unacknowledged and not conversation.drained:
            logger.warning("worker_unheard: the server has not acknowledged %d leases", conversation.unacknowledged)

    def _give_back(self, running: list[LeaseKey]) -> None:
        stopped = self._runner.interrupt(running)
        self._conversation.wait_until_ended(stopped, self._patience(_UNWIND_S))
        self._runner.kill(stopped)
        self._conversation.wait_until_ended(stopped, _KILLED_S)
        self._conversation.release_unfinished()
        logger.warning("tasks_released: %d tasks did not finish within the grace period", len(running))

    def _patience(self, seconds: float) -> float:
        return _HURRIED_S if self._hurried else seconds

    def _close(self) -> None:
        self._conversation.close()
        self._connection.close()
        self._runner.close()
        self._channel.close()
        logger.info("worker_stopped")


def _slots(settings: WorkerSettings, registry: TaskRegistry) -> Slots:
    most: dict[ExecutorName, int] = {
        "asyncio": settings.concurrency,
        "thread": settings.threads or settings.concurrency,
        "process": settings.resolved_processes(),
    }
    used = {task.executor for task in registry}

    def executor_of(task_type: str) -> str | None:
        task = registry.get(task_type)
        return task.executor if task else None

    return Slots(settings.concurrency, {name: most[name] for name in most if name in used}, executor_of)


def _processes(settings: WorkerSettings, functions: ChildFunctions) -> ProcessExecutor:
    return ProcessExecutor(functions, processes=settings.resolved_processes(), max_tasks=settings.max_tasks_per_child)

"""One child process as its worker sees it: started, spoken with, killed, buried."""

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Generator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from tailrace.worker._child import ChildFunctions, ChildOrders, run_child
from tailrace.worker._child_logging import logging_levels
from tailrace.worker._child_runner import LEFT_TO_THE_PARENT
from tailrace.worker._pipe import Pipe, Word

_BURIAL_S = 5.0
_LOOK_S = 0.01

# Never a fork: this process has threads and gRPC in it.
_SPAWN = multiprocessing.get_context("spawn")
# What multiprocessing knows of its children is not made for several threads.
_STARTING = threading.Lock()


class ChildProcess:
    """A child that was started. The thread that starts it has to stay: the kernel ends the child with that thread."""

    def __init__(self, functions: ChildFunctions) -> None:
        """Start it.

        Raises:
            OSError: The system has no room for another process.
            RuntimeError: This program is being imported by a child itself.
        """
        ours, theirs = _SPAWN.Pipe()
        orders = ChildOrders(functions=pickle.dumps(functions), levels=logging_levels(), parent_pid=os.getpid())
        self._process = _SPAWN.Process(target=run_child, args=(theirs, orders), name="tailrace-worker-child")
        self._pipe = Pipe(ours)
        try:
            with _STARTING, _signals_held():
                self._process.start()
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self.pid = self._process.pid or 0
        """The process id."""
        self._death = _death_of(self._process)

    def say(self, word: Word, body: bytes = b"") -> None:
        """Send a message; without effect once it is dead, which ``hear`` tells."""
        with contextlib.suppress(OSError):
            self._pipe.say(word, body)

    def hear(self, wake: Connection, timeout_s: float | None) -> tuple[Word, bytes] | None:
        """Wait until it says something. None: ``wake`` can be read, or time is up; without a time there is no limit.

        Raises:
            EOFError, OSError: It is dead, and all that it said was heard.
        """
        ready = wait([self._pipe.connection, wake, self._death], timeout_s)
        if self._pipe.connection in ready or (self._death in ready and self._pipe.connection.poll()):
            return self._pipe.hear()
        if self._death in ready:
            raise EOFError
        return None

    def kill(self) -> None:
        """End it at once. Again, or once it is dead: no effect."""
        with contextlib.suppress(OSError, ValueError):
            self._process.kill()

    def bury(self) -> int:
        """Wait for its end, which must be at hand, and let go of it. Returns its exit code; -N: ended by signal N."""
        if not wait([self._death], _BURIAL_S):
            self.kill()
            wait([self._death], _BURIAL_S)
        exit_code = self._exit_code()
        self._pipe.close()
        if self._death is not self._process.sentinel:
            os.close(self._death)
        with _STARTING, contextlib.suppress(ValueError):
            self._process.close()
        return exit_code

    def _exit_code(self) -> int:
        deadline = time.monotonic() + _BURIAL_S
        while True:
            with _STARTING:
                self._process.join(0)
                exit_code = self._process.exitcode
            if exit_code is not None or time.monotonic() > deadline:
                return -signal.SIGKILL if exit_code is None else exit_code
            time.sleep(_LOOK_S)


def _death_of(process: BaseProcess) -> int:
    """Return what becomes readable when the process dies.

    multiprocessing's own sentinel is a pipe, which a program started by the child can hold open for longer.
    """
    if hasattr(os, "pidfd_open") and process.pid is not None:
        with contextlib.suppress(OSError):  # an old kernel
            return os.pidfd_open(process.pid)
    return process.sentinel


@contextlib.contextmanager
def _signals_held() -> Generator[None, None, None]:
    """Have a child begin with these signals blocked: it unblocks them when it is ready for them."""
    resource_tracker.ensure_running()  # which would unblock them
    before = signal.pthread_sigmask(signal.SIG_BLOCK, LEFT_TO_THE_PARENT)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

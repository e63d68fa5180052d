"""What tests of tasks need: single attempts without a server, and a Tailrace server inside the test process.

``run_server`` and ``run_server_async`` are the real server, with gRPC on a free port and the embedded store in a
directory of its own: they need ``pip install 'tailrace[server]'``. All else needs nothing but the plain install.

For the pytest fixtures ``tailrace_server``, ``tailrace_client`` and ``tailrace_run_worker`` put this into a
``conftest.py``::

    pytest_plugins = ["tailrace.testing.fixtures"]
"""

from typing import TYPE_CHECKING, Any

from tailrace.testing.attempt import Attempt, run_attempt, run_attempt_async
from tailrace.testing.context import TaskContext, task_context
from tailrace.testing.patience import eventually

if TYPE_CHECKING:
    from tailrace.testing.embedded import RunningServer, run_server, run_server_async

__all__ = [
    "Attempt",
    "RunningServer",
    "TaskContext",
    "eventually",
    "run_attempt",
    "run_attempt_async",
    "run_server",
    "run_server_async",
    "task_context",
]

_OF_THE_SERVER = frozenset({"RunningServer", "run_server", "run_server_async"})


def __getattr__(name: str) -> Any:
    """Import what needs the server only when it is asked for.

    Raises:
        ModuleNotFoundError: The server's extra is not installed.
    """
    if name not in _OF_THE_SERVER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from tailrace.testing import embedded  # noqa: PLC0415
    except ModuleNotFoundError as error:
        message = f"tailrace.testing.{name} runs a server: pip install 'tailrace[server]' ({error.name} is missing)"
        raise ModuleNotFoundError(message, name=error.name) from error
    return getattr(embedded, name)

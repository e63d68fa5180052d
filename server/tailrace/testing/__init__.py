"""A Tailrace server inside your tests: real gRPC on a free port, the embedded store in a directory of its own.

For the pytest fixtures ``tailrace_server`` and ``tailrace_client`` put this into a ``conftest.py``::

    pytest_plugins = ["tailrace.testing.fixtures"]
"""

from tailrace.testing.embedded import RunningServer, run_server, run_server_async

__all__ = ["RunningServer", "run_server", "run_server_async"]

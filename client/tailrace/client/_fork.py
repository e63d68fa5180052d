"""What a process inherits when it is forked, and what it may do with it.

gRPC's connections and threads do not survive a fork. A client notices that it is in another process than before, leaves
what it inherited alone, and opens connections of its own. That works while the parent has not begun to use gRPC, which
is how a prefork server with a client made at import does it, and where gRPC was told to prepare for forks. Otherwise a
call in the child could block without end inside of gRPC, so it is refused before that.
"""

import os
import threading
from typing import Any, Final

from tailrace.client._errors import ForkedProcessError

VARIABLE: Final = "GRPC_ENABLE_FORK_SUPPORT"

# Read when grpc is imported, which the import of this package does.
_IS_PREPARED: Final = os.environ.get(VARIABLE, "").lower() in {"1", "t", "true", "y", "yes"}


class Process:
    """This process, as gRPC sees it."""

    def __init__(self) -> None:
        self.generation = 0
        """Counts forks between the process that imported this module and this one."""
        self.lock = threading.Lock()
        self._has_connected = False
        self._has_connected_asyncio = False
        self._inherited: str | None = None
        self._left_alone: list[Any] = []

    def note_connection(self, *, is_asyncio: bool) -> None:
        """Note that a connection is about to be opened.

        Raises:
            ForkedProcessError: It would hang.
        """
        self.refuse_if_unusable()
        self._has_connected = True
        self._has_connected_asyncio = self._has_connected_asyncio or is_asyncio

    def refuse_if_unusable(self) -> None:
        """Raise ForkedProcessError if calls in this process might never return."""
        if self._inherited is not None:
            raise ForkedProcessError(self._inherited)

    def leave_alone(self, inherited: Any) -> None:
        """Keep what the parent opened from being collected, which gRPC may block on."""
        self._left_alone.append(inherited)

    def be_forked(self) -> None:
        """Begin anew as the child."""
        self.generation += 1
        self.lock = threading.Lock()
        if self._has_connected_asyncio:
            self._inherited = (
                "this process was forked from one in which an AsyncClient was in use, and gRPC does not work in "
                "it: use clients first after the fork"
            )
        elif self._has_connected and not _IS_PREPARED:
            self._inherited = (
                "this process was forked from one in which a Client was in use, and gRPC does not work in it: use "
                f"clients first after the fork, or set {VARIABLE}=1 in the environment before Python starts"
            )


process: Final = Process()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=process.be_forked)

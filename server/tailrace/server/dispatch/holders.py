"""Which open streams hold which lease, so that what becomes of one is told without a look at all of them."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tailrace.server.dispatch.session import LeaseKey, WorkerSession


class Holders:
    """Mostly one a lease; two for a while where a worker came back and nobody knows yet that its older stream broke."""

    def __init__(self) -> None:
        self._by_lease: dict[LeaseKey, list[WorkerSession]] = {}

    def __len__(self) -> int:
        return len(self._by_lease)

    def of(self, key: "LeaseKey") -> "Sequence[WorkerSession]":
        """Tell who holds a lease just now."""
        return tuple(self._by_lease.get(key, ()))

    def add(self, key: "LeaseKey", session: "WorkerSession") -> None:
        """Note that a session holds a lease. A second time does nothing."""
        sessions = self._by_lease.setdefault(key, [])
        if session not in sessions:
            sessions.append(session)

    def discard(self, key: "LeaseKey", session: "WorkerSession") -> None:
        """Note that a session does not hold a lease any more. A second time does nothing."""
        sessions = self._by_lease.get(key, [])
        if session in sessions:
            sessions.remove(session)
        if not sessions:
            self._by_lease.pop(key, None)

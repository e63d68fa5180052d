"""How often progress is told: workers may say it with every beat, nobody reads it so fast."""

import asyncio
from collections.abc import Callable

from tailrace.server.domain import limits


class ProgressPace:
    """Keeps what one stream is told of one task's progress apart by PROGRESS_INTERVAL_S; the last is always told."""

    def __init__(self, on_due: Callable[[str], None]) -> None:
        self._on_due = on_due
        self._told_at: dict[str, float] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def notice(self, task_id: str) -> None:
        """Hear that there is progress: ``on_due`` is called when it may be told, perhaps at once."""
        if task_id in self._timers:
            return
        left_s = self._left_s(task_id)
        if left_s <= 0:
            self._on_due(task_id)
        else:
            self._timers[task_id] = asyncio.get_running_loop().call_later(left_s, self._fall_due, task_id)

    def told(self, task_id: str) -> None:
        """Note that progress was told just now, whatever for."""
        self._told_at[task_id] = asyncio.get_running_loop().time()

    def forget(self, task_id: str) -> None:
        """Tell nothing of a task any more."""
        self._told_at.pop(task_id, None)
        timer = self._timers.pop(task_id, None)
        if timer is not None:
            timer.cancel()

    def close(self) -> None:
        """Tell nothing at all any more."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._told_at.clear()

    def _left_s(self, task_id: str) -> float:
        told_at = self._told_at.get(task_id)
        return 0.0 if told_at is None else told_at + limits.PROGRESS_INTERVAL_S - asyncio.get_running_loop().time()

    def _fall_due(self, task_id: str) -> None:
        del self._timers[task_id]
        # It may have been told meanwhile with a change, so look at the clock again.
        self.notice(task_id)

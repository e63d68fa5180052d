"""Progress: how far a task has come."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Self

from tailrace.client import _payload, _points
from tailrace.client._codec import PLAIN, Codecs
from tailrace.v1 import task_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What a task last said of how far it has come."""

    current: int
    """Units done."""
    total: int | None
    """Units in all; None when the task did not say."""
    message: str
    """Short text; may be empty."""
    update_time: datetime
    """When the server heard it, in UTC."""
    _details: task_pb2.Payload = field(repr=False, hash=False)
    _codecs: Codecs = field(default=PLAIN, repr=False, compare=False)

    @property
    def details(self) -> Any:
        """The task's checkpoint, which its next attempt is handed too; None when there is none.

        Raises:
            PayloadError: It cannot be read.
        """
        return _payload.decode_details(self._details, codecs=self._codecs)

    def _read_with(self, codecs: Codecs) -> Self:
        """Return the same, its details read with codecs."""
        return replace(self, _codecs=codecs)

    @classmethod
    def from_wire(cls, wire: task_pb2.Progress, codecs: Codecs = PLAIN) -> Self:
        """Read the contract's message.

        Args:
            wire: The message.
            codecs: What its details may have been encoded with.
        """
        return cls(
            current=wire.current,
            total=wire.total or None,
            message=wire.message,
            update_time=_points.from_wire(wire.update_time),
            _details=wire.details,
            _codecs=codecs,
        )

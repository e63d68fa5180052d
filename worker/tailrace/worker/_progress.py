"""What a task says of how far it has come."""

from collections.abc import Callable
from typing import TypeAlias

from tailrace.client._codec import PLAIN, Codecs
from tailrace.client._payload import encode_value
from tailrace.v1 import task_pb2

MAX_MESSAGE_BYTES = 1024
MAX_CHECKPOINT_BYTES = 16 * 1024

_MAX_UNITS = 2**63 - 1

OnProgress: TypeAlias = Callable[[task_pb2.Progress], None]
"""Takes progress that is within the limits. Any thread may call it; it does not block."""


class ProgressReporter:
    """Checks what one attempt says, and passes it on. Thread-safe."""

    def __init__(
        self,
        tell: OnProgress = lambda _: None,
        checkpoint: task_pb2.Payload | None = None,
        codecs: Codecs = PLAIN,
    ) -> None:
        self._tell = tell
        self._checkpoint = checkpoint
        self._codecs = codecs

    def report(self, current: int, total: int | None, message: str, checkpoint: object) -> None:
        """Pass progress on; a checkpoint of None stands for the one before it, an earlier attempt's included."""
        progress = task_pb2.Progress(
            current=_units("current", current),
            total=_units("total", 0 if total is None else total),
            message=_short("message", message),
        )
        if checkpoint is not None:
            self._checkpoint = _encode_checkpoint(checkpoint, self._codecs)
        if self._checkpoint is not None:  # the server keeps the last progress only, and the checkpoint with it
            progress.details.CopyFrom(self._checkpoint)
        self._tell(progress)


def _encode_checkpoint(checkpoint: object, codecs: Codecs) -> task_pb2.Payload:
    payload = encode_value(checkpoint, codecs=codecs, path="checkpoint")
    if (size_bytes := len(payload.data)) > MAX_CHECKPOINT_BYTES:
        raise ValueError(f"checkpoint takes {size_bytes} bytes as it is sent, at most {MAX_CHECKPOINT_BYTES} are kept")
    return payload


def _units(name: str, units: int) -> int:
    if isinstance(units, bool) or not isinstance(units, int):
        raise TypeError(f"{name} must be an int, not {type(units).__name__}")
    if not 0 <= units <= _MAX_UNITS:
        raise ValueError(f"{name} must be from 0 to {_MAX_UNITS}, not {units}")
    return units


def _short(name: str, text: str) -> str:
    if (size_bytes := len(text.encode())) > MAX_MESSAGE_BYTES:
        raise ValueError(f"{name} takes {size_bytes} bytes, at most {MAX_MESSAGE_BYTES} are kept")
    return text

"""How a call ended, told apart from the gRPC flavour that carried it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import cast

import grpc

from tailrace.v1.task_pb2 import ItemError

REASON_TRAILER = "tailrace-reason"
PUSHBACK_TRAILER = "grpc-retry-pushback-ms"

_CODES = {code.value[0]: code for code in grpc.StatusCode}


@dataclass(frozen=True, slots=True, kw_only=True)
class CallStatus:
    """The end of a call, or of one item of a batch, that was not OK."""

    code: grpc.StatusCode
    message: str = ""
    reason: str = ""
    """An ErrorReason without its prefix; empty when the server did not say, or was not the one that answered."""
    pushback_ms: int | None = None
    """How long the server wants the caller to stay away; negative: for good."""
    trailers: Mapping[str, str] = field(default_factory=dict[str, str])


def status_of(error: grpc.RpcError) -> CallStatus:
    """Read the status from what either gRPC stack raised."""
    # None when the call never left this process; values of "-bin" keys are bytes.
    pairs = cast("Iterable[tuple[str, str | bytes]]", error.trailing_metadata() or ())
    trailers = {key: value for key, value in pairs if isinstance(value, str)}
    return CallStatus(
        code=error.code(),
        message=error.details() or "",
        reason=trailers.get(REASON_TRAILER, ""),
        pushback_ms=_integer(trailers.get(PUSHBACK_TRAILER)),
        trailers=trailers,
    )


def status_of_item(error: ItemError) -> CallStatus:
    """Read the status from the answer to one item of a batch."""
    code = _CODES.get(error.code, grpc.StatusCode.UNKNOWN)
    return CallStatus(code=code, message=error.message, reason=error.reason)


def _integer(text: str | None) -> int | None:
    try:
        return None if text is None else int(text)
    except ValueError:
        # gRPC's own rule (gRFC A6): what cannot be read means "do not retry".
        return -1

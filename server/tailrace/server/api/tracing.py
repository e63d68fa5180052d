"""The span of a call; and the trace of a task: carried along unread, and parted where the task is run again."""

from collections.abc import Callable, Generator, Iterable, Mapping, MutableMapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import grpc
import structlog

from tailrace.client._tracing import RESUBMITTED_TRACEPARENT, active_tracer, spanning
from tailrace.server.domain.limits import MAX_HEADERS, MAX_HEADERS_BYTES

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

Metadata = Iterable[tuple[str, str | bytes]]
Ended = Callable[[str, Exception | None], None]
"""Takes note of how a call ended: its status and, where it crashed, by what."""

TRACE_HEADERS: Final = ("traceparent", "tracestate", "baggage")
"""W3C Trace Context and Baggage."""
_SERVERS_FAULT: Final = frozenset(
    code.name
    for code in (
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    )
)
"""All others are the caller's, and no error of the server's span."""

logger = structlog.get_logger(__name__)


@contextmanager
def serving(method: str, metadata: Callable[[], Metadata | None]) -> Generator[Ended, None, None]:
    """Be in the span of a call, which belongs to the caller's trace if he sent one along."""
    tracer = active_tracer()
    if tracer is None:
        yield _unnoted
        return
    otherwise: Ended = _unnoted
    with spanning(lambda stack: _begin(tracer, method, texts_of(metadata()), stack), otherwise) as ended:
        yield ended


def _begin(tracer: "Tracer", method: str, caller: dict[str, str], stack: ExitStack) -> Ended:
    from opentelemetry import propagate, trace  # noqa: PLC0415

    span = stack.enter_context(
        tracer.start_as_current_span(
            method,
            context=propagate.extract(caller),
            kind=trace.SpanKind.SERVER,
            attributes={"rpc.system.name": "grpc", "rpc.method": method},
            record_exception=False,
            set_status_on_exception=False,
        )
    )
    return partial(_note, span)


def _unnoted(_code: str, _crash: Exception | None) -> None:
    """Take note of nothing."""


def _note(span: "Span", code: str, crash: Exception | None) -> None:
    from opentelemetry.trace import StatusCode  # noqa: PLC0415

    try:
        span.set_attribute("rpc.response.status_code", code)
        if code in _SERVERS_FAULT:
            span.set_attribute("error.type", code)
            span.set_status(StatusCode.ERROR)
        if crash is not None:
            span.record_exception(crash)
    except Exception:
        logger.exception("span_not_described", code=code)


def texts_of(metadata: Metadata | None) -> dict[str, str]:
    """Pick what is text out of a call's metadata."""
    return {name: value for name, value in metadata or () if isinstance(value, str)}


def part_traces(headers: MutableMapping[str, str], caller: Mapping[str, str]) -> None:
    """Have a task that is run again belong to the trace of who asked for it, linked to the trace of the first one.

    Continued, one trace would grow with every time that somebody runs its task again, days later.
    """
    first = headers.get("traceparent")
    for name in TRACE_HEADERS:
        headers.pop(name, None)
        if name in caller:
            headers[name] = caller[name]
    if first is not None:
        headers[RESUBMITTED_TRACEPARENT] = first
    # What is in excess of a limit must not keep the task from being run again.
    for name in (RESUBMITTED_TRACEPARENT, *reversed(TRACE_HEADERS)):
        size_bytes = sum(len(key.encode()) + len(value.encode()) for key, value in headers.items())
        if len(headers) > MAX_HEADERS or size_bytes > MAX_HEADERS_BYTES:
            headers.pop(name, None)

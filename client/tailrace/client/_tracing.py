"""Traces, where the program has OpenTelemetry set up. Where it has not, nothing is imported and nearly nothing done.

A program that sets a tracer provider has imported ``opentelemetry.trace``: one look at what is imported tells it from
all others, whether the package is installed or not.
"""

import sys
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING

from tailrace.v1.task_service_pb2 import SubmitRequest

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

SYSTEM = "tailrace"
"""``messaging.system``, and the name of the instrumentation."""
DEFAULT_QUEUE = "default"
RESUBMITTED_TRACEPARENT = "tailrace-resubmitted-traceparent"
"""The header in which the server leaves the trace of the task that was run again."""
MAX_HEADERS = 32
MAX_HEADERS_BYTES = 8 << 10
"""What the server takes. A task whose own headers leave no room goes without its trace, rather than not at all."""


def active_tracer() -> "Tracer | None":
    """Return the tracer to make spans with; None: nobody wants any."""
    trace = sys.modules.get("opentelemetry.trace")
    # Another thread may be about to import it.
    if trace is None or (get_tracer_provider := getattr(trace, "get_tracer_provider", None)) is None:
        return None
    provider = get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider):
        return None
    tracer: Tracer = provider.get_tracer(SYSTEM, _version())
    return tracer


@contextmanager
def sending(requests: Sequence[SubmitRequest]) -> Iterator[None]:
    """Be in the span of a submit, and have its tasks carry it on in their headers.

    The requests are changed once, before the first try: what is repeated is the same.
    """
    tracer = active_tracer()
    if tracer is None or not requests:
        yield
        return
    from opentelemetry.trace import SpanKind  # noqa: PLC0415

    queue = requests[0].spec.queue or DEFAULT_QUEUE
    attributes = _operation("send", queue)
    if len(requests) == 1:
        attributes["messaging.message.id"] = requests[0].task_id
        attributes["tailrace.task_type"] = requests[0].spec.task_type
    else:
        attributes["messaging.batch.message_count"] = len(requests)
    with tracer.start_as_current_span(f"send {queue}", kind=SpanKind.PRODUCER, attributes=attributes) as span:
        carrier = current_headers()
        for request in requests:
            add_headers(request.spec.headers, carrier)
        try:
            yield
        except Exception as error:
            span.set_attribute("error.type", type(error).__qualname__)
            raise


@contextmanager
def calling(name: str, task_id: str) -> Iterator[None]:
    """Be in the span of what concerns one task: a wait, or a call."""
    tracer = active_tracer()
    if tracer is None:
        yield
        return
    from opentelemetry.trace import SpanKind  # noqa: PLC0415

    attributes = {"messaging.system": SYSTEM, "messaging.operation.name": name, "messaging.message.id": task_id}
    with tracer.start_as_current_span(name, kind=SpanKind.CLIENT, attributes=attributes) as span:
        try:
            yield
        except Exception as error:
            span.set_attribute("error.type", type(error).__qualname__)
            raise


def call_metadata() -> tuple[tuple[str, str], ...] | None:
    """Return what goes along with a call, so that the server's part belongs to the same trace; None: nothing."""
    if active_tracer() is None:
        return None
    return tuple((name.lower(), value) for name, value in current_headers().items() if value.isascii()) or None


def current_headers() -> dict[str, str]:
    """Write down the current context as the program's propagators do: traceparent, tracestate, baggage."""
    from opentelemetry import propagate  # noqa: PLC0415

    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier


def add_headers(headers: MutableMapping[str, str], carrier: dict[str, str]) -> None:
    """Add what the caller did not set himself, if there is room for all of it."""
    added = {name: value for name, value in carrier.items() if name not in headers}
    size_bytes = sum(len(name.encode()) + len(value.encode()) for name, value in [*headers.items(), *added.items()])
    if len(headers) + len(added) <= MAX_HEADERS and size_bytes <= MAX_HEADERS_BYTES:
        headers.update(added)


def _operation(name: str, queue: str) -> dict[str, str | int]:
    return {
        "messaging.system": SYSTEM,
        "messaging.operation.name": name,
        "messaging.operation.type": name,
        "messaging.destination.name": queue,
    }


@cache
def _version() -> str:
    return version("tailrace")

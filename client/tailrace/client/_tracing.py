"""Traces, where the program has OpenTelemetry set up. Where it has not, nothing is imported and nearly nothing done.

A program that sets a tracer provider has imported ``opentelemetry.trace``: one look at what is imported tells it from
all others, whether the package is installed or not.
"""

import logging
import sys
from collections.abc import Callable, Generator, MutableMapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, TypeVar

from tailrace.v1.task_service_pb2 import SubmitRequest

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

SYSTEM = "tailrace"
"""``messaging.system``, and the name of the instrumentation."""
DEFAULT_QUEUE = "default"
RESUBMITTED_TRACEPARENT = "tailrace-resubmitted-traceparent"
"""The header in which the server leaves the trace of the task that was run again."""
MAX_HEADERS = 32
MAX_HEADERS_BYTES = 8 << 10
"""What the server takes. A task whose own headers leave no room goes without its trace, rather than not at all."""


Entered = TypeVar("Entered")

logger = logging.getLogger("tailrace.client")


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
def spanning(enter: Callable[[ExitStack], Entered], otherwise: Entered) -> Generator[Entered, None, None]:
    """Be in the span that ``enter`` puts on the stack. A tracer that breaks is logged, and breaks nothing else.

    Where it breaks at once, what is entered is ``otherwise``.
    """
    stack, entered = ExitStack(), otherwise
    try:
        entered = enter(stack)
    except Exception:
        logger.exception("span_not_made: the tracer is broken")
    try:
        yield entered
    except BaseException as error:
        _leave(stack, error)
        raise
    _leave(stack, None)


def _leave(stack: ExitStack, error: BaseException | None) -> None:
    try:
        stack.__exit__(None if error is None else type(error), error, None if error is None else error.__traceback__)
    except BaseException as another:
        # A span lets the error pass that it was left by.
        if another is not error:
            logger.exception("span_not_ended: the tracer is broken")


@contextmanager
def sending(requests: Sequence[SubmitRequest]) -> Generator[None, None, None]:
    """Be in the span of a submit, and have its tasks carry it on in their headers.

    The requests are changed once, before the first try: what is repeated is the same.
    """
    tracer = active_tracer()
    if tracer is None or not requests:
        yield
        return
    with spanning(lambda stack: _send(tracer, requests, stack), None):
        yield


def _send(tracer: "Tracer", requests: Sequence[SubmitRequest], stack: ExitStack) -> None:
    from opentelemetry.trace import SpanKind  # noqa: PLC0415

    queue = requests[0].spec.queue or DEFAULT_QUEUE
    attributes: dict[str, str | int] = {
        "messaging.system": SYSTEM,
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": queue,
    }
    if len(requests) == 1:
        attributes["messaging.message.id"] = requests[0].task_id
        attributes["tailrace.task_type"] = requests[0].spec.task_type
    else:
        attributes["messaging.batch.message_count"] = len(requests)
    _enter(stack, tracer.start_as_current_span(f"send {queue}", kind=SpanKind.PRODUCER, attributes=attributes))
    carrier = current_headers()
    for request in requests:
        add_headers(request.spec.headers, carrier)


@contextmanager
def calling(name: str, task_id: str) -> Generator[None, None, None]:
    """Be in the span of what concerns one task: a wait, or a call."""
    tracer = active_tracer()
    if tracer is None:
        yield
        return
    with spanning(lambda stack: _call(tracer, name, task_id, stack), None):
        yield


def _call(tracer: "Tracer", name: str, task_id: str, stack: ExitStack) -> None:
    from opentelemetry.trace import SpanKind  # noqa: PLC0415

    attributes = {"messaging.system": SYSTEM, "messaging.operation.name": name, "messaging.message.id": task_id}
    _enter(stack, tracer.start_as_current_span(name, kind=SpanKind.CLIENT, attributes=attributes))


def _enter(stack: ExitStack, entering: "AbstractContextManager[Span]") -> None:
    """Enter a span that tells the type of the error that it is left by."""
    span = stack.enter_context(entering)

    def tell(error_type: type[BaseException] | None, *_: object) -> None:
        if error_type is not None and issubclass(error_type, Exception):
            span.set_attribute("error.type", error_type.__qualname__)

    stack.push(tell)


def call_metadata() -> tuple[tuple[str, str], ...] | None:
    """Return what goes along with a call, so that the server's part belongs to the same trace; None: nothing."""
    if active_tracer() is None:
        return None
    try:
        headers = current_headers()
    except Exception:
        logger.exception("trace_not_sent: the propagator is broken")
        return None
    return tuple((name.lower(), value) for name, value in headers.items() if value.isascii()) or None


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


@cache
def _version() -> str:
    return version("tailrace")

"""The span of an attempt: around the task's own code, on the thread or loop, or in the process, where that runs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tailrace.client._tracing import DEFAULT_QUEUE, RESUBMITTED_TRACEPARENT, SYSTEM, active_tracer
from tailrace.v1 import worker_service_pb2 as wire

if TYPE_CHECKING:
    from opentelemetry.trace import Link, Span, Tracer

Ended = Callable[[wire.AttemptResult], wire.AttemptResult]
"""Takes note of how an attempt ended, and gives it back."""


@contextmanager
def attempting(assignment: wire.Assignment) -> Iterator[Ended]:
    """Be in the span of an attempt, in a context that nobody else uses.

    It belongs to the trace of the submit, and is linked to that, every attempt alike.
    """
    tracer = active_tracer()
    if tracer is None:
        yield lambda result: result
        return
    from opentelemetry import context, propagate  # noqa: PLC0415

    token = context.attach(propagate.extract(dict(assignment.spec.headers)))
    try:
        with _span(tracer, assignment) as span:
            yield lambda result: _note(span, result)
    finally:
        context.detach(token)


@contextmanager
def _span(tracer: "Tracer", assignment: wire.Assignment) -> "Iterator[Span]":
    from opentelemetry.trace import SpanKind  # noqa: PLC0415

    queue = assignment.spec.queue or DEFAULT_QUEUE
    attributes: dict[str, str | int] = {
        "messaging.system": SYSTEM,
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": queue,
        "messaging.message.id": assignment.lease.task_id,
        "tailrace.task_type": assignment.spec.task_type,
        "tailrace.attempt": assignment.attempt,
    }
    with tracer.start_as_current_span(
        f"process {queue}",
        kind=SpanKind.CONSUMER,
        attributes=attributes,
        links=_links(assignment),
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        yield span


def _links(assignment: wire.Assignment) -> "list[Link]":
    from opentelemetry import propagate, trace  # noqa: PLC0415
    from opentelemetry.context import Context  # noqa: PLC0415

    headers = dict(assignment.spec.headers)
    sources = [headers, {"traceparent": headers.get(RESUBMITTED_TRACEPARENT, "")}]
    contexts = [
        trace.get_current_span(propagate.extract(source, context=Context())).get_span_context() for source in sources
    ]
    return [trace.Link(context) for context in contexts if context.is_valid]


def _note(span: "Span", result: wire.AttemptResult) -> wire.AttemptResult:
    """Say of a span what the server is told of the attempt."""
    from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415

    span.set_attribute("tailrace.outcome", result.WhichOneof("outcome") or "")
    if result.HasField("failure"):
        failure = result.failure
        span.set_attribute("error.type", failure.type)
        span.add_event(
            "exception",
            {
                "exception.type": failure.type,
                "exception.message": failure.message,
                "exception.stacktrace": failure.traceback,
            },
        )
        span.set_status(Status(StatusCode.ERROR, f"{failure.type}: {failure.message}"))
    return result

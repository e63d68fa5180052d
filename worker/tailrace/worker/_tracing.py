"""The span of an attempt: around the task's own code, on the thread or loop, or in the process, where that runs."""

import logging
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from tailrace.client._tracing import DEFAULT_QUEUE, RESUBMITTED_TRACEPARENT, SYSTEM, active_tracer, spanning
from tailrace.v1 import worker_service_pb2 as wire

if TYPE_CHECKING:
    from opentelemetry.trace import Link, Span, Tracer

Ended = Callable[[wire.AttemptResult], wire.AttemptResult]
"""Takes note of how an attempt ended, and gives it back."""

logger = logging.getLogger("tailrace.worker")


@contextmanager
def attempting(assignment: wire.Assignment) -> Generator[Ended, None, None]:
    """Be in the span of an attempt, in a context that nobody else uses.

    It belongs to the trace of the submit, and is linked to that, every attempt alike.
    """
    tracer = active_tracer()
    if tracer is None:
        yield _unnoted
        return
    otherwise: Ended = _unnoted
    with spanning(lambda stack: _begin(tracer, assignment, stack), otherwise) as ended:
        yield ended


def _begin(tracer: "Tracer", assignment: wire.Assignment, stack: ExitStack) -> Ended:
    from opentelemetry import context, propagate  # noqa: PLC0415
    from opentelemetry.trace import SpanKind  # noqa: PLC0415

    # Baggage is for the task's code too, so it is not only the parent of the span that is taken over.
    stack.callback(context.detach, context.attach(propagate.extract(dict(assignment.spec.headers))))
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
    span = stack.enter_context(
        tracer.start_as_current_span(
            f"process {queue}",
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            links=_links(assignment),
            record_exception=False,
            set_status_on_exception=False,
        )
    )
    return partial(_note, span)


def _links(assignment: wire.Assignment) -> "list[Link]":
    from opentelemetry import propagate, trace  # noqa: PLC0415
    from opentelemetry.context import Context  # noqa: PLC0415

    headers = dict(assignment.spec.headers)
    sources = [headers, {"traceparent": headers.get(RESUBMITTED_TRACEPARENT, "")}]
    contexts = [
        trace.get_current_span(propagate.extract(source, context=Context())).get_span_context() for source in sources
    ]
    return [trace.Link(context) for context in contexts if context.is_valid]


def _unnoted(result: wire.AttemptResult) -> wire.AttemptResult:
    return result


def _note(span: "Span", result: wire.AttemptResult) -> wire.AttemptResult:
    """Say of a span what the server is told of the attempt."""
    try:
        _describe(span, result)
    except Exception:
        logger.exception("span_not_described: the tracer is broken")
    return result


def _describe(span: "Span", result: wire.AttemptResult) -> None:
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

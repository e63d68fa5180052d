"""What the server says of a call in its span, and how it parts the traces of a task and of the same task run again."""

from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from tailrace.server.api.tracing import part_traces, serving, texts_of
from tailrace.server.domain.limits import MAX_HEADERS, MAX_HEADERS_BYTES

FIRST, CALLER = "00-" + "1" * 32 + "-" + "1" * 16 + "-01", "00-" + "2" * 32 + "-" + "2" * 16 + "-01"


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield exporter
    provider.shutdown()


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("OK", StatusCode.UNSET),
        ("NOT_FOUND", StatusCode.UNSET),
        ("CANCELLED", StatusCode.UNSET),
        ("INTERNAL", StatusCode.ERROR),
        ("UNAVAILABLE", StatusCode.ERROR),
    ],
)
def test_only_what_is_the_servers_fault_is_an_error(
    exporter: InMemorySpanExporter, code: str, status: StatusCode
) -> None:
    with serving("Service/Method", lambda: None) as ended:
        ended(code, None)

    (span,) = exporter.get_finished_spans()
    assert (span.status.status_code, (span.attributes or {})["rpc.response.status_code"]) == (status, code)


def test_a_crash_is_recorded(exporter: InMemorySpanExporter) -> None:
    with serving("Service/Method", lambda: None) as ended:
        ended("INTERNAL", ZeroDivisionError("on purpose"))

    (event,) = exporter.get_finished_spans()[0].events
    assert (event.attributes or {})["exception.message"] == "on purpose"


def test_the_caller_is_found_beside_metadata_that_is_no_text(exporter: InMemorySpanExporter) -> None:
    with serving("Service/Method", lambda: (("traceparent", CALLER), ("some-bin", b"\xff"))):
        pass

    assert exporter.get_finished_spans()[0].context.trace_id == int("2" * 32, 16)


def test_metadata_that_is_no_trace_begins_a_new_one(exporter: InMemorySpanExporter) -> None:
    with serving("Service/Method", lambda: (("traceparent", "nonsense"), ("tracestate", ",,,"))):
        pass

    assert exporter.get_finished_spans()[0].parent is None


def test_without_a_provider_there_is_nothing_to_note() -> None:
    with serving("Service/Method", lambda: pytest.fail("nobody asks")) as ended:
        ended("INTERNAL", ZeroDivisionError())


def test_a_task_that_is_run_again_takes_the_callers_trace_and_remembers_the_first() -> None:
    headers = {"traceparent": FIRST, "tracestate": "a=1", "baggage": "tenant=acme", "mine": "kept"}

    part_traces(headers, {"traceparent": CALLER, "user-agent": "grpc"})

    assert headers == {"traceparent": CALLER, "mine": "kept", "tailrace-resubmitted-traceparent": FIRST}


def test_what_had_no_trace_and_is_asked_for_without_one_stays_as_it_is() -> None:
    headers = {"mine": "kept"}

    part_traces(headers, {"user-agent": "grpc"})

    assert headers == {"mine": "kept"}


@pytest.mark.parametrize(
    "own",
    [
        {f"header-{number}": "x" for number in range(MAX_HEADERS - 1)},
        {"large": "x" * (MAX_HEADERS_BYTES - len("largetraceparent") - len(FIRST))},
    ],
)
def test_headers_without_room_lose_the_link_and_nothing_of_their_own(own: dict[str, str]) -> None:
    headers = own | {"traceparent": FIRST}

    part_traces(headers, {"traceparent": CALLER})

    assert headers == own | {"traceparent": CALLER}


def test_text_is_picked_out_of_metadata() -> None:
    assert texts_of(None) == {}
    assert texts_of((("a", "1"), ("b-bin", b"\x00"))) == {"a": "1"}

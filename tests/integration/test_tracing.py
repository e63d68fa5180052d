"""Traces from the submit through the server to the attempts, made by the real SDK of OpenTelemetry."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from tailrace.client import AsyncClient, Client, InvalidRequestError, RetryPolicy, TaskNotFoundError, TaskRevokedError
from tailrace.testing import run_server
from tailrace.worker import Worker, current_task
from tests.wait import eventually

GET_RESULT = "tailrace.v1.TaskService/GetResult"
AT_ONCE = RetryPolicy(max_attempts=3, initial_backoff=timedelta(0))
THEIRS = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Spans:
    """The spans that have ended."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    def named(self, name: str, *, count: int = 1) -> Sequence[ReadableSpan]:
        """Wait for so many spans of a name, and return them in the order in which they began."""

        def found() -> list[ReadableSpan]:
            spans = [span for span in self._exporter.get_finished_spans() if span.name == name]
            return sorted(spans, key=lambda span: span.start_time or 0) if len(spans) >= count else []

        spans = eventually(found, f"{count} spans {name}")
        assert len(spans) == count
        return spans

    def one(self, name: str) -> ReadableSpan:
        return self.named(name)[0]

    @property
    def count(self) -> int:
        return len(self._exporter.get_finished_spans())


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with run_server() as server:
        yield server.address


@pytest.fixture
def client(address: str) -> Iterator[Client]:
    with Client(address) as client:
        yield client


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[Spans]:
    """Have this process traced until the test is over; a provider that is set the usual way would stay for ever."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield Spans(exporter)
    provider.shutdown()


@contextmanager
def working(address: str, *functions: Callable[..., object], retry: RetryPolicy | None = None) -> Iterator[None]:
    """Run a worker on the default queue that knows these functions by their names."""
    worker = Worker(["default"])
    for function in functions:
        worker.task(name=function.__name__, retry=retry)(function)
    with worker.running(address):
        yield


def add(x: int, y: int) -> int:
    return x + y


async def add_later(x: int, y: int) -> int:
    await asyncio.sleep(0)
    return x + y


def fail_once() -> str:
    if current_task().attempt == 1:
        raise ValueError("not yet")
    return "at last"


def see() -> list[object]:
    """Tell in which span the task's code runs, what it was sent, and which baggage it finds."""
    span = trace.get_current_span().get_span_context()
    return [f"{span.trace_id:x}/{span.span_id:x}", dict(current_task().headers), dict(baggage.get_all())]


def attributes_of(span: ReadableSpan, prefix: str) -> dict[str, object]:
    return {
        name.removeprefix(prefix): value for name, value in (span.attributes or {}).items() if name.startswith(prefix)
    }


def identity(span: ReadableSpan) -> str:
    return f"{span.context.trace_id:x}/{span.context.span_id:x}"


def parent_of(span: ReadableSpan) -> str | None:
    return f"{span.parent.trace_id:x}/{span.parent.span_id:x}" if span.parent else None


def links_of(span: ReadableSpan) -> list[str]:
    return [f"{link.context.trace_id:x}/{link.context.span_id:x}" for link in span.links]


@pytest.mark.parametrize("function", [add, add_later])
def test_an_attempt_belongs_to_the_trace_of_its_submit_and_is_linked_to_it(
    client: Client, address: str, spans: Spans, function: Callable[..., object]
) -> None:
    with working(address, function):
        result = client.submit(function.__name__, 1, 2)
        assert result.get(timeout=10) == 3

    sent, processed = spans.one("send default"), spans.one("process default")
    assert (sent.kind, processed.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER)
    assert (parent_of(sent), parent_of(processed), links_of(processed)) == (None, identity(sent), [identity(sent)])
    for span, operation in ((sent, "send"), (processed, "process")):
        assert attributes_of(span, "messaging.") == {
            "system": "tailrace",
            "operation.name": operation,
            "operation.type": operation,
            "destination.name": "default",
            "message.id": result.id,
        }
    assert attributes_of(processed, "tailrace.") == {
        "task_type": function.__name__,
        "attempt": 1,
        "outcome": "success",
    }
    assert processed.status.status_code is StatusCode.UNSET


def test_the_servers_part_of_a_call_belongs_to_the_trace_of_its_caller(client: Client, spans: Spans) -> None:
    result = client.submit("nobody-knows-this")

    with trace.get_tracer("test").start_as_current_span("asking"):
        assert result.state == "PENDING"

    served = spans.one(GET_RESULT)
    assert served.kind is SpanKind.SERVER
    assert parent_of(served) == identity(spans.one("asking"))
    assert attributes_of(served, "rpc.") == {"system.name": "grpc", "method": GET_RESULT, "response.status_code": "OK"}


def test_the_stream_that_all_submits_share_is_in_the_trace_of_none(address: str, spans: Spans) -> None:
    with Client(address) as client:
        client.submit("nobody-knows-this")

    shared = spans.one("tailrace.v1.TaskService/Watch")
    assert (shared.kind, parent_of(shared)) == (SpanKind.SERVER, None)
    assert shared.context.trace_id != spans.one("send default").context.trace_id


def test_every_attempt_is_linked_to_the_submit_and_a_failed_one_tells_why(
    client: Client, address: str, spans: Spans
) -> None:
    with working(address, fail_once, retry=AT_ONCE):
        assert client.submit("fail_once").get(timeout=10) == "at last"

    sent = identity(spans.one("send default"))
    first, second = spans.named("process default", count=2)
    assert [links_of(span) for span in (first, second)] == [[sent], [sent]]
    assert [(span.attributes or {})["tailrace.attempt"] for span in (first, second)] == [1, 2]
    assert (first.status.status_code, first.status.description) == (StatusCode.ERROR, "ValueError: not yet")
    assert second.status.status_code is StatusCode.UNSET
    (event,) = first.events
    told = attributes_of(first, "error.") | {"event": event.name, **dict(event.attributes or {})}
    assert (told["type"], told["event"], told["exception.message"]) == ("ValueError", "exception", "not yet")
    assert 'raise ValueError("not yet")' in str(told["exception.stacktrace"])


def test_the_tasks_code_runs_in_the_span_with_what_it_was_sent(client: Client, address: str, spans: Spans) -> None:
    token = context.attach(baggage.set_baggage("tenant", "acme"))
    try:
        with working(address, see):
            span, headers, found = client.options(headers={"mine": "kept"}).submit("see").get(timeout=10)
    finally:
        context.detach(token)

    sent = spans.one("send default")
    assert span == identity(spans.one("process default"))
    ids = f"{sent.context.trace_id:032x}-{sent.context.span_id:016x}-{sent.context.trace_flags:02x}"
    assert headers == {"mine": "kept", "traceparent": f"00-{ids}", "baggage": "tenant=acme"}
    assert found == {"tenant": "acme"}


def test_a_task_that_is_submitted_by_a_task_goes_on_in_its_trace(client: Client, address: str, spans: Spans) -> None:
    def outer() -> int:
        with Client(address) as inside:
            return int(inside.submit("add", 1, 2).get(timeout=10))

    with working(address, outer, add):
        assert client.submit("outer").get(timeout=10) == 3

    first, second = spans.named("process default", count=2)
    inner_send = spans.named("send default", count=2)[1]
    assert (parent_of(inner_send), parent_of(second)) == (identity(first), identity(inner_send))


async def test_the_asyncio_client_traces_likewise(address: str, spans: Spans) -> None:
    async with AsyncClient(address) as client:
        result = await client.submit("add", 1, 2)
        waiting = asyncio.create_task(result.get(timeout=10))
        await asyncio.sleep(0)  # it waits, as no worker is there yet
        with working(address, add):
            assert await waiting == 3
            assert await client.gather(await client.map("add", [(1, 1), (2, 2)]), timeout=10) == [2, 4]

    sent, batch = await asyncio.to_thread(spans.named, "send default", count=2)
    processed = await asyncio.to_thread(spans.named, "process default", count=3)
    assert parent_of(processed[0]) == identity(sent)
    assert {parent_of(span) for span in processed[1:]} == {identity(batch)}
    waited = spans.one("wait")
    assert (waited.kind, attributes_of(waited, "messaging.message.")) == (SpanKind.CLIENT, {"id": result.id})


def test_a_batch_is_one_span_for_all_its_tasks(client: Client, address: str, spans: Spans) -> None:
    with working(address, add):
        assert client.gather(client.map("add", [(1, 1), (2, 2), (3, 3)]), timeout=10) == [2, 4, 6]

    sent = spans.one("send default")
    assert (sent.attributes or {})["messaging.batch.message_count"] == 3
    assert {parent_of(span) for span in spans.named("process default", count=3)} == {identity(sent)}


def test_a_wait_is_a_span_that_the_servers_part_belongs_to(client: Client, address: str, spans: Spans) -> None:
    heard = threading.Event()

    def speak() -> bool:
        current_task().progress(1)
        return heard.wait(10)

    with working(address, speak):
        assert client.submit("speak").get(timeout=10, on_progress=lambda _: heard.set())

    waited = spans.one("wait")
    assert parent_of(spans.one("tailrace.v1.TaskService/WaitFor")) == identity(waited)


def test_imap_sends_each_task_in_a_span_of_its_own(client: Client, address: str, spans: Spans) -> None:
    with working(address, add):
        assert [result.get(timeout=10) for result in client.imap("add", [(1, 1), (2, 2)])] == [2, 4]

    sent = spans.named("send default", count=2)
    assert {parent_of(span) for span in spans.named("process default", count=2)} == set(map(identity, sent))
    assert [parent_of(span) for span in sent] == [None, None]


def test_a_refused_submit_is_an_error_of_the_client(client: Client, spans: Spans) -> None:
    with pytest.raises(InvalidRequestError):
        client.submit("no such name")

    sent = spans.one("send default")
    assert (sent.status.status_code, attributes_of(sent, "error.")) == (
        StatusCode.ERROR,
        {"type": "InvalidRequestError"},
    )


def test_what_a_caller_asks_in_vain_is_no_error_of_the_server(client: Client, spans: Spans) -> None:
    with pytest.raises(TaskNotFoundError):
        _ = client.result("nobody-submitted-this").state

    served = spans.one(GET_RESULT)
    assert (served.status.status_code, attributes_of(served, "rpc.response.")) == (
        StatusCode.UNSET,
        {"status_code": "NOT_FOUND"},
    )


def test_a_revoked_attempt_is_no_error(client: Client, address: str, spans: Spans) -> None:
    async def linger() -> None:
        await asyncio.sleep(60)

    with working(address, linger):
        result = client.submit("linger")
        eventually(lambda: result.state == "STARTED", "it runs")
        result.revoke()
        with pytest.raises(TaskRevokedError):
            result.get(timeout=10)

    processed = spans.one("process default")
    assert (processed.status.status_code, (processed.attributes or {})["tailrace.outcome"]) == (
        StatusCode.UNSET,
        "revoked",
    )


def test_a_task_that_is_run_again_has_a_trace_of_its_own_linked_to_the_first(
    client: Client, address: str, spans: Spans
) -> None:
    with working(address, fail_once, retry=RetryPolicy(max_attempts=1)):
        first = client.submit("fail_once")
        assert first.wait(timeout=10) == "FAILURE"
        again = first.resubmit()
        assert again.wait(timeout=10) == "FAILURE"

    sent, asked = spans.one("send default"), spans.one("resubmit")
    old, new = spans.named("process default", count=2)
    assert old.context.trace_id != new.context.trace_id
    assert (parent_of(new), links_of(new)) == (identity(asked), [identity(asked), identity(sent)])


def test_a_task_that_is_run_again_without_a_trace_is_linked_to_the_first_all_the_same(
    client: Client, address: str, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    with working(address, fail_once, retry=RetryPolicy(max_attempts=1)):
        first = client.submit("fail_once")
        assert first.wait(timeout=10) == "FAILURE"
        with monkeypatch.context() as untraced:
            untraced.setattr("tailrace.client._sync_calls.call_metadata", lambda: None)
            again = first.resubmit()
        assert again.wait(timeout=10) == "FAILURE"

    sent = spans.one("send default")
    new = spans.named("process default", count=2)[1]
    assert (parent_of(new), links_of(new)) == (None, [identity(sent)])


def test_a_trace_that_the_caller_sends_himself_is_left_alone(client: Client, address: str, spans: Spans) -> None:
    with working(address, see):
        _, headers, _ = client.options(headers={"traceparent": THEIRS}).submit("see").get(timeout=10)

    assert headers == {"traceparent": THEIRS}
    assert spans.one("process default").context.trace_id == int(THEIRS[3:35], 16)


@pytest.mark.parametrize("headers", [{f"header-{n}": "x" for n in range(32)}, {"large": "x" * 8_180}])
def test_headers_without_room_for_a_trace_are_sent_without_it(
    client: Client, address: str, spans: Spans, headers: dict[str, str]
) -> None:
    with working(address, see):
        assert client.options(headers=headers).submit("see").get(timeout=10)[1] == headers

    assert parent_of(spans.one("process default")) is None


def test_a_tracer_that_breaks_breaks_nothing_else(
    client: Client, address: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(SpanProcessor):
        def on_start(self, span: Span, parent_context: context.Context | None = None) -> None:
            raise ZeroDivisionError("at the start")

    provider = TracerProvider()
    provider.add_span_processor(Broken())
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    with working(address, add, fail_once, retry=AT_ONCE):
        results = client.map("add", [(1, 2), (3, 4)])
        assert client.gather([*results, client.submit("fail_once")], timeout=10) == [3, 7, "at last"]
    with pytest.raises(InvalidRequestError):
        client.submit("no such name")
    provider.shutdown()

    assert {record.message.partition(":")[0] for record in caplog.records if record.exc_info} == {"span_not_made"}


def test_without_a_provider_there_is_no_trace(client: Client, address: str) -> None:
    with working(address, see):
        assert client.submit("see").get(timeout=10) == ["0/0", {}, {}]


def test_where_nobody_wants_traces_nothing_of_them_is_imported(address: str, tmp_path: Path) -> None:
    script = f"""
import sys
from tailrace.client import Client
from tailrace.worker import Worker

worker = Worker(["untraced"])

@worker.task(queue="untraced")
def add(x, y):
    return x + y

with worker.running({address!r}), Client({address!r}) as client:
    assert client.submit(add, 1, 2).get(timeout=10) == 3

print([name for name in sys.modules if name.startswith("opentelemetry")])
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr

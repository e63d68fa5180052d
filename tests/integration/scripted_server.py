"""A WorkerService that says what a test tells it to: also what no healthy server would."""

import contextlib
import queue
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from types import TracebackType
from typing import NoReturn, Self

import grpc

from tailrace.v1 import worker_service_pb2 as wire
from tests.unit.worker.messages import a_welcome

PATIENCE_S = 10.0
QUIET_S = 0.2


class ServedStream:
    """The server's end of one Work call."""

    def __init__(self, *, says_goodbye: bool) -> None:
        self._says_goodbye = says_goodbye
        self.half_closed = threading.Event()
        """The worker writes no more."""
        self.gone = threading.Event()
        """The call is over."""
        self._received: queue.SimpleQueue[wire.WorkRequest] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[wire.WorkResponse | tuple[grpc.StatusCode, str] | None] = queue.SimpleQueue()

    def send(self, response: wire.WorkResponse) -> None:
        self._answers.put(response)

    def end(self) -> None:
        """End the stream with OK."""
        self._answers.put(None)

    def abort(self, code: grpc.StatusCode, details: str) -> None:
        self._answers.put((code, details))

    def say_goodbye(self) -> None:
        """Let a draining worker go."""
        self.send(wire.WorkResponse(drained=wire.Drained()))
        self.end()

    def next(self) -> wire.WorkRequest:
        """Return what the worker says next."""
        return self._received.get(timeout=PATIENCE_S)

    def expect(self, kind: str) -> wire.WorkRequest:
        """Return what the worker says next, which must be of this kind."""
        request = self.next()
        assert request.WhichOneof("frame") == kind, request
        return request

    def await_frame(self, kind: str) -> wire.WorkRequest:
        """Return the next frame of this kind, whatever else the worker says before it."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            request = self.next()
            if request.WhichOneof("frame") == kind:
                return request
        raise AssertionError(f"no {kind} frame came")

    def says_nothing(self, for_s: float = QUIET_S) -> bool:
        """Tell whether the worker is silent for a while."""
        try:
            self._received.get(timeout=for_s)
        except queue.Empty:
            return True
        return False

    def greet(self, **welcome: object) -> wire.Hello:
        """Take the hello and say welcome."""
        hello = self.expect("hello").hello
        self.send(wire.WorkResponse(welcome=a_welcome(**welcome)))
        return hello

    def assign(self, *items: wire.Assignment) -> list[str]:
        """Deliver tasks, and return which of them the worker begins with its next frame."""
        self.send(wire.WorkResponse(assignments=wire.Assignments(assignments=items)))
        return [beat.lease.task_id for beat in self.await_frame("beats").beats.beats]

    def result(self) -> wire.AttemptResult:
        """Return the one result that comes next, and acknowledge it."""
        (result,) = self.results()
        return result

    def results(self) -> list[wire.AttemptResult]:
        """Return the results that come next, and acknowledge them."""
        results = list(self.await_frame("results").results.results)
        acks = [wire.AttemptResultAck(task_id=r.lease.task_id, lease_token=r.lease.lease_token) for r in results]
        self.send(wire.WorkResponse(result_acks=wire.AttemptResultAcks(acks=acks)))
        return results

    def serve(self, requests: Iterator[wire.WorkRequest], context: grpc.ServicerContext) -> Iterator[wire.WorkResponse]:
        context.add_callback(self._leave)
        threading.Thread(target=self._read, args=(requests,), daemon=True).start()
        while (answer := self._answers.get()) is not None:
            if isinstance(answer, tuple):
                _abort(context, *answer)
            yield answer

    def _leave(self) -> None:
        self.gone.set()
        self.end()

    def _read(self, requests: Iterator[wire.WorkRequest]) -> None:
        with contextlib.suppress(Exception):  # grpc raises a bare Exception here when the call is over
            for request in requests:
                self._received.put(request)
                if self._says_goodbye and request.HasField("drain"):
                    self.say_goodbye()
        self.half_closed.set()


class ScriptedServer:
    """A real grpc server on a free port, and the streams that workers open to it."""

    def __init__(self, port: int = 0) -> None:
        self.says_goodbye = True
        """Whether new streams let a draining worker go by themselves, whatever it still holds."""
        self._streams: queue.SimpleQueue[ServedStream] = queue.SimpleQueue()
        self._served: list[ServedStream] = []
        self._server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
        work = grpc.stream_stream_rpc_method_handler(
            self._work, wire.WorkRequest.FromString, wire.WorkResponse.SerializeToString
        )
        service = grpc.method_handlers_generic_handler("tailrace.v1.WorkerService", {"Work": work})
        self._server.add_generic_rpc_handlers((service,))
        self.address = f"127.0.0.1:{self._server.add_insecure_port(f'127.0.0.1:{port}')}"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stream in self._served:
            stream.end()
        assert self._server.stop(0.1).wait(PATIENCE_S)

    def next_stream(self) -> ServedStream:
        """Return the stream that the worker opens next."""
        return self._streams.get(timeout=PATIENCE_S)

    def is_unvisited(self) -> bool:
        """Tell whether no worker has opened a stream yet."""
        return not self._served

    def greeted_stream(self, **welcome: object) -> ServedStream:
        """Return the next stream, past hello and welcome."""
        stream = self.next_stream()
        stream.greet(**welcome)
        return stream

    def _work(
        self, request_iterator: Iterator[wire.WorkRequest], context: grpc.ServicerContext
    ) -> Iterator[wire.WorkResponse]:
        stream = ServedStream(says_goodbye=self.says_goodbye)
        self._served.append(stream)
        self._streams.put(stream)
        yield from stream.serve(request_iterator, context)


def _abort(context: grpc.ServicerContext, code: grpc.StatusCode, details: str) -> NoReturn:
    context.abort(code, details)
    raise AssertionError("abort() raises")

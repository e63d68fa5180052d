"""A scripted server that has Watch."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc

from tailrace.v1.task_service_pb2 import SubmitItem, SubmitResponse, WatchRequest, WatchResponse
from tailrace.v1.task_service_pb2_grpc import add_TaskServiceServicer_to_server
from tests.unit.client.scripted_server import Context, ScriptedServer, pending, success

WatchScript = Callable[[Iterator[WatchRequest], Context], Iterator[WatchResponse]]


def accept(request: WatchRequest) -> WatchResponse:
    """Answer the submits of a message."""
    items = [
        SubmitItem(task_id=each.task_id, submitted=SubmitResponse(task=pending(each.task_id), created=True))
        for each in request.submit
    ]
    return WatchResponse(submitted=items)


def finish_all(request: WatchRequest) -> WatchResponse:
    """Have every task of a message succeed."""
    ids = [each.task_id for each in request.add] + [each.task_id for each in request.submit]
    return WatchResponse(tasks=[success(task_id) for task_id in ids])


def serve_well(requests: Iterator[WatchRequest], context: Context) -> Iterator[WatchResponse]:
    """Do what a good server would, whose tasks take no time."""
    for request in requests:
        if request.submit:
            yield accept(request)
        if request.submit or request.add:
            yield finish_all(request)


def accept_only(requests: Iterator[WatchRequest], context: Context) -> Iterator[WatchResponse]:
    """Accept tasks that never end."""
    for request in requests:
        yield accept(request)


def break_off(count: int, code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE, **trailers: str) -> WatchScript:
    """Accept what comes in so many messages, then break."""

    def script(requests: Iterator[WatchRequest], context: Context) -> Iterator[WatchResponse]:
        for _ in range(count):
            yield accept(next(requests))
        next(requests)
        context.set_trailing_metadata(tuple((key.replace("_", "-"), value) for key, value in trailers.items()))
        context.abort(code, "as told")

    return script


def say_nothing(requests: Iterator[WatchRequest], context: Context) -> Iterator[WatchResponse]:
    """Take everything and answer nothing."""
    for _ in requests:
        pass
    yield from ()


class WatchingServer(ScriptedServer):
    """Plays one script a stream, in order; with none left it does what a good server would."""

    def __init__(self) -> None:
        super().__init__()
        self.watch_scripts: list[WatchScript] = []
        self.streams: list[list[WatchRequest]] = []
        """What was said on each stream."""

    def Watch(self, requests: Iterator[WatchRequest], context: Context) -> Iterator[WatchResponse]:  # noqa: N802
        said: list[WatchRequest] = []
        self.streams.append(said)
        self.called.release()
        context.add_callback(self.stream_ended.release)
        script = self.watch_scripts.pop(0) if self.watch_scripts else serve_well
        yield from script(_noted(requests, said), context)

    @property
    def submitted_ids(self) -> list[list[str]]:
        """The ids submitted on each stream, in order."""
        return [[each.task_id for message in said for each in message.submit] for said in self.streams]

    @property
    def dropped_ids(self) -> list[str]:
        """The ids that are to be followed no longer, in order."""
        return [task_id for said in self.streams for message in said for task_id in message.drop_task_ids]

    @property
    def item_count(self) -> int:
        """How many submits and targets were sent in all."""
        return sum(len(message.submit) + len(message.add) for said in self.streams for message in said)


def _noted(requests: Iterator[WatchRequest], said: list[WatchRequest]) -> Iterator[WatchRequest]:
    for request in requests:
        said.append(request)
        yield request


@contextmanager
def watching_server() -> Iterator[WatchingServer]:
    """Run one on a free port."""
    servicer = WatchingServer()  # type: ignore[abstract]  # what the SDK does not call answers UNIMPLEMENTED
    server = grpc.server(ThreadPoolExecutor(16))
    add_TaskServiceServicer_to_server(servicer, server)
    servicer.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield servicer
    finally:
        server.stop(0).wait(10)

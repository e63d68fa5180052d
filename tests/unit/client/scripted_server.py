"""A server that does as it is told: the faults that a real one shows only by chance."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc

from tailrace.v1 import task_pb2
from tailrace.v1.task_pb2 import TaskResult
from tailrace.v1.task_service_pb2 import (
    BatchSubmitRequest,
    BatchSubmitResponse,
    DeleteTaskRequest,
    DeleteTaskResponse,
    GetResultRequest,
    GetResultResponse,
    ResubmitTaskRequest,
    ResubmitTaskResponse,
    SubmitItem,
    SubmitRequest,
    SubmitResponse,
    WaitForRequest,
    WaitForResponse,
)
from tailrace.v1.task_service_pb2_grpc import TaskServiceServicer, add_TaskServiceServicer_to_server

Context = grpc.ServicerContext
StreamScript = Callable[[WaitForRequest, Context], Iterator[WaitForResponse]]
CallScript = Callable[[Any, Context], Any]


def success(task_id: str, data: bytes = b"30") -> TaskResult:
    result = TaskResult(task_id=task_id, state=task_pb2.TASK_STATE_SUCCESS, done=True, revision=3)
    result.result.content_type = "application/json"
    result.result.data = data
    return result


def pending(task_id: str, revision: int = 1) -> TaskResult:
    return TaskResult(task_id=task_id, state=task_pb2.TASK_STATE_PENDING, revision=revision)


def advanced(task_id: str, current: int) -> TaskResult:
    progress = task_pb2.Progress(current=current)
    return TaskResult(task_id=task_id, state=task_pb2.TASK_STATE_STARTED, revision=2, progress=progress)


def fail(code: grpc.StatusCode, **trailers: str) -> CallScript:
    """Answer with a status."""

    def script(request: Any, context: Context) -> None:
        context.set_trailing_metadata(tuple((key.replace("_", "-"), value) for key, value in trailers.items()))
        context.abort(code, "as told")

    return script


def fail_stream(code: grpc.StatusCode, *first: WaitForResponse) -> StreamScript:
    """Say something, then end with a status."""

    def script(request: WaitForRequest, context: Context) -> Iterator[WaitForResponse]:
        yield from first
        context.abort(code, "as told")

    return script


def say(*responses: WaitForResponse) -> StreamScript:
    """Say something, then end with OK."""
    return lambda request, context: iter(responses)


def finish(request: WaitForRequest, context: Context) -> Iterator[WaitForResponse]:
    """Have every target succeed."""
    yield WaitForResponse(tasks=[success(target.task_id) for target in request.targets], snapshot_complete=True)


def leave_unanswered(request: Any, context: Context) -> None:
    """Keep a call waiting until the client is gone."""
    _wait_for_the_end(context)


def stay_silent(request: WaitForRequest, context: Context) -> Iterator[WaitForResponse]:
    """Say nothing until the client is gone."""
    _wait_for_the_end(context)
    yield from ()


def _wait_for_the_end(context: Context) -> None:
    gone = threading.Event()
    if context.add_callback(gone.set):
        gone.wait(30)


class ScriptedServer(TaskServiceServicer):
    """Plays one script a call, in order; with none left it does what a good server would."""

    def __init__(self) -> None:
        self.address = ""
        self.submits: list[SubmitRequest] = []
        self.batches: list[BatchSubmitRequest] = []
        self.resubmits: list[ResubmitTaskRequest] = []
        self.deletes: list[DeleteTaskRequest] = []
        self.waits: list[WaitForRequest] = []
        self.call_scripts: list[CallScript] = []
        self.stream_scripts: list[StreamScript] = []
        self.called = threading.Semaphore(0)
        """Released by every submit and every stream that begins."""
        self.stream_ended = threading.Semaphore(0)
        """Released by every stream that ends, in whatever way."""

    def Submit(self, request: SubmitRequest, context: Context) -> SubmitResponse:  # noqa: N802
        self.submits.append(request)
        self.called.release()
        self._play(request, context)
        return SubmitResponse(task=pending(request.task_id), created=True)

    def BatchSubmit(self, request: BatchSubmitRequest, context: Context) -> BatchSubmitResponse:  # noqa: N802
        self.batches.append(request)
        answer = self._play(request, context)
        if isinstance(answer, BatchSubmitResponse):
            return answer
        items = [SubmitItem(task_id=each.task_id, submitted=SubmitResponse(created=True)) for each in request.requests]
        return BatchSubmitResponse(items=items)

    def GetResult(self, request: GetResultRequest, context: Context) -> GetResultResponse:  # noqa: N802
        self._play(request, context)
        return GetResultResponse(task=success(request.task_id))

    def WaitFor(self, request: WaitForRequest, context: Context) -> Iterator[WaitForResponse]:  # noqa: N802
        self.waits.append(request)
        self.called.release()
        context.add_callback(self.stream_ended.release)
        script = self.stream_scripts.pop(0) if self.stream_scripts else finish
        yield from script(request, context)

    def BatchGetResults(self, request: Any, context: Any) -> Any:  # noqa: N802
        raise NotImplementedError

    def GetServerInfo(self, request: Any, context: Any) -> Any:  # noqa: N802
        raise NotImplementedError

    def ResubmitTask(self, request: ResubmitTaskRequest, context: Context) -> ResubmitTaskResponse:  # noqa: N802
        self.resubmits.append(request)
        self._play(request, context)
        return ResubmitTaskResponse(task=pending(request.new_task_id), created=True)

    def DeleteTask(self, request: DeleteTaskRequest, context: Context) -> DeleteTaskResponse:  # noqa: N802
        self.deletes.append(request)
        self._play(request, context)
        return DeleteTaskResponse()

    def Revoke(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._play(request, context)

    def _play(self, request: Any, context: Context) -> Any:
        return self.call_scripts.pop(0)(request, context) if self.call_scripts else None


@contextmanager
def scripted_server() -> Iterator[ScriptedServer]:
    """Run one on a free port."""
    servicer = ScriptedServer()  # type: ignore[abstract]  # what the SDK does not call answers UNIMPLEMENTED
    server = grpc.server(ThreadPoolExecutor(16))
    add_TaskServiceServicer_to_server(servicer, server)
    servicer.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield servicer
    finally:
        server.stop(0).wait(10)

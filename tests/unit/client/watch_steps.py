"""What a server says on a Watch stream, and what is said to it, for the tests of the client's side."""

from tailrace.client._outgoing import Answer, Submit
from tailrace.client._targets import Listener, Notice
from tailrace.client._watch import Watch
from tailrace.v1 import task_pb2
from tailrace.v1.task_pb2 import ItemError, TaskResult
from tailrace.v1.task_service_pb2 import SubmitItem, SubmitRequest, SubmitResponse, WatchRequest, WatchResponse


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def done(task_id: str, size: int = 2) -> TaskResult:
    result = task_pb2.Payload(content_type="application/json", data=b"1" * size)
    return TaskResult(task_id=task_id, state=task_pb2.TASK_STATE_SUCCESS, done=True, revision=3, result=result)


def pending(task_id: str, revision: int = 1) -> TaskResult:
    return TaskResult(task_id=task_id, state=task_pb2.TASK_STATE_PENDING, revision=revision)


def accepted(*task_ids: str) -> WatchResponse:
    items = [
        SubmitItem(task_id=task_id, submitted=SubmitResponse(task=pending(task_id), created=True))
        for task_id in task_ids
    ]
    return WatchResponse(submitted=items)


def refused(task_id: str, code: int = 3, reason: str = "INVALID_REQUEST") -> WatchResponse:
    return WatchResponse(submitted=[SubmitItem(task_id=task_id, error=ItemError(code=code, reason=reason))])


def news(*task_ids: str) -> WatchResponse:
    return WatchResponse(tasks=[done(task_id) for task_id in task_ids])


class Told:
    """What one caller was told, of submits or of waits."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.notices: list[Notice] = []
        self.listener = Listener(self.notices.append)

    @property
    def ended_ids(self) -> list[str]:
        return [end.task_id for notice in self.notices if isinstance(notice, list) for end in notice]


def submit(
    watch: Watch, task_id: str = "t1", *, last_start_s: float = 1060.0, size: int = 0, told: Told | None = None
) -> Told:
    told = told or Told()
    request = SubmitRequest(task_id=task_id)
    request.spec.input.data = b"x" * size
    watch.submit(Submit(request, last_start_s=last_start_s, tell=told.answers.append))
    return told


def follow(watch: Watch, *task_ids: str) -> Told:
    told = Told()
    assert watch.follow(task_ids, told.listener)
    return told


def said(watch: Watch) -> WatchRequest:
    message = watch.next_message()
    assert message is not None
    return message


def submitted(message: WatchRequest) -> list[str]:
    return [request.task_id for request in message.submit]


def added(message: WatchRequest) -> dict[str, int]:
    return {target.task_id: target.after_revision for target in message.add}

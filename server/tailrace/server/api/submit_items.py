"""Submits of many tasks at once: each succeeds or fails by itself."""

from collections.abc import Iterable

from tailrace.server.api import render
from tailrace.server.api.parse_task import parse_submission
from tailrace.server.domain.errors import TailraceError
from tailrace.server.domain.ids import new_task_id
from tailrace.server.domain.task import Submission
from tailrace.server.store.values import Submitted
from tailrace.v1 import task_service_pb2 as pb

ParsedItem = tuple[str, Submission | TailraceError]
"""A task id, given or made, and what was read or is wrong."""


def parse_items(
    requests: Iterable[pb.SubmitRequest], *, field: str, max_payload_bytes: int, is_watched: bool = False
) -> list[ParsedItem]:
    """Read each request; one without an id is given one. Takes the requests apart."""
    items: list[ParsedItem] = []
    for index, request in enumerate(requests):
        request.task_id = request.task_id or new_task_id()
        try:
            submission = parse_submission(
                request, max_payload_bytes=max_payload_bytes, path=f"{field}[{index}].", is_watched=is_watched
            )
            items.append((request.task_id, submission))
        except TailraceError as error:
            items.append((request.task_id, error))
    return items


def submissions_of(items: Iterable[ParsedItem]) -> list[Submission]:
    """Pick those that can be submitted."""
    return [parsed for _, parsed in items if isinstance(parsed, Submission)]


def submit_response(outcome: Submitted) -> pb.SubmitResponse:
    """Render an accepted task."""
    return pb.SubmitResponse(task=render.task_result(outcome.snapshot), created=outcome.is_created)


def submit_item(task_id: str, outcome: Submitted | TailraceError) -> pb.SubmitItem:
    """Render what became of one."""
    if isinstance(outcome, TailraceError):
        return pb.SubmitItem(task_id=render.echo(task_id), error=render.item_error(outcome))
    return pb.SubmitItem(task_id=task_id, submitted=submit_response(outcome))

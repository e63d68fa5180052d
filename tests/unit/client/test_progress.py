"""How far a task has come, off the wire."""

from datetime import UTC, datetime

import pytest

from tailrace.client import PayloadError, Progress
from tailrace.v1 import task_pb2
from tailrace.v1.task_pb2 import Payload

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def said(**fields: object) -> Progress:
    wire = task_pb2.Progress(**fields)  # type: ignore[arg-type]
    wire.update_time.FromDatetime(NOON)
    return Progress.from_wire(wire)


def test_everything_said_is_there() -> None:
    details = Payload(content_type="application/json", data=b'{"row": 7}')

    progress = said(current=3, total=10, message="reading", details=details)

    assert (progress.current, progress.total, progress.message) == (3, 10, "reading")
    assert progress.details == {"row": 7}
    assert progress.update_time == NOON


def test_what_was_not_said_is_none() -> None:
    progress = said(current=3)

    assert (progress.total, progress.message, progress.details) == (None, "", None)


def test_details_that_are_no_json_spoil_only_themselves() -> None:
    progress = said(current=3, details=Payload(content_type="application/x-rows", data=b"7"))

    assert progress.current == 3
    with pytest.raises(
        PayloadError, match="the details is 'application/x-rows', and this program reads application/json"
    ):
        _ = progress.details


def test_the_same_words_are_equal_and_other_details_are_not() -> None:
    three = Payload(content_type="application/json", data=b"3")

    assert said(current=3, details=three) == said(current=3, details=three)
    assert said(current=3, details=three) != said(current=3)
    assert len({said(current=3), said(current=3)}) == 1

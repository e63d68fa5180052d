"""What commands make of records, before anything is written."""

from datetime import UTC, datetime, timedelta

import pytest

from tailrace.cli._moments import age_text, iso_text, span_text
from tailrace.cli._table import Cell, escape, plain_lines
from tailrace.cli._task_fields import failure_fields, payload_fields, pending_reason_of
from tailrace.cli._tasks import filter_text
from tailrace.cli._words import waits_for
from tailrace.v1 import task_pb2
from tailrace.v1.task_pb2 import Failure, Payload, Task, TaskResult

NOW = datetime(2030, 1, 31, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (timedelta(0), "0s"),
        (timedelta(seconds=59.9), "59s"),
        (timedelta(minutes=119), "1h"),
        (timedelta(days=800), "800d"),
        (None, "-"),
    ],
)
def test_a_span_is_told_in_its_largest_unit(span: timedelta | None, text: str) -> None:
    assert span_text(span) == text


def test_nothing_comes_from_the_future() -> None:
    assert age_text(NOW + timedelta(seconds=5), NOW) == "0s"
    assert age_text(NOW - timedelta(seconds=5), NOW) == "5s"


def test_points_in_time_are_told_in_utc_to_the_millisecond() -> None:
    assert iso_text(NOW + timedelta(microseconds=1999)) == "2030-01-31T09:00:00.001Z"


def test_plain_tables_have_columns_and_no_trailing_blanks() -> None:
    rows = [[Cell("a-long-name", "red"), Cell("1")], [Cell("b"), Cell("-")]]

    assert list(plain_lines(("NAME", "COUNT"), rows)) == ["NAME         COUNT", "a-long-name  1", "b            -"]


def test_text_of_others_cannot_move_the_cursor() -> None:
    assert escape("né\x1b[2J\u202e\r\n\tx\ud83d") == "né\\x1b[2J\\u202e\\r\n\tx\\ud83d"


def test_a_filter_quotes_what_it_is_given() -> None:
    assert (
        filter_text([("state", "PENDING"), ("labels.a", 'x "y" \\')])
        == 'state = "PENDING" AND labels.a = "x \\"y\\" \\\\"'
    )
    assert filter_text([]) == ""


def test_a_payload_that_is_not_json_keeps_its_bytes() -> None:
    assert payload_fields(Payload(content_type="image/png", content_encoding="gzip", data=b"\x00\xff")) == {
        "content_type": "image/png",
        "content_encoding": "gzip",
        "data_base64": "AP8=",
    }


def test_every_reason_to_wait_has_a_word_for_people() -> None:
    told = {name: waits_for(name.removeprefix("PENDING_REASON_")) for name in task_pb2.PendingReason.keys()[1:]}

    assert [name for name, words in told.items() if words.isupper()] == []


def test_what_is_newer_than_this_program_is_told_by_its_number() -> None:
    task = Task(outcome=TaskResult(pending_reason=99))  # type: ignore[arg-type]  # what a newer server sends
    failure = Failure(kind=99)  # type: ignore[arg-type]

    assert (pending_reason_of(task), failure_fields(failure)["kind"]) == ("99", "99")
    assert waits_for("99") == "99"

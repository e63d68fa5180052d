"""What a submitter may say, and what contradicts itself."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from tailrace.client import InvalidRequestError
from tailrace.client._options import SubmitOptions

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    "option", ["delay", "start_within", "execution_timeout", "total_timeout", "lease_duration", "result_ttl"]
)
def test_a_bare_number_is_no_span(option: str) -> None:
    with pytest.raises(TypeError, match=f"{option} must be a timedelta"):
        SubmitOptions(**{option: 10})  # type: ignore[arg-type]


@pytest.mark.parametrize("option", ["schedule_time", "start_deadline"])
def test_a_span_is_no_point_in_time(option: str) -> None:
    with pytest.raises(TypeError, match=f"{option} must be a datetime, not timedelta"):
        SubmitOptions(**{option: MINUTE})  # type: ignore[arg-type]


@pytest.mark.parametrize("option", ["schedule_time", "start_deadline"])
def test_a_datetime_without_a_zone_is_refused_with_what_to_do(option: str) -> None:
    with pytest.raises(ValueError, match=rf"{option} does not say its time zone: .*timezone\.utc.*astimezone"):
        SubmitOptions(**{option: NOON.replace(tzinfo=None)})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "point",
    [
        datetime.min.replace(tzinfo=timezone(timedelta(hours=1))),
        datetime.max.replace(tzinfo=timezone(-timedelta(hours=1))),
    ],
)
def test_a_point_in_time_that_no_timestamp_can_hold_is_refused(point: datetime) -> None:
    with pytest.raises(ValueError, match="schedule_time lies outside the years 1 to 9999"):
        SubmitOptions(schedule_time=point)


def test_a_dict_is_no_retry_policy() -> None:
    with pytest.raises(TypeError, match="RetryPolicy"):
        SubmitOptions(retry={"max_attempts": 3})  # type: ignore[arg-type]


@pytest.mark.parametrize("option", ["labels", "headers"])
@pytest.mark.parametrize("value", ["a=b", {"a": 1}, {1: "a"}, {"a": None}])
def test_labels_and_headers_are_texts(option: str, value: object) -> None:
    with pytest.raises(TypeError, match=f"{option} must map texts to texts"):
        SubmitOptions(**{option: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"delay": MINUTE, "schedule_time": NOON}, "delay: must not be set together with schedule_time"),
        ({"start_within": MINUTE, "start_deadline": NOON}, "start_within: must not be set together with start_dead"),
        ({"schedule_time": NOON, "start_deadline": NOON}, "start_deadline: must be after schedule_time"),
        ({"delay": MINUTE, "total_timeout": MINUTE}, "total_timeout: must be longer than delay"),
    ],
)
def test_times_that_contradict_each_other_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        SubmitOptions(**options)


def test_times_that_follow_each_other_are_taken() -> None:
    points = SubmitOptions(schedule_time=NOON, start_deadline=NOON + MINUTE)
    spans = SubmitOptions(delay=MINUTE, start_within=MINUTE, total_timeout=2 * MINUTE)

    assert points.start_deadline == NOON + MINUTE
    assert spans.total_timeout == 2 * MINUTE


@pytest.mark.parametrize(
    ("result_ttl", "repeat_for_s"),
    [(None, 60), (timedelta(0), 60), (timedelta(seconds=2), 2), (timedelta(hours=1), 60)],
)
def test_a_submit_is_repeated_only_while_its_record_is_sure_to_exist(
    result_ttl: timedelta | None, repeat_for_s: float
) -> None:
    assert SubmitOptions(result_ttl=result_ttl).repeat_for_s == repeat_for_s

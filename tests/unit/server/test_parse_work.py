"""What workers say, off the wire: who they are, leases, and how attempts ended."""

import re
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from tailrace.server.api.parse_work import (
    UNKNOWN_TASK_TYPE_POLICY,
    check_worker,
    parse_attempt_result,
    parse_beat,
    parse_progress,
    parse_release,
    parse_release_delay,
)
from tailrace.server.domain.errors import InvalidRequestError, LeaseLostError, LimitExceededError, TailraceError
from tailrace.server.domain.lease import AttemptEnd
from tailrace.server.domain.retry import RetryPolicy
from tailrace.server.domain.task import TaskState
from tailrace.server.store.values import Beat, Release
from tailrace.v1 import task_pb2, worker_service_pb2
from tests.unit.server.messages import DAY_S, KIB, MIB, TOKEN, a_failure, a_lease, a_payload, a_success, seconds

MALFORMED_IDS = ["", "a\n", "{a}", "a b", "a" * 129, "-a", "\N{SNOWMAN}" * 200]


def parse(result: worker_service_pb2.AttemptResult, *, max_payload_bytes: int = MIB) -> AttemptEnd:
    return parse_attempt_result(result, max_payload_bytes=max_payload_bytes, path="results[7]")


def fields_at_fault(result: worker_service_pb2.AttemptResult) -> list[str]:
    with pytest.raises(InvalidRequestError) as raised:
        parse(result)
    return [violation.field for violation in raised.value.violations]


def kept_failure(result: worker_service_pb2.AttemptResult) -> task_pb2.Failure:
    failure = parse(result).failure
    assert failure is not None
    return task_pb2.Failure.FromString(failure)


def a_worker(worker_id: str = "worker-1", queues: tuple[str, ...] = ("default",)) -> worker_service_pb2.WorkerInfo:
    return worker_service_pb2.WorkerInfo(worker_id=worker_id, queues=queues)


def fault_of(worker: worker_service_pb2.WorkerInfo) -> TailraceError:
    with pytest.raises(TailraceError) as raised:
        check_worker(worker, "hello.worker")
    return raised.value


@pytest.mark.parametrize("worker_id", ["w", "w" * 128, "python/3.11 {pid: 7}", "!~ "])
def test_worker_id_may_be_any_printable_ascii(worker_id: str) -> None:
    check_worker(a_worker(worker_id), "hello.worker")


@pytest.mark.parametrize("worker_id", ["", "w" * 129, "w\n", "w\x7f", "w\0", "wörker"])
def test_other_worker_ids_are_refused(worker_id: str) -> None:
    assert str(fault_of(a_worker(worker_id))).startswith("hello.worker.worker_id: must be 1 to 128 printable")


def test_worker_draws_from_1_to_64_queues() -> None:
    check_worker(a_worker(queues=tuple(f"q{n}" for n in range(64))), "hello.worker")

    none, many = fault_of(a_worker(queues=())), fault_of(a_worker(queues=("q",) * 65))
    assert isinstance(none, InvalidRequestError)
    assert isinstance(many, LimitExceededError)
    assert many.metadata == {"field": "hello.worker.queues", "limit": "64", "actual": "65"}


@pytest.mark.parametrize("queue", ["", "q\n", "{q}", "q" * 65])
def test_malformed_queue_of_a_worker_is_refused_by_place(queue: str) -> None:
    error = fault_of(a_worker(queues=("default", queue)))

    assert isinstance(error, InvalidRequestError)
    assert [violation.field for violation in error.violations] == ["hello.worker.queues[1]"]


def test_sdk_of_a_worker_is_at_most_64_bytes() -> None:
    check_worker(worker_service_pb2.WorkerInfo(worker_id="w", queues=["q"], sdk="s" * 64), "worker")

    error = fault_of(worker_service_pb2.WorkerInfo(worker_id="w", queues=["q"], sdk="s" * 65))
    assert "hello.worker.sdk" in str(error)


def test_beat_and_release_are_read_whole() -> None:
    beat = worker_service_pb2.LeaseBeat(lease=a_lease(), waiting=True)

    assert parse_beat(beat) == Beat(task_id="task-1", lease_token=TOKEN, is_waiting=True)
    assert parse_release(a_lease(), 5) == Release(task_id="task-1", lease_token=TOKEN, delay_ms=5)


def test_beat_says_who_sent_it_and_how_far_it_has_come() -> None:
    beat = worker_service_pb2.LeaseBeat(lease=a_lease())

    assert parse_beat(beat, worker_id="w", progress=b"p") == Beat(
        task_id="task-1", lease_token=TOKEN, worker_id="w", progress=b"p"
    )


def a_progress(**fields: Any) -> worker_service_pb2.LeaseBeat:
    return worker_service_pb2.LeaseBeat(lease=a_lease(), progress=task_pb2.Progress(**fields))


def kept_progress(beat: worker_service_pb2.LeaseBeat) -> bytes | None:
    return parse_progress(beat, path="beats[7].progress", now_ms=1_800_000_000_123)


def test_progress_is_kept_as_it_came_with_the_time_at_which_the_server_took_it() -> None:
    beat = a_progress(current=3, total=7, message="on", details=a_payload(), update_time=Timestamp(seconds=2**33))

    kept = task_pb2.Progress.FromString(kept_progress(beat) or b"")

    taken_at = Timestamp(seconds=1_800_000_000, nanos=123_000_000)
    assert kept == task_pb2.Progress(current=3, total=7, message="on", details=a_payload(), update_time=taken_at)


def test_progress_of_nothing_yet_is_progress_and_none_is_none() -> None:
    assert kept_progress(a_progress()) is not None
    assert kept_progress(worker_service_pb2.LeaseBeat(lease=a_lease())) is None


def test_progress_of_a_task_that_waits_is_ignored_whatever_it_is() -> None:
    beat = a_progress(message="x" * 2 * KIB)
    beat.waiting = True

    assert kept_progress(beat) is None


def test_progress_at_its_limits_is_taken() -> None:
    assert kept_progress(a_progress(message="x" * KIB, details=a_payload(bytes(16 * KIB)))) is not None


@pytest.mark.parametrize(
    ("fields", "at_fault"),
    [
        ({"message": "x" * (KIB + 1)}, "beats[7].progress.message"),
        ({"details": a_payload(bytes(16 * KIB + 1))}, "beats[7].progress.details.data"),
        ({"details": task_pb2.Payload(data=b"1")}, "beats[7].progress.details.content_type"),
    ],
)
def test_progress_beyond_its_limits_is_refused_by_field(fields: dict[str, Any], at_fault: str) -> None:
    with pytest.raises((InvalidRequestError, LimitExceededError), match=re.escape(f"{at_fault}:")):
        kept_progress(a_progress(**fields))


@pytest.mark.parametrize("task_id", MALFORMED_IDS)
def test_lease_of_an_impossible_task_is_lost(task_id: str) -> None:
    lease = a_lease(task_id)
    result = a_success()
    result.lease.CopyFrom(lease)

    with pytest.raises(LeaseLostError):
        parse_beat(worker_service_pb2.LeaseBeat(lease=lease))
    with pytest.raises(LeaseLostError):
        parse_release(lease, 0)
    with pytest.raises(LeaseLostError):
        parse(result)


def test_token_that_is_longer_than_any_is_lost_before_the_store_sees_it() -> None:
    parse_beat(worker_service_pb2.LeaseBeat(lease=a_lease(lease_token=b"t" * 64)))

    with pytest.raises(LeaseLostError):
        parse_beat(worker_service_pb2.LeaseBeat(lease=a_lease(lease_token=b"t" * 65)))


@pytest.mark.parametrize(("delay", "delay_ms"), [(None, 0), (0, 0), (1.5, 1_500), (3600, 3_600_000)])
def test_release_may_rest_up_to_an_hour(delay: float | None, delay_ms: int) -> None:
    releases = worker_service_pb2.LeaseReleases(delay=None if delay is None else seconds(delay))

    assert parse_release_delay(releases, "releases.delay") == delay_ms


@pytest.mark.parametrize("delay", [Duration(seconds=3600, nanos=1), Duration(nanos=-1), Duration(seconds=1, nanos=-1)])
def test_other_rests_are_refused(delay: Duration) -> None:
    with pytest.raises(InvalidRequestError, match=r"releases\.delay"):
        parse_release_delay(worker_service_pb2.LeaseReleases(delay=delay), "releases.delay")


def test_result_without_outcome_is_refused() -> None:
    assert fields_at_fault(worker_service_pb2.AttemptResult(lease=a_lease())) == ["results[7].outcome"]


def test_success_keeps_the_payload_as_it_came() -> None:
    end = parse(a_success(b"\x00\xffanything"))

    assert (end.task_id, end.lease_token, end.state) == ("task-1", TOKEN, TaskState.SUCCESS)
    assert end.result is not None
    assert task_pb2.Payload.FromString(end.result) == a_payload(b"\x00\xffanything")
    assert end.failure is None


def test_empty_payload_is_no_value() -> None:
    assert parse(a_success(b"", content_type="")).result is None


def test_payload_of_no_bytes_is_a_value() -> None:
    assert parse(a_success(b"", content_type="text/plain")).result is not None


def test_value_without_content_type_is_refused() -> None:
    assert fields_at_fault(a_success(b"3", content_type="")) == ["results[7].success.content_type"]


def test_result_at_the_limit_is_a_success() -> None:
    assert parse(a_success(b"x" * 100), max_payload_bytes=100).state is TaskState.SUCCESS


def test_result_over_the_limit_fails_the_task_for_good() -> None:
    end = parse(a_success(b"x" * 101), max_payload_bytes=100)

    assert (end.state, end.is_non_retryable, end.failure_type) == (TaskState.FAILURE, True, "ResultTooLarge")
    assert end.result is None
    failure = task_pb2.Failure.FromString(end.failure or b"")
    assert (failure.kind, failure.type, failure.non_retryable) == (
        task_pb2.FAILURE_KIND_SYSTEM,
        "ResultTooLarge",
        True,
    )
    assert "101" in failure.message
    assert "100" in failure.message


def test_revocation_is_told_in_the_workers_words_up_to_4_kib() -> None:
    result = worker_service_pb2.AttemptResult(lease=a_lease())
    result.revoked.message = "x" * (4 * KIB + 1)

    end = parse(result)

    failure = kept_failure(result)
    assert end.state is TaskState.REVOKED
    assert (failure.kind, len(failure.message)) == (task_pb2.FAILURE_KIND_REVOKED, 4 * KIB)


@pytest.mark.parametrize(
    "kind", [task_pb2.FAILURE_KIND_APPLICATION, task_pb2.FAILURE_KIND_TIMEOUT, task_pb2.FAILURE_KIND_SYSTEM]
)
def test_worker_reports_failures_of_its_own_kinds(kind: "task_pb2.FailureKind.ValueType") -> None:
    end = parse(a_failure(kind))

    assert (end.state, end.failure_type, end.is_non_retryable) == (TaskState.FAILURE, "ValueError", False)
    assert kept_failure(a_failure(kind)).kind == kind


@pytest.mark.parametrize(
    "kind",
    [task_pb2.FAILURE_KIND_UNSPECIFIED, task_pb2.FAILURE_KIND_LEASE_EXPIRED, task_pb2.FAILURE_KIND_REVOKED, 5, 99, -1],
)
def test_worker_reports_no_other_kind(kind: "task_pb2.FailureKind.ValueType") -> None:
    assert fields_at_fault(a_failure(kind)) == ["results[7].failure.kind"]


def test_worker_may_forbid_the_retry() -> None:
    result = a_failure()
    result.failure.non_retryable = True

    assert parse(result).is_non_retryable


@pytest.mark.parametrize(("delay", "delay_ms"), [(0, 0), (0.25, 250), (30 * DAY_S, 30 * DAY_S * 1000)])
def test_worker_may_set_the_next_backoff(delay: float, delay_ms: int) -> None:
    result = a_failure()
    result.failure.next_retry_delay.CopyFrom(seconds(delay))

    assert parse(result).next_retry_delay_ms == delay_ms


def test_backoff_that_is_too_long_or_negative_is_refused() -> None:
    for delay in (seconds(30 * DAY_S + 1), seconds(-1)):
        result = a_failure()
        result.failure.next_retry_delay.CopyFrom(delay)

        assert fields_at_fault(result) == ["results[7].failure.next_retry_delay"]


def test_policy_of_the_worker_comes_along() -> None:
    result = a_failure()
    result.default_retry_policy.max_attempts = 4

    assert parse(result).default_retry_policy == RetryPolicy(max_attempts=4)
    assert parse(a_failure()).default_retry_policy is None


def test_policy_of_the_worker_has_the_same_bounds() -> None:
    result = a_failure()
    result.default_retry_policy.backoff_multiplier = float("nan")

    assert fields_at_fault(result) == ["results[7].default_retry_policy.backoff_multiplier"]


def test_unknown_task_type_is_retried_five_times_unless_the_worker_says_otherwise() -> None:
    unknown = a_failure(task_pb2.FAILURE_KIND_SYSTEM, failure_type="UnknownTaskType")
    judged = a_failure(task_pb2.FAILURE_KIND_SYSTEM, failure_type="UnknownTaskType")
    judged.default_retry_policy.max_attempts = 2
    namesake = a_failure(task_pb2.FAILURE_KIND_APPLICATION, failure_type="UnknownTaskType")

    policies = [parse(result).default_retry_policy for result in (unknown, judged, namesake)]

    assert policies == [UNKNOWN_TASK_TYPE_POLICY, RetryPolicy(max_attempts=2), None]
    assert UNKNOWN_TASK_TYPE_POLICY.max_attempts == 6


@pytest.mark.parametrize(("field", "limit"), [("type", 256), ("message", 4 * KIB), ("source", 64)])
def test_text_of_a_failure_is_cut_at_its_end(field: str, limit: int) -> None:
    whole, longer = a_failure(), a_failure()
    setattr(whole.failure, field, "a" * limit)
    setattr(longer.failure, field, "a" * (limit - 1) + "\N{SNOWMAN}")

    assert getattr(kept_failure(whole), field) == "a" * limit
    assert getattr(kept_failure(longer), field) == "a" * (limit - 1)


def test_policy_sees_the_type_as_it_is_kept() -> None:
    assert parse(a_failure(failure_type="a" * 300)).failure_type == "a" * 256


def test_traceback_is_cut_in_its_middle() -> None:
    whole, longer = a_failure(), a_failure()
    whole.failure.traceback = "a" * 32 * KIB
    longer.failure.traceback = "first line\n" + "\N{SNOWMAN}" * 20_000 + "\nlast line"

    traceback = kept_failure(longer).traceback
    assert kept_failure(whole).traceback == "a" * 32 * KIB
    assert len(traceback.encode()) <= 32 * KIB
    assert traceback.startswith("first line\n")
    assert traceback.endswith("\nlast line")
    assert "\n[...]\n" in traceback


def test_details_over_16_kib_are_left_out() -> None:
    small, large = a_failure(), a_failure()
    small.failure.details.CopyFrom(task_pb2.Payload(content_type="a/b", data=b"x" * 16_000))
    large.failure.details.CopyFrom(task_pb2.Payload(content_type="a/b", data=b"x" * 16 * KIB))

    assert len(kept_failure(small).details.data) == 16_000
    assert not kept_failure(large).HasField("details")


def test_eight_failures_of_a_chain_are_kept() -> None:
    result = a_failure(message="level 1")
    failure = result.failure
    for level in range(2, 12):
        failure = failure.cause
        failure.message = f"level {level}" + "x" * 5 * KIB

    kept, levels = kept_failure(result), 1
    while kept.HasField("cause"):
        kept, levels = kept.cause, levels + 1
        assert kept.message.startswith(f"level {levels}")
        assert len(kept.message) == 4 * KIB
    assert levels == 8


def test_largest_failure_stays_far_below_a_message() -> None:
    result = a_failure()
    failure = result.failure
    for _ in range(20):
        failure.type = failure.message = failure.traceback = failure.source = "x" * 100_000
        failure.details.CopyFrom(task_pb2.Payload(content_type="a/b", data=b"x" * 16_000))
        failure = failure.cause

    assert len(parse(result).failure or b"") < 500 * KIB

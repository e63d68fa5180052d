"""Clocks of clients and workers a day off: no effect on anything but the two fields that name a point in time."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor
from google.protobuf.timestamp_pb2 import Timestamp

from tailrace.v1 import admin_service_pb2, task_pb2, task_service_pb2, worker_service_pb2
from tests.integration.api.lease_steps import heartbeat
from tests.integration.api.serving import Api, a_failure, seconds
from tests.integration.api.time_steps import end_of, from_now

DAY_MS = 86_400_000
FIRST, LAST = Timestamp(seconds=-62_135_596_800), Timestamp(seconds=253_402_300_799)
POINTS_THAT_CALLERS_NAME = {
    "tailrace.v1.TaskSpec.schedule_time",
    "tailrace.v1.TaskSpec.start_deadline",
    # Output only: overwritten with the time at which the server took it.
    "tailrace.v1.Progress.update_time",
}
SERVICES = [
    file.DESCRIPTOR.services_by_name[name]
    for file, name in (
        (task_service_pb2, "TaskService"),
        (worker_service_pb2, "WorkerService"),
        (admin_service_pb2, "AdminService"),
    )
]


def points_in(message: Descriptor, seen: set[str]) -> Iterator[str]:
    """Name every Timestamp that a message may carry, at whatever depth."""
    if message.full_name in seen:
        return
    seen.add(message.full_name)
    for field in message.fields:
        if field.message_type is None:
            continue
        if field.message_type.full_name == "google.protobuf.Timestamp":
            yield field.full_name
        yield from points_in(field.message_type, seen)


def test_callers_name_no_other_points_in_time() -> None:
    seen: set[str] = set()

    named = {point for service in SERVICES for rpc in service.methods for point in points_in(rpc.input_type, seen)}

    assert named == POINTS_THAT_CALLERS_NAME


@pytest.mark.parametrize("skew_ms", [-DAY_MS, DAY_MS])
async def test_worker_is_told_spans_that_are_the_same_whatever_the_stores_clock_shows(api: Api, skew_ms: int) -> None:
    await api.harness.advance(skew_ms)
    await api.submit(lease_duration=seconds(60))

    assignment = await api.lease()

    assert (assignment.start_timeout, assignment.lease_duration) == (seconds(10), seconds(60))
    assert assignment.start_expire_time == from_now(api, 10_000)


async def test_spans_of_a_task_hold_though_the_stores_clock_is_far_from_everybody_elses(api: Api) -> None:
    await api.harness.advance(-DAY_MS)
    await api.submit("delayed", start_delay=seconds(5))
    await api.submit("waiting", start_within=seconds(5), queue="elsewhere")
    await api.submit("slow", total_timeout=seconds(5), queue="elsewhere")

    await api.pass_time(4_999)
    states = [await api.state(task_id) for task_id in ("delayed", "waiting", "slow")]
    await api.pass_time(1)

    assert states == ["PENDING/DELAYED", "PENDING/QUEUED", "PENDING/QUEUED"]
    assert [await api.state(task_id) for task_id in ("delayed", "waiting", "slow")] == [
        "PENDING/QUEUED",
        "REVOKED",
        "FAILURE",
    ]


@pytest.mark.parametrize("update_time", [FIRST, LAST, Timestamp(seconds=2**63 - 1, nanos=-1)], ids=repr)
async def test_time_that_a_worker_gives_its_progress_is_not_looked_at(api: Api, update_time: Timestamp) -> None:
    await api.submit()
    lease = (await api.lease(start=True)).lease
    usual = worker_service_pb2.LeaseBeat(lease=lease, progress=task_pb2.Progress(current=1))
    absurd = worker_service_pb2.LeaseBeat(lease=lease, progress=task_pb2.Progress(current=2, update_time=update_time))

    await heartbeat(api, usual)
    before = (await api.result()).progress
    (status,) = (await heartbeat(api, absurd)).leases
    after = (await api.result()).progress

    assert (status.held, status.HasField("error"), after.current) == (True, False, 2)
    apart = after.update_time.ToDatetime() - before.update_time.ToDatetime()
    assert timedelta(0) <= apart < timedelta(minutes=1)


async def test_ids_made_by_clocks_that_are_off_change_nothing_about_the_order(api: Api) -> None:
    times_ms = [api.harness.now_ms + skew_ms for skew_ms in (0, DAY_MS, -DAY_MS)] + [2**48 - 1, 0]
    stamps = [f"{time_ms:012x}" for time_ms in times_ms]
    names = [f"{stamp[:8]}-{stamp[8:]}-7000-8000-{number:012x}" for number, stamp in enumerate(stamps)]

    for name in names:
        await api.submit(name)

    assert [assignment.lease.task_id for assignment in await api.lease_many(5)] == names


async def test_retry_rests_for_its_span_though_its_worker_is_a_day_off(api: Api) -> None:
    policy = task_pb2.RetryPolicy(max_attempts=3, initial_backoff=seconds(8), backoff_multiplier=1)
    await api.harness.advance(DAY_MS)
    await api.submit(retry_policy=policy)
    await api.store(a_failure((await api.lease(start=True)).lease))

    await api.pass_time(3_999)
    assert await api.state() == "RETRY/DELAYED"
    await api.pass_time(4_001)

    assert await api.state() == "RETRY/QUEUED"


@pytest.mark.parametrize(
    ("times", "skew_ms", "state"),
    [
        pytest.param({"schedule_time": 60_000}, -DAY_MS, "PENDING/QUEUED", id="client a day behind: at once"),
        pytest.param({"schedule_time": 60_000}, DAY_MS, "PENDING/DELAYED", id="client a day ahead: a day late"),
        pytest.param({"start_deadline": 60_000}, -DAY_MS, "REVOKED", id="client a day behind: never"),
        pytest.param({"start_deadline": 60_000}, DAY_MS, "PENDING/QUEUED", id="client a day ahead: a day longer"),
    ],
)
async def test_points_in_time_are_meant_by_the_stores_clock(
    api: Api, times: dict[str, int], skew_ms: int, state: str
) -> None:
    points: dict[str, Any] = {field: from_now(api, ms + skew_ms) for field, ms in times.items()}

    await api.submit(**points)

    await api.pass_time(1)
    assert await api.state() == state
    if state == "REVOKED":
        assert await end_of(api) == ("REVOKED", "TIMEOUT", "StartDeadlineExceeded")

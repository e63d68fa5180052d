import pytest

import tailrace.worker
from tailrace import client


def test_public_names_are_these() -> None:
    assert tailrace.worker.__all__ == [
        "CurrentTask",
        "PayloadCodec",
        "ProcessStartError",
        "Progress",
        "RetryLater",
        "RetryPolicy",
        "Task",
        "TaskIdFilter",
        "TaskInterrupt",
        "Worker",
        "current_task",
        "log_task_ids",
    ]
    assert sorted(tailrace.worker.__all__) == tailrace.worker.__all__


def test_every_public_name_is_there() -> None:
    assert [name for name in tailrace.worker.__all__ if not hasattr(tailrace.worker, name)] == []


@pytest.mark.parametrize("name", ["PayloadCodec", "Progress", "RetryPolicy"])
def test_what_both_sides_speak_of_is_the_clients(name: str) -> None:
    assert getattr(tailrace.worker, name) is getattr(client, name)

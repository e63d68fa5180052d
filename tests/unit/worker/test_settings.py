from datetime import timedelta
from typing import Any

import pytest

from tailrace.worker import Worker
from tailrace.worker._settings import WorkerSettings


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"queues": []}, "1 to 64 queues"),
        ({"queues": [f"q{number}" for number in range(65)]}, "1 to 64 queues"),
        ({"queues": ["a{b}"]}, "no queue"),
        ({"queues": ["line\n"]}, "no queue"),
        ({"concurrency": 0}, "from 1 to 10000"),
        ({"concurrency": 10_001}, "from 1 to 10000"),
        ({"name": ""}, "printable ASCII"),
        ({"name": "größe"}, "printable ASCII"),
        ({"name": "n" * 101}, "at most 100"),
        ({"grace_period": timedelta(seconds=-1)}, "negative"),
    ],
)
def test_settings_out_of_bounds_are_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Worker(**settings)


def test_queue_given_as_text_is_one_queue() -> None:
    assert Worker("slow")._settings.queues == ("slow",)


def test_address_comes_from_the_argument_then_the_environment_then_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAILRACE_ADDRESS", "from-environment:1")

    assert WorkerSettings(address="from-argument:1").resolved_address() == "from-argument:1"
    assert WorkerSettings().resolved_address() == "from-environment:1"
    monkeypatch.delenv("TAILRACE_ADDRESS")
    assert WorkerSettings().resolved_address() == "localhost:7440"


def test_worker_id_is_unique_printable_and_short_enough() -> None:
    settings = WorkerSettings(name="n" * 100)
    ids = [settings.introduction().worker_id for _ in range(2)]

    assert ids[0] != ids[1]
    assert all(len(each) <= 128 and each.isascii() and each.isprintable() for each in ids)


def test_worker_without_a_name_goes_by_its_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "höst")

    assert WorkerSettings().introduction().worker_id.startswith("hst-")

import os
from dataclasses import fields
from datetime import timedelta
from typing import Any

import pytest

from tailrace.worker import Worker
from tailrace.worker._settings import VARIABLES, WorkerSettings, resolve_settings


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"queues": []}, "1 to 64 queues"),
        ({"queues": [f"q{number}" for number in range(65)]}, "1 to 64 queues"),
        ({"queues": ["a{b}"]}, "no queue"),
        ({"queues": ["line\n"]}, "no queue"),
        ({"concurrency": 0}, "from 1 to 10000"),
        ({"concurrency": 10_001}, "from 1 to 10000"),
        ({"threads": 0}, "threads must be from 1 to 10000"),
        ({"processes": 1001}, "processes must be from 1 to 1000"),
        ({"max_tasks_per_child": 0}, "max_tasks_per_child must be at least 1"),
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
    assert Worker("slow")._settings_for().queues == ("slow",)


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


def test_settings_come_from_the_arguments_then_the_environment_then_the_defaults() -> None:
    environment = {
        "TAILRACE_WORKER_QUEUES": "fast, slow",
        "TAILRACE_WORKER_CONCURRENCY": "20",
        "TAILRACE_WORKER_THREADS": "5",
        "TAILRACE_WORKER_PROCESSES": "3",
        "TAILRACE_WORKER_MAX_TASKS_PER_CHILD": "100",
        "TAILRACE_WORKER_GRACE": "1.5",
        "TAILRACE_WORKER_NAME": "",
    }

    settings = resolve_settings({"concurrency": 7, "threads": None}, environment)

    assert settings == WorkerSettings(
        queues=("fast", "slow"),
        concurrency=7,
        threads=5,
        processes=3,
        max_tasks_per_child=100,
        grace_period=timedelta(seconds=1.5),
    )
    assert resolve_settings({}, {}) == WorkerSettings()


def test_every_setting_has_a_variable() -> None:
    assert {field for field, _, _ in VARIABLES.values()} | {"address"} == {each.name for each in fields(WorkerSettings)}


@pytest.mark.parametrize(
    ("variable", "text", "kind"),
    [
        ("TAILRACE_WORKER_CONCURRENCY", "many", "a whole number"),
        ("TAILRACE_WORKER_GRACE", "soon", "a number of seconds"),
        ("TAILRACE_WORKER_GRACE", "inf", "a number of seconds"),
    ],
)
def test_variable_that_cannot_be_read_is_named(variable: str, text: str, kind: str) -> None:
    with pytest.raises(ValueError, match=f"{variable}: '{text}' is not {kind}"):
        resolve_settings({}, {variable: text})


def test_there_are_never_more_processes_than_tasks_at_a_time() -> None:
    assert WorkerSettings(concurrency=2, processes=8).resolved_processes() == 2
    assert WorkerSettings(concurrency=10_000).resolved_processes() == len(os.sched_getaffinity(0))

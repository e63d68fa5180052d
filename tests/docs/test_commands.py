"""What docs/commands.md lists is what the command line has."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime

import click

from tailrace.cli._app import app
from tailrace.cli._exit_code import ExitCode
from tailrace.cli._looks import Look
from tailrace.cli._queues import queue_fields
from tailrace.cli._task_fields import basic_fields, full_fields
from tailrace.cli._top_screen import look_fields
from tailrace.cli._workers import worker_fields
from tailrace.v1.admin_service_pb2 import Queue, Worker
from tailrace.v1.task_pb2 import Task
from tests.docs.snippets import ROOT, snippets_of

PAGE = ROOT / "docs/commands.md"
NO_LOOK = Look(queues=(), workers=(), at_s=0.0, moment=datetime.now(UTC))
TEXT = PAGE.read_text(encoding="utf-8")


def named(group: click.Group, prefix: str) -> Iterator[str]:
    for name, command in group.commands.items():
        yield f"{prefix} {name}"
        if isinstance(command, click.Group):
            yield from named(command, f"{prefix} {name}")


def fields_of(row: str) -> list[str]:
    (cell,) = re.findall(rf"^\| {re.escape(row)} \| (.*) \|$", TEXT, re.MULTILINE)
    return re.findall(r"`(\w+)`", cell)


def test_every_command_is_listed() -> None:
    listed = re.findall(r"^\| `(tailrace(?: [a-z]+)+)", TEXT, re.MULTILINE)

    assert sorted(listed) == sorted(named(app, "tailrace"))


def test_every_command_that_is_listed_is_run_by_the_page() -> None:
    run = "\n".join(snippet.text for snippet in snippets_of(PAGE))

    assert [name for name in named(app, "tailrace") if name not in run] == []


def test_every_exit_code_is_listed() -> None:
    listed = [int(code) for code in re.findall(r"^\| (\d+) \|", TEXT, re.MULTILINE)]

    assert listed == [int(code) for code in ExitCode]


def test_the_fields_of_json_are_listed_in_their_order() -> None:
    assert fields_of("`tasks`") == list(basic_fields(Task()))
    assert fields_of("`show`") == ["tasks", *list(full_fields(Task()))[len(basic_fields(Task())) :]]
    assert fields_of("`queues`, `queues pause`, `queues resume`") == list(queue_fields(Queue()))
    assert [field for field in fields_of("`top`") if field != "net_per_s"] == list(look_fields(NO_LOOK))
    assert fields_of("`workers`, `workers drain`") == list(worker_fields(Worker()))

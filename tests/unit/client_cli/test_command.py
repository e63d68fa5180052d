"""The command line before it talks to any server."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from tailrace.cli import __main__, _app
from tailrace.cli._complaint import complain_of
from tailrace.cli._exit_code import EPILOG, ExitCode
from tailrace.cli._options import read_json, read_label, read_member, read_moment, read_span
from tailrace.client import (
    CallRefusedError,
    InternalServerError,
    InvalidRequestError,
    LimitExceededError,
    PayloadError,
    ServerUnavailableError,
    StoreUnavailableError,
    TailraceError,
    TaskIdConflictError,
    TaskNotFoundError,
    TaskNotResubmittableError,
    TaskNotTerminalError,
    WaitTimeoutError,
    WorkerNotFoundError,
)

Capture = pytest.CaptureFixture[str]

COMMANDS = [
    "completion",
    "delete",
    "queues",
    "result",
    "retry",
    "revoke",
    "server",
    "show",
    "submit",
    "tasks",
    "top",
    "wait",
    "worker",
    "workers",
]
TALKING_COMMANDS = [
    ["delete"],
    ["queues"],
    ["queues", "pause"],
    ["queues", "purge"],
    ["queues", "resume"],
    ["result"],
    ["retry"],
    ["revoke"],
    ["show"],
    ["submit"],
    ["tasks"],
    ["top"],
    ["wait"],
    ["workers"],
    ["workers", "drain"],
]


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("250ms", timedelta(milliseconds=250)),
        ("10s", timedelta(seconds=10)),
        ("1.5m", timedelta(seconds=90)),
        ("2h", timedelta(hours=2)),
        ("0s", timedelta(0)),
        ("1d", timedelta(days=1)),
    ],
)
def test_a_span_of_time_has_a_number_and_a_unit(text: str, span: timedelta) -> None:
    assert read_span(text) == span


@pytest.mark.parametrize("text", ["10", "s", "-1s", "1 s", "1e3s", "10sec", "", "9" * 30 + "d"])
def test_anything_else_is_no_span_of_time(text: str) -> None:
    with pytest.raises(click.BadParameter):
        read_span(text)


@pytest.mark.parametrize("text", ["2030-01-31T09:00:00Z", "2030-01-31 10:00+01:00", "20300131T090000Z"])
def test_a_time_is_written_as_iso_8601_has_it(text: str) -> None:
    assert read_moment(text) == datetime(2030, 1, 31, 9, tzinfo=UTC)


@pytest.fixture
def half_an_hour_off(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A zone of its own, so that no machine's own zone is mistaken for it."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "IST-5:30")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("half_an_hour_off")
def test_a_time_without_a_zone_is_local() -> None:
    assert read_moment("2030-01-31T09:00") == datetime(2030, 1, 31, 3, 30, tzinfo=UTC)


@pytest.mark.parametrize("text", ["tomorrow", "9:00", "2030-13-01", "", "0001-01-01T00:00:00+14:00"])
def test_anything_else_is_no_time(text: str) -> None:
    with pytest.raises(click.BadParameter, match="write it like 2030-01-31T09:00:00Z"):
        read_moment(text)


def test_a_label_is_a_key_and_any_text() -> None:
    assert read_label("team=a=b") == ("team", "a=b")
    assert read_label("team=") == ("team", "")


@pytest.mark.parametrize(
    ("text", "value"),
    [("10", 10), ("-1.5", -1.5), ("true", True), ('"text"', "text"), ("[1, {}]", [1, {}]), ("null", None)],
)
def test_an_argument_is_a_json_value(text: str, value: Any) -> None:
    assert read_json(text) == value


def test_a_bare_word_is_refused_with_how_to_write_it() -> None:
    with pytest.raises(click.BadParameter, match="hello is not JSON; a text is written '\"hello\"'"):
        read_json("hello")


@pytest.mark.parametrize("text", ["NaN", "Infinity", "{", "[" * 100_000])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="not JSON"):
        read_json(text)


def test_a_keyword_argument_is_a_name_and_a_json_value() -> None:
    assert read_member('greeting="a=b"') == ("greeting", "a=b")


@pytest.mark.parametrize("text", ["greeting", "=1", "two words=1", "x=hello"])
def test_anything_else_is_no_keyword_argument(text: str) -> None:
    with pytest.raises(click.BadParameter):
        read_member(text)


@pytest.mark.parametrize("command", [[], *TALKING_COMMANDS], ids=" ".join)
def test_help_lists_every_exit_code(command: list[str]) -> None:
    shown = CliRunner().invoke(_app.app, [*command, "--help"])

    assert shown.exit_code == 0
    listed = {line.split()[0] for line in shown.output.partition("Exit codes:")[2].splitlines() if line.strip()}
    assert listed == {str(int(code)) for code in ExitCode}
    assert all(f"  {int(code)} " in EPILOG for code in ExitCode)


@pytest.mark.parametrize("command", TALKING_COMMANDS, ids=" ".join)
def test_whatever_talks_to_a_server_takes_its_address_and_speaks_json(command: list[str]) -> None:
    shown = CliRunner().invoke(_app.app, [*command, "--help"])

    assert "--address HOST:PORT" in shown.output
    assert "--json" in shown.output


def test_the_commands_are_these() -> None:
    assert sorted(_app.app.commands) == COMMANDS


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["submit"], "tailrace submit: Missing argument 'TASK_TYPE'."),
        (["submit", "add", "one"], "one is not JSON"),
        (["submit", "add", "--quue", "slow"], "there is no option --quue"),
        (["submit", "add", "--delay", "10"], "'10' is no span of time"),
        (["submit", "add", "--priority", "10"], "--priority"),
        (["wait"], "Missing argument 'TASK_ID...'"),
        (["result", "--what"], "No such option"),
        (["serve"], "No such command 'serve'"),
        (["show"], "Missing argument 'TASK_ID'"),
        (["retry"], "Missing argument 'TASK_ID...'"),
        (["tasks", "--state", "DONE"], "--state"),
        (["tasks", "--label", "team"], "'team' is not of the form KEY=VALUE"),
        (["tasks", "--limit", "0"], "--limit"),
        (["queues", "stop"], "No such command 'stop'"),
        (["queues", "pause"], "Missing argument 'NAME'"),
        (["completion", "csh"], "'csh' is not one of"),
    ],
)
def test_a_mistake_is_one_line_that_says_where_to_look(arguments: list[str], complaint: str, capsys: Capture) -> None:
    assert __main__.main(arguments) == ExitCode.USAGE

    written = capsys.readouterr()
    assert written.out == ""
    assert complaint in written.err
    assert "--help" in written.err
    assert written.err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [["show", "a\udcff"], ["submit", "add", "--label", "a\udcff=b"]], ids=lambda a: a[0]
)
def test_bytes_that_are_no_text_are_a_mistake_of_the_command_line(arguments: list[str], capsys: Capture) -> None:
    assert __main__.main(arguments) == ExitCode.USAGE

    complaint = (
        f"tailrace: the argument {arguments[-1].encode(errors='backslashreplace').decode()} is not text in UTF-8\n"
    )
    assert capsys.readouterr().err == complaint


def test_without_a_command_the_help_is_shown_and_that_is_a_mistake(capsys: Capture) -> None:
    assert __main__.main([]) == ExitCode.USAGE
    assert "Commands:" in capsys.readouterr().err


def test_the_version_is_that_of_the_distribution(capsys: Capture) -> None:
    assert __main__.main(["--version"]) == ExitCode.OK
    assert capsys.readouterr().out.startswith("tailrace, version ")


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (WaitTimeoutError("task t1 was not done after 5 s"), ExitCode.NO_ANSWER),
        (ServerUnavailableError("no answer"), ExitCode.NO_ANSWER),
        (StoreUnavailableError("no answer"), ExitCode.NO_ANSWER),
        (TaskNotFoundError("no task t1"), ExitCode.NOT_FOUND),
        (WorkerNotFoundError("no worker w1 is connected"), ExitCode.NOT_FOUND),
        (TaskNotResubmittableError("task t1 is in SUCCESS"), ExitCode.REFUSED),
        (TaskNotTerminalError("task t1 is not done"), ExitCode.REFUSED),
        (InvalidRequestError("malformed"), ExitCode.USAGE),
        (LimitExceededError("too large"), ExitCode.USAGE),
        (TaskIdConflictError("taken"), ExitCode.REFUSED),
        (PayloadError("the result is 'image/png', not application/json"), ExitCode.REFUSED),
        (CallRefusedError("not allowed"), ExitCode.REFUSED),
        (InternalServerError("incident 7"), ExitCode.REFUSED),
    ],
    ids=lambda part: type(part).__name__ if isinstance(part, TailraceError) else "",
)
def test_an_error_is_one_line_and_an_exit_code(error: TailraceError, exit_code: int, capsys: Capture) -> None:
    assert complain_of(error) == exit_code
    assert capsys.readouterr().err.startswith(f"tailrace: {error}")


def test_an_error_of_several_lines_is_written_as_one(capsys: Capture) -> None:
    complain_of(InvalidRequestError("first\n  second"))

    assert capsys.readouterr().err == "tailrace: first second\n"


def test_an_unreachable_server_is_named_with_what_to_do(capsys: Capture) -> None:
    assert __main__.main(["wait", "t1", "--timeout", "100ms", "--address", "127.0.0.1:1"]) == ExitCode.NO_ANSWER

    written = capsys.readouterr().err.splitlines()[-1]
    assert "127.0.0.1:1" in written
    assert "--address or TAILRACE_ADDRESS" in written


def run_without(module: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the command where a module is not installed."""
    program = f"""
import sys
sys.modules[{module!r}] = None  # what makes an import fail as if there were no such module
from tailrace.cli.__main__ import main
sys.exit(main({json.dumps(arguments)}))
"""
    return subprocess.run([sys.executable, "-Ic", program], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("module", ["click", "rich"])
def test_without_the_cli_extra_one_line_says_what_to_install(module: str) -> None:
    ended = run_without(module, "submit", "add")

    assert ended.returncode == ExitCode.USAGE
    assert ended.stderr == f"tailrace: {module} is missing: pip install 'tailrace[cli]'\n"


def test_without_the_server_extra_one_line_says_what_to_install() -> None:
    ended = run_without("structlog", "server")

    assert ended.returncode == ExitCode.USAGE
    assert ended.stderr == "tailrace: structlog is missing: pip install 'tailrace[server]'\n"


def test_a_client_needs_nothing_of_the_server() -> None:
    ended = run_without("structlog", "wait", "t1", "--address", "127.0.0.1:1", "--timeout", "100ms")

    assert ended.returncode == ExitCode.NO_ANSWER


@pytest.mark.parametrize("command", ["server", "worker"])
def test_server_and_worker_explain_their_own_options(command: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tailrace.cli", command, "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 0
    assert {"server": "--store", "worker": "MODULE:NAME"}[command] in ended.stdout


def complete(shell: str, *words: str) -> str:
    """Ask for what completes the last word, as the functions that ``tailrace completion`` writes do."""
    environ = {**os.environ, "_TAILRACE_COMPLETE": f"{shell}_complete"}
    environ |= {"COMP_WORDS": " ".join(["tailrace", *words]), "COMP_CWORD": words[-1] if shell == "fish" else "1"}
    return subprocess.run(
        [sys.executable, "-m", "tailrace.cli"], capture_output=True, text=True, timeout=60, check=True, env=environ
    ).stdout


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_completion_is_asked_for_under_the_name_that_the_command_looks_for(shell: str, capsys: Capture) -> None:
    assert __main__.main(["completion", shell]) == ExitCode.OK

    assert f"_TAILRACE_COMPLETE={shell}_complete" in capsys.readouterr().out
    assert "queues" in complete(shell, "queu")


def test_bash_completes_commands() -> None:
    script = """
eval "$(tailrace completion bash)"
COMP_WORDS=(tailrace queues pu) COMP_CWORD=2
_tailrace_completion tailrace
echo "${COMPREPLY[@]}"
"""
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    ended = subprocess.run(
        ["bash", "-euc", script], capture_output=True, text=True, timeout=60, check=False, env=environ
    )

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "purge\n", "")

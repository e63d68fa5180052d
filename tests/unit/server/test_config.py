"""What an operator can set, and what is refused."""

import pytest

from tailrace.server.__main__ import EXIT_USAGE, _config, main
from tailrace.server.config import ServerConfig, from_environment

Capture = pytest.CaptureFixture[str]


def test_nothing_set_means_no_limit_on_queues() -> None:
    assert from_environment({}).max_queue_depth is None
    assert from_environment({"TAILRACE_MAX_QUEUE_DEPTH": ""}).max_queue_depth is None


def test_limit_on_queues_is_read_from_the_environment() -> None:
    assert from_environment({"TAILRACE_MAX_QUEUE_DEPTH": "1000"}).max_queue_depth == 1_000
    assert from_environment({"TAILRACE_MAX_QUEUE_DEPTH": "0"}).max_queue_depth == 0


def test_argument_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAILRACE_MAX_QUEUE_DEPTH", "1000")

    assert _config([]).max_queue_depth == 1_000
    assert _config(["--max-queue-depth", "5"]).max_queue_depth == 5


@pytest.mark.parametrize("text", ["many", "1.5", "-1", "1000000001", "9" * 30])
def test_limit_that_is_none_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"(?i)max_queue_depth"):
        from_environment({"TAILRACE_MAX_QUEUE_DEPTH": text})


@pytest.mark.parametrize("depth", [0, 1, 1_000_000_000])
def test_limit_within_bounds_is_taken(depth: int) -> None:
    assert ServerConfig(max_queue_depth=depth).max_queue_depth == depth


def test_command_line_that_makes_no_sense_is_one_line(capsys: Capture) -> None:
    assert main(["--max-queue-depth", "-1"]) == EXIT_USAGE

    assert capsys.readouterr().err == "tailrace server: max_queue_depth: -1 is not from 0 to 1000000000\n"


def test_what_is_not_set_or_empty_has_its_default() -> None:
    assert from_environment({"TAILRACE_LISTEN": "", "TAILRACE_STOP_ON_EMPTY_STORE": "", "HOME": "/"}) == ServerConfig()


@pytest.mark.parametrize(("text", "is_set"), [("1", True), ("true", True), ("Yes", True), ("0", False), ("no", False)])
def test_switch_is_set_by_a_word_or_a_digit(text: str, is_set: bool) -> None:
    assert from_environment({"TAILRACE_STOP_ON_EMPTY_STORE": text}).stop_on_empty_store is is_set


@pytest.mark.parametrize(
    ("variable", "text", "complaint"),
    [
        ("TAILRACE_STOP_ON_EMPTY_STORE", "perhaps", "'perhaps' is not 1 or 0"),
        ("TAILRACE_GRACE", "soon", "'soon' is not a number"),
    ],
)
def test_variable_that_makes_no_sense_is_refused_by_name(variable: str, text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=f"{variable}: {complaint}"):
        from_environment({variable: text})


def test_switch_on_the_command_line_is_set() -> None:
    assert _config(["--stop-on-empty-store"]).stop_on_empty_store
    assert not _config([]).stop_on_empty_store


def test_metrics_are_served_nowhere_unless_somebody_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _config([]).metrics is None
    monkeypatch.setenv("TAILRACE_METRICS", "127.0.0.1:7441")
    assert _config([]).metrics == "127.0.0.1:7441"
    assert _config(["--metrics", "[::1]:0"]).metrics == "[::1]:0"


@pytest.mark.parametrize("address", ["7441", "localhost", ":7441", "localhost:http", "localhost:65536"])
def test_address_for_metrics_that_is_none_is_named(address: str, capsys: Capture) -> None:
    assert main(["--metrics", address]) == EXIT_USAGE

    assert capsys.readouterr().err == f"tailrace server: metrics: '{address}' is not HOST:PORT\n"

"""What an operator sets by variables and by options."""

import pytest

from tailrace.server.__main__ import _config
from tailrace.server.config import ServerConfig, from_environment


def test_what_is_not_set_or_empty_has_its_default() -> None:
    assert from_environment({"TAILRACE_LISTEN": "", "TAILRACE_STOP_ON_EMPTY_STORE": "", "HOME": "/"}) == ServerConfig()


@pytest.mark.parametrize(("text", "is_set"), [("1", True), ("true", True), ("Yes", True), ("0", False), ("no", False)])
def test_a_switch_is_set_by_a_word_or_a_digit(text: str, is_set: bool) -> None:
    assert from_environment({"TAILRACE_STOP_ON_EMPTY_STORE": text}).stop_on_empty_store is is_set


@pytest.mark.parametrize(
    ("variable", "text", "complaint"),
    [
        ("TAILRACE_STOP_ON_EMPTY_STORE", "perhaps", "'perhaps' is not 1 or 0"),
        ("TAILRACE_GRACE", "soon", "'soon' is not a number"),
        ("TAILRACE_MAX_QUEUE_DEPTH", "-1", "max_queue_depth: -1 is not from 0"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(variable: str, text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        from_environment({variable: text})


def test_an_option_has_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAILRACE_STORE", "redis://elsewhere")
    monkeypatch.setenv("TAILRACE_LISTEN", "127.0.0.1:1")

    config = _config(["--store", "redis+cluster://here", "--stop-on-empty-store"])

    assert (config.store, config.listen) == ("redis+cluster://here", "127.0.0.1:1")
    assert config.stop_on_empty_store

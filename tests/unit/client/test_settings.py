"""Where settings come from."""

from datetime import timedelta
from typing import Any

import pytest

from tailrace.client._settings import resolve_settings


@pytest.mark.parametrize(
    ("argument", "environ", "expected"),
    [
        ("tasks:1", {"TAILRACE_ADDRESS": "env:2"}, "tasks:1"),
        (None, {"TAILRACE_ADDRESS": "env:2"}, "env:2"),
        (None, {"TAILRACE_ADDRESS": ""}, "localhost:7440"),
        (None, {}, "localhost:7440"),
    ],
)
def test_an_argument_comes_before_the_environment_and_that_before_the_default(
    argument: str | None, environ: dict[str, str], expected: str
) -> None:
    assert resolve_settings(argument, None, environ).address == expected


@pytest.mark.parametrize(("timeout", "seconds"), [(None, 60), (2, 2), (timedelta(minutes=1.5), 90)])
def test_the_call_timeout_is_seconds_or_a_timedelta(timeout: Any, seconds: float) -> None:
    assert resolve_settings(None, timeout, {}).call_timeout_s == seconds


@pytest.mark.parametrize("timeout", [0, -1, timedelta(0), float("nan")])
def test_a_call_timeout_that_leaves_no_time_is_refused(timeout: Any) -> None:
    with pytest.raises(ValueError, match="timeout"):
        resolve_settings(None, timeout, {})


def test_a_call_timeout_of_the_wrong_kind_is_refused() -> None:
    with pytest.raises(TypeError, match="seconds or a timedelta"):
        resolve_settings(None, "10", {})  # type: ignore[arg-type]

"""The check of docstrings notices what it is there for."""

import importlib.util
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from tests.docs.snippets import ROOT


def load_check() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_docstrings", ROOT / "scripts/check_docstrings.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CHECK = load_check()


def complete(first: int, second: int) -> int:
    """Return the sum.

    Args:
        first: One.
        second: The other.

    Raises:
        ValueError: Both are zero.
    """
    return _sum(first, second)


def undocumented(first: int) -> int:
    return first


def silent_on_parameters(first: int, second: int) -> int:
    """Return the sum."""
    return first + second


def stale(first: int) -> int:
    """Return it.

    Args:
        first: This.
        second: Is gone.
    """
    return first


def silent_on_errors(first: int) -> int:
    """Return twice the same."""
    return _sum(first, first)


def silent_on_the_result(first: int) -> int:
    """Count."""
    return first


def defers(first: int, second: int) -> int:
    """Add; see ``complete``."""
    return _sum(first, second)


def catches(first: int) -> int:
    """Return it, or 0."""
    try:
        return _sum(first, first)
    except ValueError:
        return 0


def _sum(first: int, second: int) -> int:
    if not first and not second:
        raise ValueError("nothing to add")
    return first + second


@pytest.mark.parametrize(
    ("function", "problems"),
    [
        (complete, []),
        (undocumented, ["f(): no docstring"]),
        (silent_on_parameters, ["f(): no Args, and nothing is said of first, second"]),
        (stale, ["f(): Args names first, second, the signature first"]),
        (silent_on_errors, ["f(): Raises does not name ValueError"]),
        (silent_on_the_result, ["f(): what it returns is not said"]),
        (defers, []),
        (catches, []),
    ],
)
def test_what_is_left_out_is_found(function: Callable[..., Any], problems: list[str]) -> None:
    assert list(CHECK._problems("f()", function)) == problems

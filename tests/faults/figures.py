"""Measured figures, shown in pytest's summary whether the tests pass or not."""

import pytest


class Figures:
    """Lines for the summary."""

    KEY = pytest.StashKey[list[str]]()

    def __init__(self, config: pytest.Config, test: str) -> None:
        self._lines = config.stash.setdefault(self.KEY, [])
        self._test = test

    def add(self, text: str) -> None:
        """Have a figure shown, with the test's name before it."""
        self._lines.append(f"{self._test}: {text}")

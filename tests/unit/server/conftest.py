"""Fixtures of the server's unit tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.store.sqlite_harness import open_sqlite
from tests.unit.server.waiting_scene import Scene, running


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    """Waits on a store of their own."""
    async with open_sqlite(tmp_path) as harness, running(harness) as scene:
        yield scene

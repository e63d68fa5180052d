"""Which store a URL means."""

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tailrace.server.store.base import Store
from tailrace.server.store.sqlite.store import SqliteStore

SUPPORTED = "sqlite:///file.db, sqlite:////absolute/file.db, redis:// and rediss:// URLs, also with +cluster"
REDIS_SCHEMES = frozenset({"redis", "rediss", "redis+cluster", "rediss+cluster"})


def store_for(url: str | None, *, replica_id: str) -> Store:
    """Make the store that a URL names, not yet open; None means the embedded store at ``default_path``.

    Raises:
        ValueError: The URL names no store that there is; the text says which there are and never holds a password.
    """
    if url is None:
        return SqliteStore(default_path(os.environ))
    scheme = urlsplit(url).scheme
    if scheme == "sqlite":
        return SqliteStore(_file_of(url))
    if scheme in REDIS_SCHEMES:
        # Only here, so that the embedded store needs no Redis client to be installed.
        from tailrace.server.store.redis.store import RedisStore  # noqa: PLC0415

        return RedisStore(url, replica_id=replica_id, namespace="default")
    raise ValueError(f"no store has the URL scheme {scheme!r}; there are {SUPPORTED}")


def default_path(environment: Mapping[str, str]) -> Path:
    """Tell where the embedded store is when nobody says: the user's state directory."""
    # A relative XDG_STATE_HOME is to be ignored, says the XDG Base Directory Specification.
    state_home = Path(environment.get("XDG_STATE_HOME") or "")
    if not state_home.is_absolute():
        state_home = Path.home() / ".local" / "state"
    return state_home / "tailrace" / "tailrace.db"


def _file_of(url: str) -> Path:
    parts = urlsplit(url)
    path = unquote(parts.path.removeprefix("/"))
    if parts.netloc or not path or parts.query or parts.fragment:
        raise ValueError("a SQLite file is named by sqlite:///file.db or, absolute, sqlite:////directory/file.db")
    return Path(path).absolute()

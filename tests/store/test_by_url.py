"""Which store a URL means."""

from pathlib import Path

import pytest

from tailrace.server.store.by_url import default_path, store_for
from tailrace.server.store.redis.store import RedisStore
from tailrace.server.store.sqlite.store import SqliteStore

REPLICA = "0a0a0a0a"


def file_of(url: str | None) -> Path:
    store = store_for(url, replica_id=REPLICA)
    assert isinstance(store, SqliteStore)
    return store.path


def test_three_slashes_name_a_file_in_the_working_directory() -> None:
    assert file_of("sqlite:///tasks.db") == Path.cwd() / "tasks.db"
    assert file_of("sqlite:///data/tasks.db") == Path.cwd() / "data" / "tasks.db"


def test_four_slashes_name_a_file_absolutely() -> None:
    assert file_of("sqlite:////var/lib/tail%20race.db") == Path("/var/lib/tail race.db")


def test_no_url_names_the_users_state_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    assert file_of(None) == tmp_path / "tailrace" / "tailrace.db"


@pytest.mark.parametrize("state_home", [None, "", "relative/path"])
def test_without_a_usable_xdg_state_home_it_is_dot_local_state(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, state_home: str | None
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    environment = {} if state_home is None else {"XDG_STATE_HOME": state_home}

    assert default_path(environment) == tmp_path / ".local" / "state" / "tailrace" / "tailrace.db"


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1:6379/0",
        "rediss://example.org:6380",
        "redis+cluster://127.0.0.1:7000,127.0.0.1:7001",
        "rediss+cluster://me:secret@example.org",
    ],
)
async def test_redis_urls_name_a_redis(url: str) -> None:
    store = store_for(url, replica_id=REPLICA)

    assert isinstance(store, RedisStore)
    await store.close()


@pytest.mark.parametrize(
    "url", ["mysql://user:secret@host/db", "tasks.db", "", "/var/lib/tasks.db", "redis+sentinel://:secret@host"]
)
def test_any_other_url_is_refused_with_the_schemes_that_there_are_and_without_its_password(url: str) -> None:
    with pytest.raises(ValueError, match=r"sqlite:///.* redis:// and rediss://") as refused:
        store_for(url, replica_id=REPLICA)

    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("url", ["sqlite://tasks.db", "sqlite:///", "sqlite://", "sqlite:///a.db?mode=ro"])
def test_a_sqlite_url_that_names_no_file_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="sqlite:///"):
        store_for(url, replica_id=REPLICA)

"""A way to break the stores on purpose, which some test has to notice."""

from dataclasses import dataclass

SERVER = "tailrace/server"
REDIS = f"{SERVER}/store/redis"
DEADLINE, LEASE, TASK, RETRY = "domain/deadline.py", "domain/lease.py", "domain/task.py", "domain/retry.py"
SQLITE = "store/sqlite"


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A piece of text that occurs once in a file, and what takes its place."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """One thing done wrong."""

    what: str
    store: str
    """Which store it breaks; the rules in ``domain`` are applied by SQLite, and restated in Lua."""
    edits: tuple[Edit, ...]


def redis(what: str, file: str, *replacements: tuple[str, str]) -> Mutation:
    """Break a file below the folder of the Redis store: each first text becomes the second."""
    edits = tuple(Edit(file=f"{REDIS}/{file}", old=old, new=new) for old, new in replacements)
    return Mutation(what=what, store="redis", edits=edits)


def sqlite(what: str, *replacements: tuple[str, str, str]) -> Mutation:
    """Break files below the server's folder: in each, the first text becomes the second."""
    edits = tuple(Edit(file=f"{SERVER}/{file}", old=old, new=new) for file, old, new in replacements)
    return Mutation(what=what, store="sqlite", edits=edits)

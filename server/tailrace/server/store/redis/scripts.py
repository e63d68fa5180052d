"""The Lua scripts: their texts, how one is run, and that it is loaded again when Redis has forgotten it."""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from redis.exceptions import NoScriptError

from tailrace.server.store.redis.connection import Argument, Client
from tailrace.server.store.redis.keys import PartitionKeys

SCRIPT_NAMES = (
    "submit_tasks",
    "read_tasks",
    "register_waits",
    "lease_tasks",
    "beat_leases",
    "store_results",
    "release_leases",
    "revoke_tasks",
    "reap_leases",
    "end_overdue",
    "promote_due",
    "expire_done",
    "read_details",
    "list_tasks",
    "delete_tasks",
    "list_queues",
    "pause_queue",
    "purge_queue",
    "audit_tasks",
)
_SHARED = (
    "_record",
    "_prelude",
    "_fetching",
    "_leftovers",
    "_queues",
    "_indexes",
    "_telling",
    "_counting",
    "_commit",
    "_rules",
    "_outcomes",
    "_revoking",
    "_retrying",
    "_deadlines",
    "_waiting",
)
_SHARED_BY_SOME = {
    "reap_leases": ("_grace",),
    "end_overdue": ("_grace",),
    "read_details": ("_details",),
    "list_tasks": ("_details", "_walking"),
    "list_queues": ("_stats",),
    "pause_queue": ("_stats",),
    "purge_queue": ("_walking",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """One script as Redis gets it."""

    text: str
    sha: str


@cache
def lua_text(name: str) -> str:
    """Read one file of ``lua/``."""
    return (files("tailrace.server.store.redis") / "lua" / f"{name}.lua").read_text(encoding="utf-8")


def assemble(name: str, clock: str | None = None) -> Script:
    """Put a script together: the clock, what all scripts share, what it shares with some, its own text.

    ``clock`` replaces ``_clock.lua``; it has to define ``now()``.
    """
    shared = (*_SHARED, *_SHARED_BY_SOME.get(name, ()))
    parts = [clock or lua_text("_clock"), *map(lua_text, shared), lua_text(name)]
    text = "\n".join(parts)
    return Script(text=text, sha=hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


class ScriptRunner:
    """Runs scripts by name on one partition at a time."""

    def __init__(self, client: Client, *, channel_prefix: str, replica_id: str, clock: str | None = None) -> None:
        self._client = client
        self._who = (channel_prefix, replica_id)
        self._scripts = {name: assemble(name, clock) for name in SCRIPT_NAMES}

    async def load(self) -> None:
        """Have Redis compile all scripts, on every server that takes writes."""
        scripts = list(self._scripts.values())
        for server in await self._client.primaries():
            known = await server.call("SCRIPT", "EXISTS", *(script.sha for script in scripts))
            for script, is_known in zip(scripts, known, strict=True):
                if not is_known:
                    await server.call("SCRIPT", "LOAD", script.text)

    async def run(self, name: str, keys: PartitionKeys, *arguments: Argument) -> Any:
        """Run a script, by its text where the server does not know it, which it does from then on.

        It does not know any when it was restarted, or has just become the primary.

        Raises:
            CallFailedError: No answer, or a refusal.
            RedisError: The script itself is wrong.
        """
        script = self._scripts[name]
        names = (keys.lease, keys.schedule, keys.done, keys.control, keys.deadlines, keys.queues, keys.none)
        fixed = (len(names), *names, keys.prefix, *self._who)
        try:
            return await self._client.call("EVALSHA", script.sha, *fixed, *arguments)
        except NoScriptError:
            # Not SCRIPT LOAD: that names no key, so no node of a cluster says that it is the wrong one.
            return await self._client.call("EVAL", script.text, *fixed, *arguments)

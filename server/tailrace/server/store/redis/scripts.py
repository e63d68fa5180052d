"""The Lua scripts: their texts, how one is run, and that it is loaded again when Redis has forgotten it."""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from redis.exceptions import NoScriptError

from tailrace.server.store.redis.connection import Argument, RedisClient
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
    "promote_due",
    "expire_done",
)
_SHARED = ("_record", "_prelude", "_leftovers", "_indexes", "_commit", "_rules", "_revoking")


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
    """Put a script together: the clock, what all scripts share, the script's own text.

    ``clock`` replaces ``_clock.lua``; it has to define ``now()``.
    """
    parts = [clock or lua_text("_clock"), *(lua_text(shared) for shared in _SHARED), lua_text(name)]
    text = "\n".join(parts)
    return Script(text=text, sha=hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


class ScriptRunner:
    """Runs scripts by name on one partition at a time."""

    def __init__(self, client: RedisClient, *, channel_prefix: str, replica_id: str, clock: str | None = None) -> None:
        self._client = client
        self._who = (channel_prefix, replica_id)
        self._scripts = {name: assemble(name, clock) for name in SCRIPT_NAMES}

    async def load(self) -> None:
        """Have Redis compile all scripts."""
        for script in self._scripts.values():
            await self._client.call("SCRIPT", "LOAD", script.text)

    async def run(self, name: str, keys: PartitionKeys, *arguments: Argument) -> Any:
        """Run a script; one that Redis does not know (it was restarted) is loaded and run again.

        Raises:
            CallFailedError: No answer, or a refusal.
            RedisError: The script itself is wrong.
        """
        script = self._scripts[name]
        fixed = (4, keys.lease, keys.schedule, keys.done, keys.control, keys.prefix, *self._who)
        try:
            return await self._client.call("EVALSHA", script.sha, *fixed, *arguments)
        except NoScriptError:
            await self._client.call("SCRIPT", "LOAD", script.text)
            return await self._client.call("EVALSHA", script.sha, *fixed, *arguments)

"""What holds of every Lua script: it runs under the strict rules of newer Redis, and says what it takes and answers."""

import re
from importlib.resources import files
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tailrace.server.domain import deadline, lease, retry, task
from tailrace.server.store.redis.scripts import SCRIPT_NAMES, assemble, lua_text
from tests.store.redis_harness import CLOCK, open_redis

LUA = files("tailrace.server.store.redis") / "lua"
SHARED = sorted(Path(file.name).stem for file in LUA.iterdir() if file.name.startswith("_"))
WRITES = re.compile(
    r"call\('(APPEND|DEL|HDEL|HINCRBY|HSET|INCR|L(?:POP|PUSH|REM|SET|TRIM)|P?EXPIRE(?:AT)?|RPUSH|S(?:ADD|ET|REM)|UNLINK|Z(?:ADD|REM)\w*)'"
)


@pytest.mark.parametrize("name", SCRIPT_NAMES)
def test_a_script_says_what_it_takes_and_answers(name: str) -> None:
    header = "\n".join(line for line in lua_text(name).splitlines() if line.startswith("--"))

    assert re.match(r"-- [A-Z][^.]*[.:;]", header), "a sentence on its purpose"
    assert "-- KEYS, ARGV 1 to 3: see _prelude.lua" in header
    assert "-- Returns " in header


@pytest.mark.parametrize("name", [*SCRIPT_NAMES, *SHARED])
def test_a_lua_file_is_short_enough_to_be_read_at_a_glance(name: str) -> None:
    assert len(lua_text(name).splitlines()) <= 100


@pytest.mark.parametrize("name", SCRIPT_NAMES)
def test_only_commit_writes_what_belongs_to_a_task(name: str) -> None:
    written = {match[1] for match in WRITES.finditer(lua_text(name))}

    # The reaper notes when it ran, in the partition's control hash; pausing is about a queue, not a task.
    others = {"reap_leases": {"HSET", "ZREM"}, "pause_queue": {"HDEL", "HSET", "ZADD"}}
    assert written == others.get(name, set())


@pytest.mark.parametrize("name", SCRIPT_NAMES)
def test_no_script_has_a_will_of_its_own(name: str) -> None:
    text = assemble(name).text

    assert not re.search(r"math\.random|'KEYS'|'SCAN'|cjson|cmsgpack|loadstring", text)


@pytest.mark.parametrize("name", SCRIPT_NAMES)
async def test_a_script_runs_under_the_strict_rules_that_a_shebang_brings(redis_url: str, name: str) -> None:
    async with open_redis(redis_url) as harness, Redis.from_url(redis_url) as admin:
        prefix = harness.prefix()
        keys = [f"{prefix}{name}" for name in ("lease", "sched", "done", "ctl", "dl", "queues", "none")]
        needed: dict[str, list[str]] = {
            "submit_tasks": ["-"],
            "read_tasks": ["1000"],
            "register_waits": ["1000", "0"],
            "lease_tasks": ["", "", "", "0", "1000", "-", "0", "", "0"],
            "end_overdue": ["", "", "", "0"],
            "release_leases": ["failure"],
            "reap_leases": ["1", "1", "1", ""],
            "promote_due": ["1"],
            "expire_done": ["1"],
            "read_details": ["1000"],
            "list_tasks": ["1", "1000", "0", "lease"],
            "list_queues": ["", "1"],
            "pause_queue": ["default", "1"],
            "purge_queue": ["default", "1", "failure", "ready"],
        }

        answer = await admin.eval(
            "#!lua\n" + assemble(name, CLOCK).text,
            len(keys),
            *keys,
            prefix,
            "tr:",
            "me",
            *needed.get(name, []),
        )

        assert isinstance(answer, list)


@pytest.mark.parametrize("name", SCRIPT_NAMES)
def test_a_script_differs_from_the_one_that_tests_run_in_its_clock_alone(name: str) -> None:
    assert assemble(name).text == assemble(name, CLOCK).text.replace(CLOCK, lua_text("_clock"), 1)


async def test_the_clock_is_that_of_redis_to_the_millisecond(redis_url: str) -> None:
    async with Redis.from_url(redis_url) as admin:
        before_s, before_us = await admin.time()
        now_ms = await admin.eval(lua_text("_clock") + "\nreturn string.format('%.3f', now())", 0)
        after_s, after_us = await admin.time()

    assert re.fullmatch(rb"\d{13}\.000", now_ms)
    assert before_s * 1000 + before_us // 1000 <= float(now_ms) <= after_s * 1000 + after_us // 1000


def test_the_numbers_in_lua_are_those_of_the_domain() -> None:
    text = "\n".join(lua_text(name) for name in [*SHARED, *SCRIPT_NAMES])

    def number(name: str) -> int:
        found = re.findall(rf"\b{name} = (\d+)\b", text)
        assert len(found) == 1, name
        return int(found[0])

    assert number("lease_ms") == task.DEFAULT_LEASE_MS
    assert number("result_ttl_ms") == task.DEFAULT_RESULT_TTL_MS
    assert number("max_lost_leases") == retry.DEFAULT_MAX_LOST_LEASES
    assert number("EXECUTION_GRACE_MS") == deadline.EXECUTION_GRACE_MS
    assert number("DELIVERY_LEASE_MS") == lease.DELIVERY_LEASE_MS
    assert number("RELEASES_PER_LOST_LEASE") == lease.RELEASES_PER_LOST_LEASE
    assert number("UNKEPT_RESULT_TTL_MS") == task.UNKEPT_RESULT_TTL_MS
    assert number("JITTER_STEPS") == retry.JITTER_STEPS

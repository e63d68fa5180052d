"""Waits that begin at any moment of a task's life, on either server: none is missed, and none needs the slow re-check.

TAILRACE_RANDOM_WAITS says how many on each stage, in hundreds.
"""

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Self

import pytest
from redis.asyncio import Redis

from tailrace.server.waiting import reading
from tailrace.v1.task_service_pb2 import (
    REVOKE_MODE_FORCE,
    GetResultRequest,
    RevokeRequest,
    WaitForRequest,
    WaitForResponse,
    WaitTarget,
    WatchRequest,
)
from tailrace.v1.worker_service_pb2 import Assignment
from tests.integration.api.serving import Api, a_request, a_success, seconds, serving
from tests.integration.api.watch_peer import WatchPeer
from tests.store.harness import SECOND_REPLICA_ID, Harness
from tests.store.redis_harness import RedisHarness

WAITS = int(os.environ.get("TAILRACE_RANDOM_WAITS", "700"))
TEST_S = 120 + WAITS // 20
ROUND = 100
SPAN_S = 0.3
"""Within so much time the tasks of a round end and their waits begin, so that any of the two may come first."""
PROMPT_S = 10.0
"""Below the earliest re-check: a wait that was missed is not there by then."""

assert PROMPT_S < reading.READ_AGAIN_S / 2


@pytest.fixture(params=["sqlite", "redis", "two servers on one redis"])
async def servers(request: pytest.FixtureRequest, sqlite: Harness) -> AsyncIterator[list[Api]]:
    if request.param == "sqlite":
        async with serving(sqlite) as api:
            yield [api]
        return
    url = request.getfixturevalue("redis_url")
    async with Redis.from_url(url, protocol=2) as admin:
        harness = RedisHarness(url, admin, 1)
        await harness.advance(0)
        async with serving(harness) as one:
            if request.param == "redis":
                yield [one]
            else:
                async with serving(harness, harness._new_store(SECOND_REPLICA_ID)) as other:
                    yield [one, other]
        await harness.close()


class Chance:
    """Random moments, servers and ways. No seed would bring back how they fall together with all that runs."""

    def __init__(self, servers: list[Api]) -> None:
        self._servers = servers

    @property
    def server(self) -> Api:
        return random.choice(self._servers)

    def either(self, *ways: Callable[[str], Awaitable[bool]]) -> Callable[[str], Awaitable[bool]]:
        return random.choice(ways)

    async def moment(self) -> None:
        """Return at a random moment of the round."""
        loop = asyncio.get_running_loop()
        moment = loop.create_future()
        loop.call_later(random.uniform(0, SPAN_S), moment.set_result, None)
        await moment

    def flip(self) -> bool:
        return random.random() < 0.5


async def wait_for(api: Api, task_id: str, *, done_only: bool) -> bool:
    request = WaitForRequest(targets=[WaitTarget(task_id=task_id)], done_only=done_only)
    call = api.tasks.WaitFor(request, timeout=PROMPT_S)
    is_told = False
    while isinstance(message := await call.read(), WaitForResponse):
        is_told = is_told or any(task.done for task in message.tasks)
    return is_told


async def poll(api: Api, task_id: str) -> bool:
    request = GetResultRequest(task_id=task_id, wait_timeout=seconds(60))
    return (await api.tasks.GetResult(request, timeout=PROMPT_S)).task.done


class Follower:
    """One long Watch stream that gains its targets at random moments."""

    def __init__(self, api: Api, *, done_only: bool) -> None:
        self._peer = WatchPeer(api, timeout_s=TEST_S)
        self._writing = asyncio.Lock()
        self._ends: dict[str, asyncio.Event] = {}
        self._done_only = done_only
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._peer.say(done_only=self._done_only)
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._reading is not None
        self._peer.break_off()
        self._reading.cancel()
        await asyncio.wait([self._reading])

    async def _read(self) -> None:
        while (message := await self._peer.hear()) is not None:
            for task in message.tasks:
                if task.done:
                    self._ends[task.task_id].set()

    async def _tells_end(self, task_id: str, request: WatchRequest) -> bool:
        end = self._ends.setdefault(task_id, asyncio.Event())
        async with self._writing:
            await self._peer._call.write(request)
        async with asyncio.timeout(PROMPT_S):
            await end.wait()
        return True

    async def follows(self, task_id: str) -> bool:
        return await self._tells_end(task_id, WatchRequest(add=[WaitTarget(task_id=task_id)]))

    async def submits(self, task_id: str) -> bool:
        return await self._tells_end(task_id, WatchRequest(submit=[a_request(task_id)]))


class Round:
    """Some tasks, the waits for them, and those who end them."""

    def __init__(self, number: int, chance: Chance, followers: list[Follower], began: Counter[str]) -> None:
        self._names = [f"round-{number}-{index}" for index in range(ROUND)]
        self._chance = chance
        self._followers = followers
        self._began = began
        """Counts waits by whether they began before, during or after the call that ended their task."""
        self._phases = dict.fromkeys(self._names, "before")

    async def run(self) -> int:
        """Return how many waits heard of their task's end."""
        submitted_here = {name for name in self._names if self._chance.flip()}
        known = [name for name in self._names if name not in submitted_here]
        await self._chance.server.submit_many(*known)
        async with asyncio.TaskGroup() as tasks:
            workers = [tasks.create_task(self._work()) for _ in range(3)]
            tasks.create_task(self._revoke(known[::7]))
            waits = [tasks.create_task(self._submit(name)) for name in submitted_here]
            waits += [tasks.create_task(self._wait(name)) for name in known]
            heard = await asyncio.gather(*waits)
            for worker in workers:
                worker.cancel()
        return sum(heard)

    async def _submit(self, name: str) -> bool:
        await self._chance.moment()
        return await self._chance.either(*[follower.submits for follower in self._followers])(name)

    async def _wait(self, name: str) -> bool:
        await self._chance.moment()
        api = self._chance.server
        ways: list[Callable[[str], Awaitable[bool]]] = [follower.follows for follower in self._followers]
        ways += [
            lambda name: wait_for(api, name, done_only=True),
            lambda name: wait_for(api, name, done_only=False),
            lambda name: poll(api, name),
        ]
        self._began[self._phases[name]] += 1
        return await self._chance.either(*ways)(name)

    async def _work(self) -> None:
        """End what is there, as it comes."""
        while True:
            assignments = await self._chance.server.lease_many(50, wait_s=1, start=True)
            await asyncio.gather(*[self._end(assignment) for assignment in assignments])

    async def _end(self, assignment: Assignment) -> None:
        await self._chance.moment()
        self._phases[assignment.lease.task_id] = "during"
        await self._chance.server.store_many(a_success(assignment.lease))
        self._phases[assignment.lease.task_id] = "after"

    async def _revoke(self, names: list[str]) -> None:
        for name in names:
            await self._chance.server.tasks.Revoke(
                RevokeRequest(task_ids=[name], mode=REVOKE_MODE_FORCE), timeout=PROMPT_S
            )


@pytest.mark.timeout(TEST_S)
async def test_no_wait_is_missed_whenever_and_wherever_it_begins(servers: list[Api]) -> None:
    chance = Chance(servers)
    began: Counter[str] = Counter()
    rounds = max(1, WAITS // ROUND)

    async with AsyncExitStack() as stack:
        followers = [
            await stack.enter_async_context(Follower(api, done_only=done_only))
            for api in servers
            for done_only in (False, True)
        ]
        heard = [await Round(number, chance, followers, began).run() for number in range(rounds)]

    assert heard == [ROUND] * rounds
    assert [api.server.waiting.read_again_count for api in servers] == [0] * len(servers)
    assert min(began[phase] for phase in ("before", "during", "after")) > 0, began

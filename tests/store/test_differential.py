"""The embedded store, which calls the rules, and Redis, which restates them in Lua, must not be told apart.

Random operations go to both, on one clock; every answer, every task afterwards and what was told has to be the same.
``make test`` takes a few thousand steps. To take more: ``TAILRACE_DIFFERENTIAL_STEPS=20000 make test
PYTEST_ARGS=tests/store/test_differential.py``.
"""

import asyncio
import os
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from tailrace.server.domain.ids import partition_of
from tailrace.server.domain.lease import AttemptEnd
from tailrace.server.domain.retry import JITTER_STEPS, RetryPolicy
from tailrace.server.domain.task import TaskState
from tailrace.server.store.values import Beat, Leased, LeaseRequest, Release, Revocation
from tests.store.builders import LOST, STOP, a_submission, nonces
from tests.store.twins import Call, Twins

STEPS_A_RUN = 50
STEPS = int(os.environ.get("TAILRACE_DIFFERENTIAL_STEPS", "1500"))
"""For each number of partitions."""
SETTINGS = settings(
    max_examples=max(1, STEPS // STEPS_A_RUN),
    stateful_step_count=STEPS_A_RUN,
    deadline=None,
    derandomize=os.environ.get("CI") == "true",
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)

IN_MEMORY = Path("/dev/shm")
"""Where there is one, the file goes there: thousands of times is too often to wait for a disk."""
QUEUES = ("default", "slow")
IDS_A_PARTITION = 5

spans_ms = st.sampled_from([0] * 8 + [1, 700, 3_000, 60_000])
policies = st.builds(
    RetryPolicy,
    max_attempts=st.integers(1, 4),
    initial_backoff_ms=st.sampled_from([0, 1, 333, 1_000]),
    max_backoff_ms=st.sampled_from([0, 500, 300_000]),
    backoff_multiplier=st.sampled_from([1.0, 1.1, 1.7, 2.0, 1_000.0]),
    non_retryable_types=st.sampled_from([(), ("ValueError",), ("KeyError", "Däclined")]),
)
rarely = st.sampled_from([False] * 7 + [True])
picks = st.sampled_from([0, 0, 0, 1, 1, 2, 3, 4, 5, 10])
"""Which of the tokens handed out so far, counted from the latest."""
partition_numbers = st.sampled_from([0, 0, 0, 0, 0, 1, 1, 2, 3])
"""One partition sees most of it, so that some tasks get far in their life."""
some_queues = st.sampled_from([QUEUES, QUEUES, ("slow", "none", "default"), ("default",), ("slow", "slow")])
submissions = st.fixed_dictionaries(
    {
        "payload": st.sampled_from([b"1"] * 5 + [b"2"]),
        "priority": st.sampled_from([0, 0, 4, 9]),
        "start_delay_ms": spans_ms,
        "lease_ms": st.sampled_from([2_000, 2_000, 6_000, 30_000]),
        "result_ttl_ms": st.sampled_from([0, 1, 5_000, 10**7]),
        "retry_policy": st.none() | policies,
        "max_lost_leases": st.sampled_from([1, 2, 3]),
        "return_existing": rarely,
    }
)
failures: dict[str, st.SearchStrategy[Any]] = {
    "failure": st.sampled_from([b"", b"failure\xff"]),
    "failure_type": st.sampled_from(["OSError", "OSError", "ValueError", "Däclined", ""]),
    "is_non_retryable": rarely,
    "next_retry_delay_ms": st.none() | spans_ms,
    "default_retry_policy": st.none() | policies,
    "jitter": st.integers(0, JITTER_STEPS),
}
fates = st.fixed_dictionaries(
    {
        "is_started": st.booleans(),
        "is_revoked": rarely,
        "end": st.sampled_from([None, None, "release", TaskState.FAILURE, TaskState.FAILURE, TaskState.SUCCESS]),
        "fields": st.fixed_dictionaries(failures),
    }
)


def queues_of(partitions: int) -> list[dict[str, str]]:
    """Choose task ids, evenly over partitions, each with the queue that it is always submitted to."""
    queues: list[dict[str, str]] = [{} for _ in range(partitions)]
    number = 0
    while any(len(of_partition) < IDS_A_PARTITION for of_partition in queues):
        task_id = f"batch-{number}::one"
        of_partition = queues[partition_of(task_id, partitions)]
        if len(of_partition) < IDS_A_PARTITION:
            of_partition[task_id] = QUEUES[len(of_partition) % len(QUEUES)]
        number += 1
    return queues


def has_tokens(machine: "StoreMachine") -> bool:
    return any(machine.tokens)


class StoreMachine(RuleBasedStateMachine):
    redis_url: ClassVar[str]
    partitions: ClassVar[int]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.directory = tempfile.TemporaryDirectory(prefix="twins-", dir=IN_MEMORY if IN_MEMORY.is_dir() else None)
        self.queues = queues_of(self.partitions)
        self.tokens: list[list[tuple[str, bytes]]] = [[] for _ in range(self.partitions)]
        self.next_nonce = 1
        self.last: tuple[int, Call] | None = None
        self.twins = self.runner.run(Twins.open(Path(self.directory.name), self.redis_url, self.queues))

    def teardown(self) -> None:
        self.runner.run(self.twins.close())
        self.runner.close()
        self.directory.cleanup()

    def ask(self, partition: int, call: Call) -> Any:
        self.last = (partition, call)
        answer: Any = self.runner.run(self.twins.ask(call))
        if isinstance(answer, Leased):
            self.tokens[partition].extend((d.task_id, d.lease_token) for d in answer.deliveries)
        return answer

    def partition_for(self, number: int) -> int:
        return number % self.partitions

    def token(self, partition: int, pick: int, *, is_broken: bool) -> tuple[str, bytes]:
        """Pick a token that was handed out, or one like it; of a task that may never have had one."""
        handed_out = self.tokens[partition]
        if not handed_out:
            return next(iter(self.queues[partition])), b"\0\0\0\1\0\0\0\0\0\0\0\1"
        task_id, token = handed_out[-1 - pick % len(handed_out)]
        return task_id, token[:4] + b"\xff" + token[5:] if is_broken else token

    @initialize(fields=submissions)
    def submit_everything(self, fields: dict[str, Any]) -> None:
        for partition in range(self.partitions):
            self.submit(partition, list(range(IDS_A_PARTITION)), fields)

    @rule(
        where=partition_numbers,
        numbers=st.just(list(range(IDS_A_PARTITION))) | st.lists(st.integers(0, IDS_A_PARTITION - 1), min_size=1),
        fields=submissions,
    )
    def submit(self, where: int, numbers: list[int], fields: dict[str, Any]) -> None:
        partition = self.partition_for(where)
        ids = list(self.queues[partition].items())
        items = [a_submission(ids[number][0], queue=ids[number][1], **fields) for number in numbers]
        self.ask(partition, lambda store: store.submit_tasks(partition, items))

    @rule(
        where=partition_numbers,
        queues=some_queues,
        count=st.integers(0, 4),
        start_immediately=rarely,
    )
    def lease(self, where: int, queues: tuple[str, ...], count: int, start_immediately: bool) -> None:
        partition = self.partition_for(where)
        request = LeaseRequest(
            queues=queues, nonces=nonces(count, self.next_nonce), start_immediately=start_immediately
        )
        self.next_nonce += count
        self.ask(partition, lambda store: store.lease_tasks(partition, request))

    @rule(where=partition_numbers, fates=st.lists(fates, min_size=1, max_size=4))
    def run_tasks(self, where: int, fates: list[dict[str, Any]]) -> None:
        """Lease some tasks; each is begun, or not, and ended, or released, or left to its lease."""
        partition = self.partition_for(where)
        self.lease(where, QUEUES, len(fates), start_immediately=False)
        for number, fate in enumerate(fates[: len(self.tokens[partition])]):
            if fate["is_started"]:
                self.beat(where, [(number, False, False)])
            if fate["is_revoked"]:
                task_id, _ = self.token(partition, number, is_broken=False)
                self.revoke(where, [list(self.queues[partition]).index(task_id)], is_forced=False, failure=STOP)
            if fate["end"] == "release":
                self.release(where, [(number, False, 0)])
            elif fate["end"] is not None:
                self.end(where, [(number, False)], fate["end"], b"result", fate["fields"])

    @precondition(has_tokens)
    @rule(where=partition_numbers, beats=st.lists(st.tuples(picks, rarely, rarely), min_size=1, max_size=3))
    def beat(self, where: int, beats: list[tuple[int, bool, bool]]) -> None:
        partition = self.partition_for(where)
        items = [
            Beat(task_id=task_id, lease_token=token, is_waiting=is_waiting)
            for pick, is_broken, is_waiting in beats
            for task_id, token in [self.token(partition, pick, is_broken=is_broken)]
        ]
        self.ask(partition, lambda store: store.beat_leases(partition, items))

    @precondition(has_tokens)
    @rule(
        where=partition_numbers,
        ends=st.lists(st.tuples(picks, rarely), min_size=1, max_size=3),
        state=st.sampled_from([TaskState.SUCCESS, TaskState.FAILURE, TaskState.FAILURE, TaskState.REVOKED]),
        result=st.sampled_from([None, b"", b"\x00result"]),
        fields=st.fixed_dictionaries(failures),
    )
    def end(
        self, where: int, ends: list[tuple[int, bool]], state: TaskState, result: bytes | None, fields: dict[str, Any]
    ) -> None:
        partition = self.partition_for(where)
        outcome = fields if state is not TaskState.SUCCESS else fields | {"failure": None, "result": result}
        items = [
            AttemptEnd(task_id=task_id, lease_token=token, state=state, **outcome)
            for pick, is_broken in ends
            for task_id, token in [self.token(partition, pick, is_broken=is_broken)]
        ]
        self.ask(partition, lambda store: store.store_results(partition, items))

    @precondition(has_tokens)
    @rule(where=partition_numbers, releases=st.lists(st.tuples(picks, rarely, spans_ms), min_size=1, max_size=4))
    def release(self, where: int, releases: list[tuple[int, bool, int]]) -> None:
        partition = self.partition_for(where)
        items = [
            Release(task_id=task_id, lease_token=token, delay_ms=delay_ms)
            for pick, is_broken, delay_ms in releases
            for task_id, token in [self.token(partition, pick, is_broken=is_broken)]
        ]
        self.ask(partition, lambda store: store.release_leases(partition, items, LOST))

    @rule(
        where=partition_numbers,
        numbers=st.lists(st.integers(0, IDS_A_PARTITION), min_size=1, max_size=2),
        is_forced=rarely,
        failure=st.sampled_from([STOP, STOP, b"", b"\x00\n \xff"]),
    )
    def revoke(self, where: int, numbers: list[int], is_forced: bool, failure: bytes) -> None:
        partition = self.partition_for(where)
        ids = [*self.queues[partition], "unknown"]
        items = [Revocation(task_id=ids[number], failure=failure, is_forced=is_forced) for number in numbers]
        self.ask(partition, lambda store: store.revoke_tasks(partition, items))

    @rule(where=partition_numbers, limit=st.integers(1, 4))
    def reap(self, where: int, limit: int) -> None:
        partition = self.partition_for(where)
        self.ask(partition, lambda store: store.reap_leases(partition, limit, LOST))

    @rule(where=partition_numbers, limit=st.integers(1, 4))
    def promote(self, where: int, limit: int) -> None:
        partition = self.partition_for(where)
        self.ask(partition, lambda store: store.promote_due(partition, limit))

    @rule(where=partition_numbers, limit=st.integers(1, 4))
    def expire(self, where: int, limit: int) -> None:
        partition = self.partition_for(where)
        self.ask(partition, lambda store: store.expire_done(partition, limit))

    @rule(where=partition_numbers)
    def register(self, where: int) -> None:
        partition = self.partition_for(where)
        task_ids = [*self.queues[partition], "unknown"]
        self.ask(partition, lambda store: store.register_waits(partition, task_ids))

    @precondition(lambda self: self.last is not None)
    @rule()
    def repeat_the_last_call(self) -> None:
        assert self.last is not None
        self.ask(*self.last)

    @rule(where=partition_numbers, ms=st.sampled_from([10, 700, 2_000, 5_000, 5_000, 5_000]), times=st.integers(1, 3))
    def pass_time(self, where: int, ms: int, times: int) -> None:
        """Let time go by as it does while a server lives."""
        for _ in range(times):
            self.advance(ms)
            for duty in (self.reap, self.promote, self.expire):
                duty(where, 4)

    @rule(ms=st.sampled_from([1, 350, 1_000, 2_000, 5_000, 5_001, 10_000, 60_000, -1, -3_000]))
    def advance(self, ms: int) -> None:
        self.runner.run(self.twins.advance(ms))

    @rule()
    def reopen(self) -> None:
        self.runner.run(self.twins.reopen())


@pytest.mark.parametrize("partitions", [1, 4])
@pytest.mark.timeout(0)  # the number of steps is the bound
def test_the_stores_cannot_be_told_apart(redis_url: str, partitions: int) -> None:
    class Machine(StoreMachine):
        pass

    Machine.redis_url, Machine.partitions = redis_url, partitions
    run_state_machine_as_test(Machine, settings=SETTINGS)

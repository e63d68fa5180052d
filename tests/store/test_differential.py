"""The embedded store, which calls the rules, and Redis, which restates them in Lua, must not be told apart.

Random operations go to both, on one clock; every answer, every task and queue afterwards and what was told has to be
the same, and neither may ever need a repair. ``make test`` takes a few thousand steps. To take more:
``TAILRACE_DIFFERENTIAL_STEPS=20000 make test PYTEST_ARGS=tests/store/test_differential.py``.
"""

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule, run_state_machine_as_test

from tailrace.server.domain.detail import TaskDetail
from tailrace.server.domain.lease import AttemptEnd
from tailrace.server.domain.task import TaskState
from tailrace.server.store.base import Store
from tailrace.server.store.values import Beat, LeaseRequest, Release, Revocation
from tests.store.builders import LOST, MISSED, PURGED, STOP, nonces
from tests.store.machine import (
    IDS_A_PARTITION,
    LATEST_CALLS,
    QUEUES,
    TwinsMachine,
    failures,
    fates,
    jitters,
    leases,
    partition_numbers,
    picks,
    progresses,
    rarely,
    some_queues,
    spans_ms,
    submissions,
    times,
    workers,
)

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
some_ids = st.lists(st.integers(0, IDS_A_PARTITION), min_size=1, max_size=2)
"""The last one is of no task."""
some_fates = st.lists(fates, min_size=1, max_size=4)
some_jitters = st.lists(jitters, min_size=1, max_size=4)


def has_tokens(machine: "StoreMachine") -> bool:
    return any(machine.tokens)


class StoreMachine(TwinsMachine):
    @initialize(fields=submissions, times=times, fates=some_fates)
    def begin(self, fields: dict[str, Any], times: dict[str, int | None], fates: list[dict[str, Any]]) -> None:
        for partition in range(self.partitions):
            self.submit(partition, list(range(IDS_A_PARTITION)), fields, times, max_queue_depth=None, is_anew=False)
            self.run_tasks(partition, fates, {})

    @rule(
        where=partition_numbers,
        numbers=st.just(list(range(IDS_A_PARTITION))) | st.lists(st.integers(0, IDS_A_PARTITION - 1), min_size=1),
        fields=submissions,
        times=times,
        max_queue_depth=st.sampled_from([None] * 7 + [0, 1, 2]),
        is_anew=st.booleans(),
    )
    def submit(
        self,
        where: int,
        numbers: list[int],
        fields: dict[str, Any],
        times: dict[str, int | None],
        *,
        max_queue_depth: int | None,
        is_anew: bool,
    ) -> None:
        """Anew: tasks that are done give their ids away first."""
        if is_anew:
            self.delete(where, numbers)
        partition = self.partition_for(where)
        items = self.submissions_of(partition, numbers, fields, times)
        self.ask(partition, lambda store: store.submit_tasks(partition, items, max_queue_depth=max_queue_depth))

    @rule(where=partition_numbers, queues=some_queues, count=st.integers(0, 4), fields=leases)
    def lease(self, where: int, queues: tuple[str, ...], count: int, fields: dict[str, Any]) -> None:
        partition = self.partition_for(where)
        request = LeaseRequest(queues=queues, nonces=nonces(count, self.next_nonce), failures=MISSED, **fields)
        self.next_nonce += count
        self.ask(partition, lambda store: store.lease_tasks(partition, request))

    def run_tasks(self, where: int, fates: list[dict[str, Any]], fields: dict[str, Any]) -> None:
        """Lease some tasks; each is begun, or not, and ended, or released, or left to its lease."""
        partition = self.partition_for(where)
        self.lease(where, QUEUES, len(fates), fields)
        for number, fate in enumerate(fates[: len(self.tokens[partition])]):
            if fate["is_started"]:
                self.beat(where, [(number, False, False)], "one", fate["progress"])
            if fate["is_revoked"]:
                task_id, _ = self.token(partition, number, is_broken=False)
                self.revoke(where, [list(self.queues[partition]).index(task_id)], is_forced=False, failure=STOP)
            if fate["end"] == "release":
                self.release(where, [(number, False, 0)])
            elif fate["end"] is not None:
                self.end(where, [(number, False)], fate["end"], b"result", fate["fields"])

    # Most of what there is to see takes tasks that get on.
    run_tasks_1 = rule(where=partition_numbers, fates=some_fates, fields=leases)(run_tasks)
    run_tasks_2 = rule(where=partition_numbers, fates=some_fates, fields=leases)(run_tasks)
    run_tasks_3 = rule(where=partition_numbers, fates=some_fates, fields=leases)(run_tasks)

    @precondition(has_tokens)
    @rule(
        where=partition_numbers,
        beats=st.lists(st.tuples(picks, rarely, rarely), min_size=1, max_size=3),
        worker_id=workers,
        progress=progresses,
    )
    def beat(self, where: int, beats: list[tuple[int, bool, bool]], worker_id: str, progress: bytes | None) -> None:
        partition = self.partition_for(where)
        items = [
            Beat(task_id=task_id, lease_token=token, is_waiting=is_waiting, worker_id=worker_id, progress=progress)
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
        numbers=some_ids,
        is_forced=rarely,
        failure=st.sampled_from([STOP, STOP, b"", b"\x00\n \xff"]),
    )
    def revoke(self, where: int, numbers: list[int], is_forced: bool, failure: bytes) -> None:
        partition = self.partition_for(where)
        task_ids = self.ids_of(partition, numbers)
        items = [Revocation(task_id=task_id, failure=failure, is_forced=is_forced) for task_id in task_ids]
        self.ask(partition, lambda store: store.revoke_tasks(partition, items))

    def ids_of(self, partition: int, numbers: list[int]) -> list[str]:
        return [[*self.queues[partition], "unknown"][number] for number in numbers]

    @rule(where=partition_numbers, numbers=some_ids)
    def delete(self, where: int, numbers: list[int]) -> None:
        partition = self.partition_for(where)
        task_ids = self.ids_of(partition, numbers)
        self.ask(partition, lambda store: store.delete_tasks(partition, task_ids))

    @rule(where=partition_numbers, queue=st.sampled_from([*QUEUES, "none"]), is_paused=rarely)
    def pause(self, where: int, queue: str, is_paused: bool) -> None:
        partition = self.partition_for(where)
        self.ask(partition, lambda store: store.pause_queue(partition, queue, is_paused=is_paused))

    @rule(where=partition_numbers, queue=st.sampled_from(["none"] * 4 + [*QUEUES]), limit=st.sampled_from([1, 2, 100]))
    def purge(self, where: int, queue: str, limit: int) -> None:
        partition = self.partition_for(where)
        self.ask(partition, lambda store: purge_all(store, partition, queue, limit))

    @rule(where=partition_numbers, limit=st.sampled_from([1, 2, 3, 100]), with_payloads=st.booleans())
    def look(self, where: int, limit: int, with_payloads: bool) -> None:
        """Walk through all tasks, and check that there is nothing to repair."""
        partition = self.partition_for(where)
        walked = self.ask(partition, lambda store: list_all(store, partition, limit, with_payloads=with_payloads))
        assert sorted(detail.snapshot.task_id for detail in walked) == sorted(self.twins.known(partition))
        self.runner.run(self.twins.audit())

    @rule(where=partition_numbers, with_progress=st.booleans())
    def register(self, where: int, with_progress: bool) -> None:
        partition = self.partition_for(where)
        task_ids = [*self.queues[partition], "unknown"]
        self.ask(partition, lambda store: store.register_waits(partition, task_ids, with_progress=with_progress))

    @rule(
        where=partition_numbers,
        duty=st.sampled_from(["reap", "end_overdue", "promote", "expire"]),
        jitters=some_jitters,
    )
    def maintain(self, where: int, duty: str, jitters: list[int]) -> None:
        """Have one of the duties done, for as many tasks as there are jitters."""
        partition, limit = self.partition_for(where), len(jitters)
        if duty == "reap":
            self.ask(partition, lambda store: store.reap_leases(partition, limit, LOST))
        elif duty == "end_overdue":
            self.ask(partition, lambda store: store.end_overdue(partition, MISSED, jitters))
        elif duty == "promote":
            self.ask(partition, lambda store: store.promote_due(partition, limit))
        else:
            self.ask(partition, lambda store: store.expire_done(partition, limit))

    @precondition(lambda self: self.latest)
    @rule(back=st.integers(1, LATEST_CALLS))
    def repeat_a_call(self, back: int) -> None:
        """As who does that had no answer, be it some time later."""
        self.ask(*self.latest[-min(back, len(self.latest))])

    @rule(where=partition_numbers, ms=st.sampled_from([10, 700, 2_000, 5_000, 5_000, 5_000]), times=st.integers(1, 3))
    def pass_time(self, where: int, ms: int, times: int) -> None:
        """Let time go by as it does while a server lives."""
        for _ in range(times):
            self.advance(ms)
            for duty in ("reap", "end_overdue", "promote", "expire"):
                self.maintain(where, duty, [0, 20_000, 40_000, 60_000])

    @rule(ms=st.sampled_from([1, 350, 1_000, 2_000, 5_000, 5_001, 10_000, 60_000, -1, -3_000]))
    def advance(self, ms: int) -> None:
        self.runner.run(self.twins.advance(ms))

    @rule()
    def reopen(self) -> None:
        self.runner.run(self.twins.reopen())


async def purge_all(store: Store, partition: int, queue: str, limit: int) -> tuple[int, int]:
    """Go to the end: how many tasks one step looks at is a store's own affair."""
    purged = await store.purge_queue(partition, queue, "", limit, PURGED)
    count = purged.count
    while purged.cursor:
        purged = await store.purge_queue(partition, queue, purged.cursor, limit, PURGED)
        count += purged.count
    return count, purged.remaining


async def list_all(store: Store, partition: int, limit: int, *, with_payloads: bool) -> list[TaskDetail]:
    listed = await store.list_tasks(partition, "", limit, with_payloads=with_payloads)
    details = [*listed.details]
    while listed.cursor:
        listed = await store.list_tasks(partition, listed.cursor, limit, with_payloads=with_payloads)
        details += listed.details
    return details


@pytest.mark.parametrize("partitions", [1, 4])
@pytest.mark.timeout(0)  # the number of steps is the bound
def test_the_stores_cannot_be_told_apart(redis_url: str, partitions: int) -> None:
    class Machine(StoreMachine):
        pass

    Machine.redis_url, Machine.partitions = redis_url, partitions
    run_state_machine_as_test(Machine, settings=SETTINGS)

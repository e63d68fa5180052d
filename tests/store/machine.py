"""What a random walk over two stores needs to know: the ids that there are, the tokens handed out, the latest calls."""

import asyncio
import tempfile
from collections import deque
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine

from tailrace.server.domain.ids import partition_of
from tailrace.server.domain.retry import JITTER_STEPS, RetryPolicy
from tailrace.server.domain.task import Submission, TaskState
from tailrace.server.store.values import Leased
from tests.store.builders import a_submission
from tests.store.twins import Call, Twins

IN_MEMORY = Path("/dev/shm")
"""Where there is one, the file goes there: thousands of times is too often to wait for a disk."""
QUEUES = ("default", "slow")
IDS_A_PARTITION = 5
LATEST_CALLS = 5

spans_ms = st.sampled_from([0] * 6 + [1, 700, 3_000, 60_000])
policies = st.builds(
    RetryPolicy,
    max_attempts=st.integers(1, 4),
    initial_backoff_ms=st.sampled_from([0, 1, 333, 1_000]),
    max_backoff_ms=st.sampled_from([0, 500, 300_000]),
    backoff_multiplier=st.sampled_from([1.0, 1.1, 1.7, 2.0, 1_000.0]),
    non_retryable_types=st.sampled_from([(), ("ValueError",), ("KeyError", "Däclined"), ("ExecutionTimeout",)]),
)
rarely = st.sampled_from([False] * 7 + [True])
picks = st.sampled_from([0, 0, 0, 1, 1, 2, 3, 4, 5, 10])
"""Which of the tokens handed out so far, counted from the latest."""
partition_numbers = st.sampled_from([0, 0, 0, 0, 0, 1, 1, 2, 3])
"""One partition sees most of it, so that some tasks get far in their life."""
jitters = st.integers(0, JITTER_STEPS)
workers = st.sampled_from(["", "", "one", "two"])
progresses = st.sampled_from([None, None, None, b"", b"half", b"\x00\n more than half \xff"])
some_queues = st.sampled_from([QUEUES, QUEUES, ("slow", "none", "default"), ("default",), ("slow", "slow")])
times = st.fixed_dictionaries(
    {
        "timed": st.sampled_from([0, 0, 1, 2, 3, 3]),
        "start_delay": spans_ms,
        "schedule": st.sampled_from([None, None, None, -5_000, 1, 3_000]),
        "start_deadline": st.sampled_from([None, None, None, 1, 3_000, 20_000]),
        "start_within": st.sampled_from([None, None, 0, 700, 11_000]),
        "total": st.sampled_from([None, None, 1, 3_000, 20_000, 70_000]),
        "execution": st.sampled_from([None, 1_000, 1_000, 20_000]),
    }
)
"""Spans; those of points in time count from the moment of the submit. Some tasks of a call have them: none, the even
ones, the odd ones, all."""
submissions = st.fixed_dictionaries(
    {
        "is_other_request": rarely,
        "priority": st.sampled_from([0, 0, 4, 9]),
        "lease_ms": st.sampled_from([2_000, 2_000, 6_000, 30_000]),
        "result_ttl_ms": st.sampled_from([0, 1, 5_000, 10**7]),
        "retry_policy": policies | st.none() | policies,
        "max_lost_leases": st.sampled_from([1, 2, 3]),
        "return_existing": rarely,
        "is_watched": rarely,
    }
)
failures: dict[str, st.SearchStrategy[Any]] = {
    "failure": st.sampled_from([b"", b"failure\xff"]),
    "failure_type": st.sampled_from(["OSError", "OSError", "ValueError", "Däclined", ""]),
    "is_non_retryable": rarely,
    "next_retry_delay_ms": st.none() | spans_ms,
    "default_retry_policy": st.none() | policies,
    "jitter": jitters,
}
leases = st.fixed_dictionaries(
    {
        "start_immediately": rarely,
        "max_bytes": st.sampled_from([None, None, None, None, 0, 2, 5]),
        "is_first_free": st.booleans(),
        "worker_id": workers,
    }
)
fates = st.fixed_dictionaries(
    {
        "is_started": st.booleans(),
        "is_revoked": rarely,
        "progress": progresses,
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


class TwinsMachine(RuleBasedStateMachine):
    """Asks both stores, and remembers what may be of use to later steps."""

    redis_url: ClassVar[str]
    partitions: ClassVar[int]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.directory = tempfile.TemporaryDirectory(prefix="twins-", dir=IN_MEMORY if IN_MEMORY.is_dir() else None)
        self.queues = queues_of(self.partitions)
        self.tokens: list[list[tuple[str, bytes]]] = [[] for _ in range(self.partitions)]
        self.next_nonce = 1
        self.latest: deque[tuple[int, Call]] = deque(maxlen=LATEST_CALLS)
        self.is_alike = True
        self.twins = self.runner.run(Twins.open(Path(self.directory.name), self.redis_url, self.queues))

    def teardown(self) -> None:
        try:
            if self.is_alike:
                self.runner.run(self.twins.audit())
        finally:
            self.runner.run(self.twins.close())
            self.runner.close()
            self.directory.cleanup()

    def ask(self, partition: int, call: Call) -> Any:
        self.latest.append((partition, call))
        self.is_alike = False
        answer: Any = self.runner.run(self.twins.ask(partition, call))
        self.is_alike = True
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

    def submissions_of(
        self, partition: int, numbers: list[int], fields: dict[str, Any], times: dict[str, int | None]
    ) -> list[Submission]:
        """Make submissions; of two ways to say the same time one is kept, as the interface has it."""
        timed, points = times["timed"] or 0, points_in_time(times, self.twins.now_ms)
        ids = list(self.queues[partition].items())
        fields = dict(fields)
        sign = b"other" if fields.pop("is_other_request") else b"x"
        return [
            a_submission(
                ids[number][0],
                queue=ids[number][1],
                payload=sign * number,
                **fields | (points if timed & 1 << number % 2 else {}),
            )
            for number in numbers
        ]


def points_in_time(times: dict[str, int | None], now_ms: int) -> dict[str, int | None]:
    schedule, start_deadline = times["schedule"], times["start_deadline"]
    return {
        "start_delay_ms": times["start_delay"] if schedule is None else 0,
        "schedule_ms": None if schedule is None else now_ms + schedule,
        "start_deadline_ms": None if start_deadline is None else now_ms + start_deadline,
        "start_within_ms": None if start_deadline is not None else times["start_within"],
        "total_timeout_ms": times["total"],
        "execution_timeout_ms": times["execution"],
    }

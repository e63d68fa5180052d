"""Whatever may be done to tasks, in an order that a seed decides."""

import random

from tailrace.server.domain.task import Submission
from tailrace.server.store.values import Delivery
from tests.store.builders import a_failure, a_policy, a_submission, a_success
from tests.store.steps import Steps

QUEUES = ("default", "slow")
STEPS_OF_A_LIFE = 250


class RandomLife:
    """A partition's life: 250 moves."""

    def __init__(self, steps: Steps, seed: int) -> None:
        self.steps = steps
        self.random = random.Random(seed)
        self.held: list[Delivery] = []

    async def live(self) -> None:
        moves = [
            *(self.submit,) * 4, *(self.lease,) * 4, *(self.beat,) * 2, *(self.end,) * 3, self.release, self.revoke,
            self.delete, self.pause, self.purge, self.pass_time, self.look_after_deadlines,
        ]  # fmt: skip
        for _ in range(STEPS_OF_A_LIFE):
            await self.random.choice(moves)()

    async def submit(self) -> None:
        await self.steps.submit(*(self._a_submission() for _ in range(3)), max_queue_depth=12)

    def _a_submission(self) -> Submission:
        number = self.random.randrange(40)
        return a_submission(
            f"task-{number}",
            queue=QUEUES[number % 2],
            priority=number % 3,
            start_delay_ms=self.random.choice([0, 0, 0, 700]),
            result_ttl_ms=self.random.choice([0, 1, 5_000, 10**7]),
            lease_ms=self.random.choice([2_000, 30_000]),
            retry_policy=self.random.choice([None, a_policy(3)]),
            start_within_ms=self.random.choice([None, None, 1_000]),
            total_timeout_ms=self.random.choice([None, None, 20_000]),
            execution_timeout_ms=self.random.choice([None, 1_000]),
        )

    async def lease(self) -> None:
        leased = await self.steps.lease(
            *QUEUES, count=2, start_immediately=self.random.random() < 0.3, max_bytes=self.random.choice([None, 10])
        )
        self.held += leased.deliveries

    def _one_held(self) -> Delivery | None:
        return self.random.choice(self.held[-8:]) if self.held else None

    async def beat(self) -> None:
        if delivery := self._one_held():
            progress = self.random.choice([None, b"half"])
            await self.steps.beat(delivery, is_waiting=self.random.random() < 0.2, worker_id="one", progress=progress)

    async def end(self) -> None:
        if delivery := self._one_held():
            token = delivery.lease_token
            succeeds = self.random.random() < 0.5
            await self.steps.end(
                a_success(delivery.task_id, token)
                if succeeds
                else a_failure(delivery.task_id, token, next_retry_delay_ms=self.random.choice([None, 0, 900]))
            )

    async def release(self) -> None:
        if delivery := self._one_held():
            await self.steps.release(delivery, delay_ms=self.random.choice([0, 0, 500]))

    async def revoke(self) -> None:
        await self.steps.revoke(f"task-{self.random.randrange(40)}", is_forced=self.random.random() < 0.3)

    async def delete(self) -> None:
        await self.steps.delete(*(f"task-{self.random.randrange(40)}" for _ in range(3)))

    async def pause(self) -> None:
        await self.steps.pause(self.random.choice(QUEUES), is_paused=self.random.random() < 0.3)

    async def purge(self) -> None:
        await self.steps.purge(self.random.choice(QUEUES), limit=self.random.choice([1, 3]))

    async def pass_time(self) -> None:
        await self.steps.pass_time(self.random.choice([10, 700, 5_000, 12_000]))
        await self.steps.promote(limit=5)
        await self.steps.expire(limit=5)

    async def look_after_deadlines(self) -> None:
        await self.steps.end_overdue(jitters=[0, 30_000])

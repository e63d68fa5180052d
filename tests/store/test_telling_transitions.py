"""What stores tell of each call to those who count."""

import pytest

from tailrace.server.domain.task import TaskState
from tailrace.server.domain.transition import Began, Ended, Transitions
from tests.store.builders import a_failure, a_policy, a_submission, a_success
from tests.store.steps import Steps


class Told:
    """What one store told, call by call."""

    def __init__(self, steps: Steps) -> None:
        self.calls: list[Transitions] = []
        steps.store.observe(self.calls.append)

    @property
    def began(self) -> list[Began]:
        return [began for call in self.calls for began in call.began]

    @property
    def ended(self) -> list[Ended]:
        return [ended for call in self.calls for ended in call.ended]


@pytest.fixture
def told(steps: Steps) -> Told:
    return Told(steps)


async def test_an_attempt_has_waited_since_its_task_was_accepted(steps: Steps, told: Told) -> None:
    await steps.submit_one()
    await steps.harness.advance(700)

    await steps.start()

    assert told.began == [Began("default", 700)]


async def test_an_attempt_of_a_task_that_was_delayed_has_waited_since_it_was_due(steps: Steps, told: Told) -> None:
    await steps.submit(a_submission(start_delay_ms=500))
    await steps.harness.advance(600)
    await steps.promote()
    await steps.harness.advance(200)

    await steps.start()

    assert told.began == [Began("default", 300)]


async def test_an_attempt_after_a_backoff_has_waited_since_that_was_over(steps: Steps, told: Told) -> None:
    first = await steps.submit_and_start(a_submission(retry_policy=a_policy(max_attempts=2)))
    await steps.harness.advance(50)
    await steps.end(a_failure(first.task_id, first.lease_token))
    rest_ms = (await steps.promote()).next_due_ms
    assert rest_ms is not None
    await steps.harness.advance(rest_ms + 20)
    await steps.promote()

    await steps.start()

    assert told.began == [Began("default", 0), Began("default", 20)]
    assert [(ended.state, ended.run_ms) for ended in told.ended] == [(TaskState.RETRY, 50)]


async def test_an_attempt_after_a_lost_lease_has_waited_since_the_task_went_back(steps: Steps, told: Told) -> None:
    first = await steps.submit_and_start()
    await steps.pass_time(first.lease_ms)
    await steps.harness.advance(30)

    await steps.start()

    assert told.began[1:] == [Began("default", 30)]


async def test_a_success_tells_how_long_the_attempt_ran(steps: Steps, told: Told) -> None:
    delivery = await steps.submit_and_start()
    await steps.harness.advance(40)

    await steps.end(a_success(delivery.task_id, delivery.lease_token))
    await steps.end(a_success(delivery.task_id, delivery.lease_token))

    assert [(ended.queue, ended.state, ended.run_ms, ended.failure_kind) for ended in told.ended] == [
        ("default", TaskState.SUCCESS, 40, None)
    ]


async def test_what_a_purge_ends_had_not_run(steps: Steps, told: Told) -> None:
    await steps.submit(a_submission("a"), a_submission("b"))

    await steps.purge()

    assert [(ended.state, ended.run_ms) for ended in told.ended] == [(TaskState.REVOKED, None)] * 2
    assert told.began == []

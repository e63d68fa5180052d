"""What a handle to a task keeps of what it hears."""

import grpc
import pytest

from tailrace.client import AsyncClient, AsyncResult, Client, TaskNotFoundError
from tailrace.client._outcome import Outcome
from tests.unit.client.scripted_server import advanced, fail, scripted_server, success

WITHIN_S = 20.0


class ForgottenMeanwhile(AsyncResult):
    """A result that another thread forgets the moment its end is known."""

    def _remember(self, outcome: Outcome) -> None:
        super()._remember(outcome)
        self.forget()


async def test_an_old_answer_that_comes_late_does_not_undo_the_end() -> None:
    async with AsyncClient("127.0.0.1:1") as client:
        result = client.result("t1")
        result._remember(Outcome(success("t1")))

        result._remember(Outcome(advanced("t1", 1)))

    assert (result.state, result.progress, result.result) == ("SUCCESS", None, 30)


def test_a_wait_ends_with_the_value_though_another_thread_forgets_the_task() -> None:
    with scripted_server() as server, Client(server.address) as client:
        result = ForgottenMeanwhile("t1", client._calls, client._conversion)

        assert result.get(WITHIN_S) == 30
        assert [request.task_id for request in server.deletes] == ["t1"]


def test_a_forgotten_task_is_asked_about_again() -> None:
    with scripted_server() as server, Client(server.address) as client:
        result = client.result("t1")
        assert result.get(WITHIN_S) == 30
        result.forget()
        server.call_scripts = [fail(grpc.StatusCode.NOT_FOUND, tailrace_reason="TASK_NOT_FOUND")]

        with pytest.raises(TaskNotFoundError):
            _ = result.state

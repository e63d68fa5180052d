"""What a worker owes to tasks that fork, and to those that are declared too late for its child processes."""

import signal
from collections.abc import Iterator

import pytest

from tailrace.client import Client, RetryPolicy, TaskFailedError
from tailrace.testing import run_server
from tests.faults.processes import Processes

PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    directory = tmp_path_factory.mktemp("forks")
    processes = Processes(directory)
    with run_server() as server, Client(server.address) as client:
        try:
            arguments = ("-m", "tailrace.worker", "tests.integration.fork_tasks:worker", "--address", server.address)
            processes.python("worker", *arguments).wait_for_line("server_connected")
            yield client
        finally:
            processes.close()


@pytest.mark.parametrize("task_type", ["in_process", "in_thread"])
def test_process_that_a_task_has_forked_can_be_terminated(client: Client, task_type: str) -> None:
    assert client.submit(task_type).get(timeout=PATIENCE_S) == -signal.SIGTERM


def test_task_declared_too_late_for_the_children_is_unknown_to_the_worker(client: Client) -> None:
    client.submit("declare").get(timeout=PATIENCE_S)
    once = client.options(retry=RetryPolicy(max_attempts=1))
    with pytest.raises(TaskFailedError) as failed:
        once.submit("late").get(timeout=PATIENCE_S)
    assert failed.value.remote_type == "UnknownTaskType"
    assert client.submit("in_process").get(timeout=PATIENCE_S) == -signal.SIGTERM

"""A program that waits for a task: ``python -m tests.faults.waiting_client ADDRESS TASK_ID``."""

import sys

from tailrace.client import Client

WAIT_S = 60.0

if __name__ == "__main__":
    with Client(sys.argv[1]) as client:
        client.result(sys.argv[2]).get(timeout=WAIT_S)

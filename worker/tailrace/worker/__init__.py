"""The worker SDK: declare tasks, and run them for whoever submits them.

Modules whose names begin with an underscore are no part of the API.
"""

from tailrace.client import PayloadCodec, Progress, RetryPolicy
from tailrace.worker._context import CurrentTask, current_task
from tailrace.worker._logging import TaskIdFilter, log_task_ids
from tailrace.worker._process_executor import ProcessStartError
from tailrace.worker._retry_later import RetryLater
from tailrace.worker._task import Task
from tailrace.worker._task_interrupt import TaskInterrupt
from tailrace.worker._worker import Worker

__all__ = [
    "CurrentTask",
    "PayloadCodec",
    "ProcessStartError",
    "Progress",
    "RetryLater",
    "RetryPolicy",
    "Task",
    "TaskIdFilter",
    "TaskInterrupt",
    "Worker",
    "current_task",
    "log_task_ids",
]

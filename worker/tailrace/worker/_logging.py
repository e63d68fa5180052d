"""Which task a log record was made for."""

import logging

from tailrace.worker._context import current_task

NO_TASK = "-"


class TaskIdFilter(logging.Filter):
    """Gives every record ``task_id``: the id of the task whose code made it, ``-`` for one made outside a task.

    A format can then name ``%(task_id)s``. A record that has a ``task_id`` keeps it. Lets every record pass. Belongs
    on handlers: a filter on a logger does not see what comes from the loggers beneath it.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Mark the record, and return True."""
        if not hasattr(record, "task_id"):
            record.task_id = _current_task_id()
        return True


def log_task_ids(*handlers: logging.Handler) -> None:
    """Have the records of these handlers carry ``task_id``, see TaskIdFilter. Again: no effect.

    Args:
        handlers: None given: those that the root logger has now.
    """
    for handler in handlers or tuple(logging.getLogger().handlers):
        if not any(isinstance(known, TaskIdFilter) for known in handler.filters):
            handler.addFilter(TaskIdFilter())


def _current_task_id() -> str:
    try:
        return current_task().id
    except RuntimeError:
        return NO_TASK


# The SDK's own records carry it whatever the program does with its handlers.
logging.getLogger("tailrace.worker").addFilter(TaskIdFilter())

"""Log records on their way from a child process to the handlers of its worker."""

import json
import logging
import os
import traceback
from collections.abc import Callable, Mapping
from logging.handlers import QueueHandler
from typing import Any

from tailrace.worker._logging import TaskIdFilter

_SIMPLE = (str, int, float, bool, type(None))


class ForwardingHandler(QueueHandler):
    """Hands records on instead of writing them, with the id of the task that made them."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        super().__init__(queue=None)  # type: ignore[arg-type]
        self._send = send
        self.addFilter(TaskIdFilter())

    def enqueue(self, record: logging.LogRecord) -> None:
        """Send a record that ``prepare`` has turned into text."""
        # What a program adds to its records is kept where it is simple, as no handler elsewhere could use the rest.
        fields = {name: value for name, value in vars(record).items() if isinstance(value, _SIMPLE)}
        self._send(json.dumps(fields, ensure_ascii=False).encode(errors="backslashreplace"))


def handle_forwarded(body: bytes) -> None:
    """Give a record that a child sent to the handlers that would have it, were it made here."""
    fields: dict[str, Any] = json.loads(body)
    record = logging.makeLogRecord(fields)
    record.args = ()
    logger = logging.getLogger(record.name)
    try:
        if logger.isEnabledFor(record.levelno):
            logger.handle(record)
    except Exception:  # noqa: BLE001 (a filter of the program's own; to log that would be to ask it again)
        traceback.print_exc()


def logging_levels() -> dict[str, int]:
    """List the levels that this program has set; the root logger's name is empty."""
    named = logging.root.manager.loggerDict
    levels = {name: logger.level for name, logger in named.items() if isinstance(logger, logging.Logger)}
    return {"": logging.root.level} | {name: level for name, level in levels.items() if level != logging.NOTSET}


def forward_records(levels: Mapping[str, int], send: Callable[[bytes], None]) -> None:
    """Have all records of this process sent, made from these levels up.

    To be called before the program's own modules are imported: where they call ``logging.basicConfig`` it does nothing,
    as in the worker itself; where they replace the root logger's handlers, theirs it is.
    """
    handler = ForwardingHandler(send)
    logging.root.addHandler(handler)
    os.register_at_fork(after_in_child=lambda: _write_instead(handler))
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def _write_instead(handler: logging.Handler) -> None:
    """Have records of a process that a task has forked written to stderr: nobody would hear them."""
    if handler in logging.root.handlers:
        logging.root.removeHandler(handler)
        writer = logging.StreamHandler()
        writer.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logging.root.addHandler(writer)

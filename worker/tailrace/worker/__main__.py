"""Runs a worker from the command line: ``python -m tailrace.worker MODULE:NAME``."""

import argparse
import logging
import sys
from collections.abc import Sequence
from datetime import timedelta

from tailrace.client import TailraceError
from tailrace.worker._hooks import hook_behind
from tailrace.worker._loading import LoadError, load_worker
from tailrace.worker._logging import NO_TASK, log_task_ids
from tailrace.worker._process_executor import ProcessStartError
from tailrace.worker._reload import SourceWatch, bury_left_behind, files_behind, start_anew
from tailrace.worker._worker import Worker

logger = logging.getLogger("tailrace.worker")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the worker that the arguments name, until a signal ends it.

    Returns:
        0 after draining, 1 when the server refused the worker or it could not begin, 2 when there is no such worker. A
        second signal raises SystemExit(128 + its number) instead.
    """
    options = _parser().parse_args(argv)
    _log_to_stderr()
    try:
        return _run_reloading(options) if options.autoreload else _run(load_worker(options.worker), options)
    except Exception as error:
        code = _exit_code_of(error)
        if code is None:
            raise
        return code


def _run(worker: Worker, options: argparse.Namespace, watch: SourceWatch | None = None) -> int:
    signal_number = worker.run(
        options.address,
        queues=options.queue,
        concurrency=options.concurrency,
        threads=options.threads,
        processes=options.processes,
        max_tasks_per_child=options.max_tasks_per_child,
        grace_period=options.grace,
    )
    if watch is not None and watch.changed and signal_number is None:
        logger.info("source_changed: %s", watch.changed)
        start_anew()
    return 0


def _run_reloading(options: argparse.Namespace) -> int:
    """Run the worker; whenever its source changes, drain and start anew.

    What cannot be imported is waited for, and so is a worker whose hooks or child processes fail at the start.

    Raises:
        LoadError: The place names no worker, whatever the source.
    """
    bury_left_behind()
    module, _, name = options.worker.partition(":")
    try:
        worker = load_worker(options.worker)
    except LoadError as error:
        if not module or not name:
            raise
        with SourceWatch(also=files_behind(error, module)) as watch:
            _complain(f"{error}; waiting for its source to change", 2)
            watch.wait()
        start_anew()
    with SourceWatch(worker.stop) as watch:
        try:
            return _run(worker, options, watch)
        except Exception as error:
            if not (hook_behind(error) or isinstance(error, ProcessStartError)):
                raise
            _exit_code_of(error)
            _complain("waiting for its source to change", 1)
            watch.wait()
    return start_anew()


def _exit_code_of(error: Exception) -> int | None:
    """Say in one line what keeps the worker from running; None: nobody foresaw that."""
    if hook := hook_behind(error):
        return _complain(f"{hook} failed: {type(error).__name__}: {error}", 1)
    if isinstance(error, LoadError | ValueError):
        return _complain(error, 2)
    if isinstance(error, ProcessStartError):
        return _complain(error, 1)
    if isinstance(error, TailraceError):
        return _complain(f"the server refuses this worker: {error}", 1)
    return None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tailrace.worker",
        description="Run tasks for a Tailrace server.",
        epilog="What is not given is as the Worker was made, or else as TAILRACE_WORKER_CONCURRENCY and the like say.",
    )
    parser.add_argument("worker", metavar="MODULE:NAME", help="where the Worker is, for example tasks:worker")
    parser.add_argument("--address", metavar="HOST:PORT", help="the server; TAILRACE_ADDRESS, then localhost:7440")
    parser.add_argument("--queue", metavar="Q", action="append", help="a queue to draw from; may be given again")
    parser.add_argument("--concurrency", metavar="N", type=int, help="tasks at a time, in all")
    parser.add_argument("--threads", metavar="N", type=int, help="those of them in threads")
    parser.add_argument("--processes", metavar="N", type=int, help="those of them in child processes")
    parser.add_argument(
        "--max-tasks-per-child", metavar="N", type=int, help="replace a child process after so many tasks"
    )
    parser.add_argument(
        "--grace", metavar="SECONDS", type=_seconds, help="how long running tasks may take when it is told to stop"
    )
    parser.add_argument("--autoreload", action="store_true", help="start anew when its source changes; to develop with")
    return parser


def _seconds(text: str) -> timedelta:
    return timedelta(seconds=float(text))


def _complain(problem: object, exit_code: int) -> int:
    sys.stderr.write(f"tailrace.worker: {problem}\n")
    return exit_code


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    log_task_ids(handler)
    handler.addFilter(_name_task)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s%(task)s: %(message)s", handlers=[handler]
    )


def _name_task(record: logging.LogRecord) -> bool:
    task_id = getattr(record, "task_id", NO_TASK)
    record.task = "" if task_id == NO_TASK else f" [{task_id}]"
    return True


if __name__ == "__main__":
    sys.exit(main())

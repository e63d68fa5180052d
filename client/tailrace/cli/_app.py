"""The commands under one roof, and the one place where errors become a line and an exit code."""

import importlib.metadata
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from tailrace.cli._complaint import complain_of
from tailrace.cli._completion import completion
from tailrace.cli._delete import delete
from tailrace.cli._exit_code import EPILOG, ExitCode
from tailrace.cli._queues import queues
from tailrace.cli._result import result
from tailrace.cli._retry import retry
from tailrace.cli._revoke import revoke
from tailrace.cli._server import server
from tailrace.cli._show import show
from tailrace.cli._submit import submit
from tailrace.cli._tasks import tasks
from tailrace.cli._top import top
from tailrace.cli._wait import wait
from tailrace.cli._worker import worker
from tailrace.cli._workers import workers
from tailrace.client import TailraceError


class _App(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # click would end with 1, which says that a task failed.
            _discard_output()
            return ExitCode.NOT_READ


@click.group(
    cls=_App, epilog=EPILOG, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(importlib.metadata.version("tailrace"), prog_name="tailrace")
@click.pass_context
def app(context: click.Context) -> None:
    """Run Tailrace's server and workers, submit tasks, have their results, and look after what runs.

    Commands that talk to a server find it by --address, then TAILRACE_ADDRESS, then localhost:7440.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(ExitCode.USAGE)


_COMMANDS: tuple[click.Command, ...] = (
    completion,
    delete,
    queues,
    result,
    retry,
    revoke,
    server,
    show,
    submit,
    tasks,
    top,
    wait,
    worker,
    workers,
)
for command in _COMMANDS:
    app.add_command(command)


def run(argv: Sequence[str]) -> int:
    """Run one command; tell of whatever goes wrong in one line on stderr.

    Returns:
        The exit code.
    """
    if (foreign := _foreign_bytes(argv)) is not None:
        click.echo(f"tailrace: the argument {foreign} is not text in UTF-8", err=True)
        return ExitCode.USAGE
    try:
        return int(app.main(list(argv), prog_name="tailrace", standalone_mode=False) or ExitCode.OK)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "tailrace"
        click.echo(f"{path}: {error.format_message()} (see {path} --help)", err=True)
        return ExitCode.USAGE
    except click.ClickException as error:
        click.echo(f"tailrace: {error.format_message()}", err=True)
        return ExitCode.USAGE
    except (click.Abort, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    except TailraceError as error:
        return complain_of(error)


def _discard_output() -> None:
    """Let what is still buffered go nowhere when the interpreter ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _foreign_bytes(argv: Sequence[str]) -> str | None:
    """Return the first argument that is not UTF-8, which is all that the contract carries, so that it can be shown."""
    if argv and argv[0] in {server.name, worker.name}:
        # Theirs may be paths, which can be any bytes.
        return None
    for argument in argv:
        if any("\udc80" <= character <= "\udcff" for character in argument):
            return argument.encode(errors="backslashreplace").decode()
    return None

"""Errors as one line that says what is wrong and what to do, and as an exit code."""

import re

import click

from tailrace.cli._exit_code import ExitCode
from tailrace.client import (
    InvalidRequestError,
    LimitExceededError,
    PayloadError,
    QueueFullError,
    ServerUnavailableError,
    StoreEmptiedError,
    StoreFullError,
    TailraceError,
    TaskIdConflictError,
    TaskNotFoundError,
    TaskNotResubmittableError,
    TaskNotTerminalError,
    WaitTimeoutError,
    WorkerNotFoundError,
)

_NOT_REACHED = "is a server running there? --address or TAILRACE_ADDRESS names it"

# What gRPC says where there is nobody to talk to, and what of that helps.
_PLAINER = [
    (
        re.compile(r"failed to connect to all addresses; last error: (?:\w+: )?(?:ipv[46]:)?(\S+): (?:.*: )?(.*)"),
        r"\1: \2",
    ),
    (re.compile(r"DNS resolution failed for (\S+):.*"), r"no host is known by the name of \1"),
]

# The first class that fits decides.
_KINDS: list[tuple[type[TailraceError], ExitCode, str]] = [
    (WaitTimeoutError, ExitCode.NO_ANSWER, "the task goes on; tailrace show tells what it waits for"),
    (ServerUnavailableError, ExitCode.NO_ANSWER, _NOT_REACHED),
    (TaskNotFoundError, ExitCode.NOT_FOUND, "it was never submitted here, or its record expired"),
    (WorkerNotFoundError, ExitCode.NOT_FOUND, "those that are, this lists: tailrace workers"),
    # These two say themselves what to do.
    (TaskNotTerminalError, ExitCode.REFUSED, ""),
    (TaskNotResubmittableError, ExitCode.REFUSED, ""),
    (TaskIdConflictError, ExitCode.REFUSED, "choose another --task-id"),
    (QueueFullError, ExitCode.REFUSED, "try again later"),
    (StoreFullError, ExitCode.REFUSED, "try again later"),
    (StoreEmptiedError, ExitCode.REFUSED, ""),
    (LimitExceededError, ExitCode.USAGE, "send less"),
    (InvalidRequestError, ExitCode.USAGE, ""),
    (PayloadError, ExitCode.REFUSED, ""),
]


def complain_of(error: TailraceError) -> ExitCode:
    """Write the line to stderr and return the exit code."""
    exit_code, advice = ExitCode.REFUSED, "see the server's log"
    for error_class, code, what_to_do in _KINDS:
        if isinstance(error, error_class):
            exit_code, advice = code, what_to_do
            break
    if isinstance(error, WaitTimeoutError) and isinstance(error.__cause__, ServerUnavailableError):
        advice = f"{plain_text(error.__cause__)}: {_NOT_REACHED}"
    message = plain_text(error)
    click.echo(f"tailrace: {message}; {advice}" if advice else f"tailrace: {message}", err=True)
    return exit_code


def plain_text(error: BaseException) -> str:
    """Return an error's message in one line, without what only gRPC's developers can read."""
    text = " ".join(str(error).split())
    for wordy, plainer in _PLAINER:
        if (match := wordy.fullmatch(text)) is not None:
            return match.expand(plainer)
    return text

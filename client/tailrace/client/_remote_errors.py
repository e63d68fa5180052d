"""Failures as exceptions: what a worker reported becomes what ``get`` raises.

A class is looked up in a fixed table of builtins or among those the program registered. No name from the wire is ever
imported, and nothing that is not an Exception (SystemExit, KeyboardInterrupt) can come back.
"""

import builtins
import logging
from collections.abc import Callable
from typing import Final

from tailrace.client._errors import TailraceError, TaskFailedError, TaskRevokedError
from tailrace.client._retry_policy import type_name
from tailrace.v1.task_pb2 import FAILURE_KIND_APPLICATION, FAILURE_KIND_REVOKED, Failure, FailureKind

logger = logging.getLogger("tailrace.client")

# Builtins that one text makes complete. Not here: StopIteration and its like, which mean something to the code that
# raises them; UnicodeDecodeError and exception groups, which need more than a text; warnings.
_BUILTIN_NAMES: Final = """
    ArithmeticError AssertionError AttributeError BlockingIOError BrokenPipeError BufferError ChildProcessError
    ConnectionAbortedError ConnectionError ConnectionRefusedError ConnectionResetError EOFError Exception
    FileExistsError FileNotFoundError FloatingPointError ImportError IndentationError IndexError InterruptedError
    IsADirectoryError KeyError LookupError MemoryError ModuleNotFoundError NameError NotADirectoryError
    NotImplementedError OSError OverflowError PermissionError ProcessLookupError RecursionError ReferenceError
    RuntimeError SyntaxError SystemError TabError TimeoutError TypeError UnboundLocalError UnicodeError ValueError
    ZeroDivisionError
"""

Maker = Callable[[str], Exception]

BUILTIN_ERRORS: dict[str, type[Exception]] = {name: getattr(builtins, name) for name in _BUILTIN_NAMES.split()}

_KIND_PREFIX = "FAILURE_KIND_"


class RemoteErrors:
    """The exception classes that one client raises as themselves."""

    def __init__(self) -> None:
        self._makers: dict[str, Maker] = {**BUILTIN_ERRORS, "KeyError": _key_error}

    def register(self, error_class: type[Exception], *, name: str | None = None) -> None:
        """Let failures of a type come back as a class.

        Args:
            error_class: Made from the failure's message alone.
            name: The type's name on the wire; None: the name under which a Python worker sends this class.

        Raises:
            TypeError: Not a subclass of Exception, or it cannot be made from one text.
        """
        if not issubclass(error_class, Exception):
            raise TypeError(f"only subclasses of Exception can be registered, not {error_class!r}")
        try:
            error_class("a message")
        except TypeError as error:
            raise TypeError(f"{type_name(error_class)} cannot be made from a message alone: {error}") from error
        self._makers[name or type_name(error_class)] = error_class

    def failed(self, failure: Failure, task_id: str) -> Exception:
        """Return what a task that ended in FAILURE raises; a TaskFailedError is it, or is its cause."""
        remote = _task_failed(failure, task_id)
        # Another kind means that the task's own code raised nothing.
        maker = self._makers.get(failure.type) if failure.kind == FAILURE_KIND_APPLICATION else None
        if maker is None:
            return remote
        try:
            error = maker(failure.message)
        except Exception:
            # A registered constructor may raise anything, and the task's failure must be told all the same.
            logger.warning("registered_exception_unusable type=%s", failure.type, exc_info=True)
            return remote
        error.__cause__ = remote
        return error


def revoked(failure: Failure, task_id: str) -> TailraceError:
    """Return what a task that ended in REVOKED raises; caused by the failure of its last attempt, if there was one."""
    kind = kind_name(failure)
    error = TaskRevokedError(failure.message or f"task {task_id} was revoked", kind=kind, task_id=task_id)
    if failure.type and failure.kind != FAILURE_KIND_REVOKED:
        error.__cause__ = _task_failed(failure, task_id)
    return error


def kind_name(failure: Failure) -> str:
    """Return a failure's kind as a word; a number when it is newer than this program."""
    try:
        return FailureKind.Name(failure.kind).removeprefix(_KIND_PREFIX)
    except ValueError:
        return str(failure.kind)


def _task_failed(failure: Failure, task_id: str) -> TaskFailedError:
    error = TaskFailedError(
        failure.message,
        remote_type=failure.type,
        traceback=failure.traceback or None,
        kind=kind_name(failure),
        task_id=task_id,
    )
    if failure.traceback:
        # Shown wherever Python prints the exception, and not part of str().
        error.add_note(f"\nIn the worker:\n{failure.traceback.rstrip()}")
    if failure.HasField("cause"):
        error.__cause__ = _task_failed(failure.cause, task_id)
    return error


class _Verbatim(str):
    """Text that KeyError shows as it is, having been through repr once already."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _key_error(message: str) -> KeyError:
    """Make the KeyError whose str() is the message: str(KeyError("a")) is "'a'", with the quotes."""
    key = message[1:-1]
    return KeyError(key if repr(key) == message else _Verbatim(message))

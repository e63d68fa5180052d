"""One thread that owns the database, and group commit: what has gathered while it was busy shares one transaction."""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import structlog

from tailrace.server.domain.errors import StoreUnavailableError
from tailrace.server.domain.transition import Observer, Transitions
from tailrace.server.store.changes import Change
from tailrace.server.store.sqlite.database import Database
from tailrace.server.store.sqlite.faults import as_unavailable

Answer = TypeVar("Answer")

MAX_GROUP: Final = 64
MAX_WAITING: Final = 1_000
CLOSE_DEADLINE_S: Final = 10.0

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Done(Generic[Answer]):
    """What one piece of work came to, told once it is committed."""

    answer: Answer
    changes: Sequence[Change] = ()
    transitions: Transitions | None = None


Work = Callable[[sqlite3.Connection], Done[Answer]]


class _Operation:
    """One piece of work on its way through the thread."""

    __slots__ = ("answer", "done", "doubts", "error", "work")

    def __init__(self, work: Work[Any], doubts: Sequence[Change], answer: asyncio.Future[Any]) -> None:
        self.work = work
        self.doubts = doubts
        self.answer = answer
        self.done: Done[Any] | None = None
        self.error: BaseException | None = None


class Writer:
    """Runs work on the database, in the order in which it came.

    Nothing is answered before it is committed. Work whose caller was cancelled is done, and its changes are told, all
    the same. Work that raises is undone and spoils nothing else of its group.
    """

    def __init__(self, open_database: Callable[[], Database], *, tell: Callable[[Change], None]) -> None:
        self._open_database = open_database
        self._tell = tell
        self.observe: Observer | None = None
        """Called on the event loop with the transitions of each piece of work that was committed."""
        self._posted: queue.SimpleQueue[_Operation | None] = queue.SimpleQueue()
        self._waiting = 0
        self._is_open = False
        self._is_closing = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Future[None] | None = None

    async def open(self) -> None:
        """Start the thread and have it open the database. Called once.

        Raises:
            StoreUnavailableError: The database cannot be used.
        """
        self._loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = self._loop.create_future()
        self._ended = self._loop.create_future()
        threading.Thread(target=self._run, args=(opened,), name="tailrace-sqlite", daemon=True).start()
        await opened
        self._is_open = True

    async def run(self, work: Work[Answer], *, doubts: Sequence[Change] = ()) -> Answer:
        """Do a piece of work in a transaction; ``doubts`` are the changes told when its outcome is unknown.

        Raises:
            StoreUnavailableError: The database failed, too much waits for it already, or it is closed.
        """
        if self._loop is None or not self._is_open or self._is_closing:
            raise StoreUnavailableError("the store is not open")
        if self._waiting >= MAX_WAITING:
            raise StoreUnavailableError("the store is too busy; try again later")
        operation = _Operation(work, doubts, self._loop.create_future())
        self._waiting += 1
        self._posted.put(operation)
        answer: Answer = await operation.answer
        return answer

    async def close(self) -> None:
        """Finish what was asked for, then let go of the database. A second call does nothing more.

        A disk that does not answer is not waited for: what was asked for last may or may not be done then.
        """
        if self._ended is None:
            return
        if not self._is_closing:
            self._is_closing = True
            self._posted.put(None)
        try:
            async with asyncio.timeout(CLOSE_DEADLINE_S):
                await asyncio.shield(self._ended)
        except TimeoutError:
            logger.warning("store_not_closed_in_time", deadline_s=CLOSE_DEADLINE_S)

    def _run(self, opened: "asyncio.Future[None]") -> None:
        try:
            database = self._open_database()
        except BaseException as error:  # noqa: BLE001 - raised by open()
            self._call(_refuse, opened, as_unavailable(error))
            self._call(_settle, self._ended)
            return
        try:
            self._call(_settle, opened)
            while group := self._take_group():
                _commit(database.connection, group)
                self._call(self._resolve, group)
        finally:
            database.close()
            self._call(_settle, self._ended)

    def _take_group(self) -> list[_Operation]:
        """Wait for work, then take all that is there; empty when the store is to be closed."""
        group: list[_Operation] = []
        operation = self._posted.get()
        while operation is not None:
            group.append(operation)
            if len(group) >= MAX_GROUP or self._posted.empty():
                return group
            operation = self._posted.get()
        if group:
            self._posted.put(None)  # nothing is posted after it, so it still comes last
        return group

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        try:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            # The loop is closed: nobody is left to be told.
            logger.debug("store_outlived_its_loop")

    def _resolve(self, group: list[_Operation]) -> None:
        self._waiting -= len(group)
        for operation in group:
            self._answer(operation)

    def _answer(self, operation: _Operation) -> None:
        for change in operation.doubts if operation.done is None else operation.done.changes:
            self._tell(change)
        if operation.done is not None and operation.done.transitions is not None and self.observe is not None:
            self.observe(operation.done.transitions)
        if operation.answer.done():
            return
        if operation.done is not None:
            operation.answer.set_result(operation.done.answer)
        elif operation.error is not None:
            operation.answer.set_exception(as_unavailable(operation.error))


def _commit(connection: sqlite3.Connection, group: Sequence[_Operation]) -> None:
    """Do the work of a group in one transaction, and note what each came to."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        for operation in group:
            _do(connection, operation)
        connection.execute("COMMIT")
    except BaseException as error:
        logger.exception("store_commit_failed", operations=len(group))
        _roll_back(connection)
        for operation in group:
            operation.done = None
            operation.error = operation.error or error


def _do(connection: sqlite3.Connection, operation: _Operation) -> None:
    connection.execute("SAVEPOINT operation")
    try:
        operation.done = operation.work(connection)
    except BaseException as error:
        # After some errors SQLite has already rolled back all of the group.
        if not connection.in_transaction:
            raise
        connection.execute("ROLLBACK TO operation")
        operation.error = error
    connection.execute("RELEASE operation")


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        try:
            connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            logger.error("store_rollback_failed", error=repr(error))  # noqa: TRY400 - the first error tells the story


def _settle(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def _refuse(future: "asyncio.Future[None]", error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)

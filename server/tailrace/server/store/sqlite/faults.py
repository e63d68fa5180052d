"""What SQLite's errors mean to callers."""

import sqlite3
from typing import Final

from tailrace.server.domain.errors import StoreUnavailableError

_PRIMARY_CODE: Final = 0xFF
# Callers of the server read these: what to do, without paths or statements.
_ADVICE: Final = {
    sqlite3.SQLITE_FULL: "the server's disk is full; free some space",
    sqlite3.SQLITE_BUSY: "another program holds the server's database; close what else has it open",
    sqlite3.SQLITE_LOCKED: "another program holds the server's database; close what else has it open",
    sqlite3.SQLITE_CORRUPT: "the server's database is damaged; restore it from a backup, or move it away to start anew",
    sqlite3.SQLITE_NOTADB: "the server's database file holds something else; restore it from a backup, or move it away",
    sqlite3.SQLITE_IOERR: "the server's disk reports errors; look after it before anything else",
    sqlite3.SQLITE_READONLY: "the server may not write its database; mend the permissions of file and directory",
    sqlite3.SQLITE_PERM: "the server may not use its database; mend the permissions of file and directory",
    sqlite3.SQLITE_CANTOPEN: "the server's database cannot be opened; mend the permissions of file and directory",
    sqlite3.SQLITE_NOMEM: "the server has no memory left for its database",
    sqlite3.SQLITE_PROTOCOL: "the server's database cannot be locked; keep it on a local disk",
    sqlite3.SQLITE_NOLFS: "the server's disk does not take files this large",
}


def as_unavailable(error: BaseException) -> BaseException:
    """Give what callers are to see of an error: StoreUnavailableError for a fault of disk or file.

    All else is a mistake in this program and stays what it is.
    """
    code = getattr(error, "sqlite_errorcode", None)
    advice = None if code is None else _ADVICE.get(code & _PRIMARY_CODE)
    if advice is None:
        return error
    unavailable = StoreUnavailableError(advice)
    unavailable.__cause__ = error
    return unavailable


def is_full(error: StoreUnavailableError) -> bool:
    """Tell whether what the disk would not do was to take more: then nothing was done."""
    code: int | None = getattr(error.__cause__, "sqlite_errorcode", None)
    return code is not None and code & _PRIMARY_CODE == sqlite3.SQLITE_FULL

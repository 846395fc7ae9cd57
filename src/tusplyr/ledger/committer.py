"""The one writer of the database, and how callers share its commits.

Owns the writer connection, its thread and the order of commits. Must not know what the statements
say. Invariant: a caller is told of success only after the COMMIT that holds its whole unit, and of
failure only when nothing of the unit can be read. (After a sync that failed, a loss of power may still
bring the unit back, whole; the row is then ahead of the reply, never of the bytes.)

A durable commit costs far more than a statement, so all units that wait at that moment share one
transaction, each under a savepoint of its own. It is plain `sqlite3` in one thread rather than
aiosqlite, since that would take a hop to the thread for each statement, and this takes one for the
whole group. What waits is bounded by the callers: each waits for its own unit, and there are no
more of them than requests and a few jobs.
"""

import asyncio
import os
import sqlite3
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from msgspec import Struct

from tusplyr.core.errors import LedgerDown, NoSpace, Superseded, TusplyrError

MODE = 0o600  # ids of uploads are secrets, also where the directory is open to others
BUSY = 5.0  # seconds that SQLite waits for another process to end its transaction
_PRAGMAS = (
    "synchronous = FULL",  # NORMAL may lose the last commits with the power, and they were acknowledged
    "fullfsync = ON",  # macOS: a sync reaches the platter; without meaning elsewhere
    "checkpoint_fullfsync = ON",
    "foreign_keys = ON",
    "wal_autocheckpoint = 1000",  # pages of 4 KiB
    "temp_store = MEMORY",  # savepoints must not depend on room in /tmp
)
_TAKEN = (sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE)
_PASSING = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL)


def address(path: Path, mode: str = "rw") -> str:
    """Return SQLite's URI of a database. ``rw`` refuses a missing file, ``rwc`` makes one, ``ro`` cannot write."""
    return f"{path.absolute().as_uri()}?mode={mode}"


def connect(path: Path, mode: str = "rw") -> sqlite3.Connection:
    """Return a connection with the settings that the law needs; transactions are begun by hand. Blocking.

    Args:
        path: the database.
        mode: see `address`.

    Raises:
        sqlite3.Error: it cannot be opened.
    """
    if mode == "rwc":
        _make(path)
    connection = sqlite3.connect(
        address(path, mode), uri=True, timeout=BUSY, isolation_level=None, check_same_thread=False
    )
    try:
        _use_wal(connection)
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _make(path: Path) -> None:
    """Make the file for its owner alone: SQLite would ask the umask; of what it puts beside it, it asks this file."""
    with suppress(OSError):  # it is there; or SQLite will say why it cannot be
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, MODE))


def tighten(path: Path) -> None:
    """Let nobody but the owner at the files of a database, where there is one. Blocking.

    By name: to close a descriptor of a file would end the locks that SQLite has on it.

    Raises:
        OSError: they are another user's.
    """
    for file in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))):
        with suppress(FileNotFoundError):
            if stat.S_IMODE(file.stat().st_mode) & ~MODE:
                file.chmod(MODE)


def _use_wal(connection: sqlite3.Connection) -> None:
    """Turn on the write-ahead log; SQLite does not wait for others here, so two that make a database would collide."""
    patience = time.monotonic() + BUSY
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > patience:
                raise
            time.sleep(0.01)
        else:
            return


def require_writable(path: Path) -> None:
    """Return if a database can be changed right now; changes nothing. Blocking. Raises `LedgerDown` or `NoSpace`."""
    try:
        with closing(connect(path)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        raise down(error) from error


def down(error: sqlite3.Error) -> TusplyrError:
    """Return ours for what SQLite says, with its own as the cause."""
    ours = (
        NoSpace()
        if _code(error) == sqlite3.SQLITE_FULL
        else LedgerDown(f"the database did not do what it was asked: {error}")
    )
    ours.__cause__ = error
    return ours


class Step(Struct, frozen=True):
    """One statement of a unit.

    Attributes:
        sql: the text.
        values: its parameters by name.
        refused: makes what the caller gets when no row was touched; None when that is fine.
    """

    sql: str
    values: Mapping[str, Any]
    refused: Callable[[], TusplyrError] | None = None


class _Unit(Struct, frozen=True):
    steps: Sequence[Step]
    answer: asyncio.Future[int]


class Committer:
    """Runs units of several callers in shared transactions. Belongs to the event loop that opened it.

    Args:
        opener: opens the writer connection; called in the committer's thread, again after a
            failure that the connection may not survive.
    """

    def __init__(self, opener: Callable[[], sqlite3.Connection]) -> None:
        self._opener = opener
        self._connection: sqlite3.Connection | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")
        self._loop = asyncio.get_running_loop()
        self._waiting: list[_Unit] = []
        self._busy = False  # a group is in the thread, or about to go there
        self._closed = False

    async def open(self) -> None:
        """Open the connection now, so that a start fails early. Raises `LedgerDown`."""
        try:
            await self._loop.run_in_executor(self._thread, self._connected)
        except sqlite3.Error as error:
            self._thread.shutdown(wait=False)
            raise down(error) from error

    async def commit(self, *steps: Step) -> int:
        """Run the steps as one unit; return how many rows the first touched, once that is durable.

        A caller that is cancelled lets go of the answer alone: its unit may still be committed.

        Raises:
            Superseded: a row with that key is there already.
            NoSpace, LedgerDown: the group could not be committed, or the statement could not run.
            TusplyrError: what a step made of touching no row.
        """
        if self._closed:
            raise LedgerDown("the ledger is closed")
        unit = _Unit(steps, self._loop.create_future())
        self._waiting.append(unit)
        if not self._busy:
            self._busy = True
            # Not at once: whoever else is ready to run in this turn of the loop joins the group.
            self._loop.call_soon(self._send)
        return await unit.answer

    async def close(self) -> None:
        """Commit what waits, then close the connection. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._send()
        try:
            await self._loop.run_in_executor(self._thread, self._disconnect)
        finally:
            self._thread.shutdown(wait=False)

    def _send(self) -> None:
        group, self._waiting = self._waiting, []
        self._busy = bool(group)
        if group:
            job = self._thread.submit(self._run, [unit.steps for unit in group])
            job.add_done_callback(lambda job: self._loop.call_soon_threadsafe(self._receive, group, job))

    def _receive(self, group: list[_Unit], job: Future[list[int | Exception]]) -> None:
        error = job.exception()
        outcomes = job.result() if error is None else [error] * len(group)
        for unit, outcome in zip(group, outcomes, strict=True):
            if unit.answer.done():  # its caller was cancelled
                continue
            if isinstance(outcome, int):
                unit.answer.set_result(outcome)
            else:
                unit.answer.set_exception(outcome)
        # Answered callers run first: what they ask for next is part of the next group.
        self._loop.call_soon(self._send)

    def _run(self, group: list[Sequence[Step]]) -> list[int | Exception]:
        try:
            connection = self._connected()
            connection.execute("BEGIN IMMEDIATE")
            if len(group) == 1:  # the usual case, and two statements fewer
                outcomes = [_outcome(connection, group[0])]
                connection.execute("ROLLBACK" if isinstance(outcomes[0], Exception) else "COMMIT")
            else:
                outcomes = [_attempt(connection, steps) for steps in group]
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._recover(error)
            return [down(error) for _ in group]
        return outcomes

    def _recover(self, error: sqlite3.Error) -> None:
        """Let go of a connection that may not be fit for the next group; to close it rolls back what is open."""
        with suppress(sqlite3.Error):
            if _code(error) not in _PASSING or (self._connection is not None and self._connection.in_transaction):
                self._disconnect()

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = self._opener()
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _attempt(connection: sqlite3.Connection, steps: Sequence[Step]) -> int | Exception:
    """Run one unit under its savepoint. Raises `sqlite3.Error` when the whole transaction is lost."""
    connection.execute("SAVEPOINT unit")
    outcome = _outcome(connection, steps)
    if isinstance(outcome, Exception):
        connection.execute("ROLLBACK TO unit")
    connection.execute("RELEASE unit")
    return outcome


def _outcome(connection: sqlite3.Connection, steps: Sequence[Step]) -> int | Exception:
    """Run the steps of one unit. Raises `sqlite3.Error` when the whole transaction is lost."""
    try:
        return _steps(connection, steps)
    except sqlite3.Error as error:
        # A full disk, an I/O error and a few more make SQLite roll back everything, the neighbours too.
        if not connection.in_transaction:
            raise
        return Superseded() if _taken(error) else down(error)
    except (TusplyrError, OverflowError, TypeError, ValueError) as error:  # refused, or a value no column can hold
        return error


def _steps(connection: sqlite3.Connection, steps: Sequence[Step]) -> int | Exception:
    counts = []
    for step in steps:
        counts.append(connection.execute(step.sql, step.values).rowcount)
        if step.refused is not None and counts[-1] == 0:
            raise step.refused()
    return counts[0]


def _taken(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) in _TAKEN


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary code; sqlite3's own errors have none

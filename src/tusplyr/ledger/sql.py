"""The ledger in SQLite: conditional updates through one committer, reads beside it.

Owns how a call of the ports becomes statements and what their failure means. Must not know the
engine, the other adapters or Alembic. Invariant: no change is answered before it is durable, and none
is made without its conditions.

Reads have a connection of their own, one for all (aiosqlite, a single thread, so one query at a time);
in WAL mode they see the last commit and wait for no writer. What waits for it is bounded by the
callers, as in the committer.
"""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import aiosqlite
from msgspec.structs import asdict, replace
from sqlalchemy.dialects import sqlite

from tusplyr.core.errors import Busy, Conflict, LedgerDown, Superseded
from tusplyr.core.model import FAILING_AFTER, STUCK_AFTER, Backlog, Content, Kind, Place, Reason, Status, Upload
from tusplyr.ledger.changes import Changes, checkpointed, hastened, moved, postponed, touched
from tusplyr.ledger.committer import BUSY, Committer, Step, address, connect, down
from tusplyr.ledger.revisions import WrongRevision, require_head
from tusplyr.ledger.statements import Statements, compile_for
from tusplyr.ledger.tables import plain, row_of, upload_of

__all__ = ["SqlLedger", "WrongRevision"]

SHARES = 256  # queries in which the whole table is looked through
PURGE = 1000  # rows deleted in one unit, so that uploads do not wait behind a big purge


class SqlLedger:
    """`Ledger` and `Queue` over one SQLite file. Made by `open`, ended by `close`."""

    def __init__(
        self, committer: Committer, reader: aiosqlite.Connection, statements: Statements, clock: Callable[[], float]
    ) -> None:
        self.committer = committer
        self._reader = reader
        self.sql = statements
        self._clock = clock

    @classmethod
    async def open(cls, path: Path, clock: Callable[[], float] = time.time) -> "SqlLedger":
        """Open a database that is at the newest revision.

        Args:
            path: the database; see `ledger.migrate` for how it comes to be.
            clock: returns Unix seconds.

        Raises:
            WrongRevision: it is missing, older or newer; nothing was changed.
            LedgerDown: it cannot be opened.
        """
        await asyncio.to_thread(require_head, path)
        committer = Committer(partial(connect, path))
        await committer.open()
        try:
            reader = await aiosqlite.connect(address(path), uri=True, timeout=BUSY, isolation_level=None)
        except sqlite3.Error as error:
            await committer.close()
            raise down(error) from error
        return cls(committer, reader, compile_for(sqlite.dialect(paramstyle="named")), clock)

    async def close(self) -> None:
        """Commit what waits and let go of the database. Idempotent."""
        await self.committer.close()
        await self._reader.close()

    async def create(self, upload: Upload, partials: Sequence[Upload] = ()) -> None:
        """See `Ledger.create`."""
        needed = [
            _change(self.sql.touch, partial, touched(partial, upload.created_at), was_offset=partial.offset)
            for partial in partials
        ]
        await self.committer.commit(*needed, Step(self.sql.create, row_of(upload)))

    async def get(self, upload_id: str) -> Upload | None:
        """See `Ledger.get`."""
        rows = await self.read(self.sql.get, {"id": upload_id})
        return upload_of(rows[0]) if rows else None

    async def checkpoint(
        self,
        upload: Upload,
        offset: int,
        digest: bytes | None,
        sha256: str | None = None,
        content: Content | None = None,
    ) -> Upload:
        """See `Ledger.checkpoint`."""
        changes = checkpointed(upload, offset, digest, sha256, content, now=self._clock())
        sql = self.sql.checkpoint if sha256 is None else self.sql.complete
        steps = _change(sql, upload, changes, was_offset=upload.offset), *self._remember(content, changes)
        await self.committer.commit(*steps)
        return replace(upload, **changes)

    async def move(
        self, upload: Upload, status: Status, *, reason: Reason | None = None, content: Content | None = None
    ) -> Upload:
        """See `Ledger.move`. Raises `Conflict` when other content is remembered under the key of `content`."""
        changes = moved(upload, status, reason, self._clock())
        if reason is Reason.EXPIRED:
            step = _change(self.sql.expire, upload, changes, was_updated_at=upload.updated_at)
        else:
            step = _change(self.sql.move, upload, changes)
        steps = [step, *self._remember(content, changes)]
        if upload.kind is Kind.PARTIAL and status is Status.GONE:
            steps.insert(0, Step(self.sql.unneeded, {"was_id": upload.id}, Busy))
        await self.committer.commit(*steps)
        return replace(upload, **changes)

    async def content(self, key: str) -> Content | None:
        """See `Ledger.content`."""
        rows = await self.read(self.sql.content, {"key": key})
        return Content(*rows[0]) if rows else None

    async def settle(self, current: str) -> str | None:
        """Write down where content is published from now on, in the words of `Settings.place`.

        Returns:
            Where it was until now, if that is elsewhere and something was published there; None otherwise.

        Raises:
            LedgerDown, NoSpace: it could not be written down.
        """
        rows = await self.read(self.sql.place, {})
        was = Place(*rows[0]) if rows else None
        if was and was.current == current:
            return None
        place = Place(current)
        if was:
            published = (await self.read(self.sql.published, {"since": was.since}))[0][0]
            former = was.current if published else was.former
            place = Place(current, None if former == current else former, self._clock())
        await self.committer.commit(Step(self.sql.settle, {"id": 1, **asdict(place)}))
        return place.former

    async def check(self) -> None:
        """Return if rows can be read and changed; asks for the right to write, and writes nothing.

        Raises:
            LedgerDown, NoSpace: they cannot.
        """
        await self.get("ready")
        await self.committer.commit(Step(self.sql.purge, {"before": 0.0, "limit": 0}))

    async def idle(self, before: float) -> AsyncIterator[Upload]:
        """See `Ledger.idle`. Ids are random, so a range of them is a share of the table: no query takes long."""
        for number in range(SHARES):
            values = {"low": f"{number:02x}", "high": f"{number + 1:02x}" if number + 1 < SHARES else "g"}
            rows = await self.read(self.sql.idle, {"before": before, "limit": PURGE, **values})
            for row in rows:
                yield upload_of(row)

    async def purge(self, before: float) -> int:
        """See `Ledger.purge`."""
        total, step = 0, Step(self.sql.purge, {"before": before, "limit": PURGE})
        while count := await self.committer.commit(step):
            total += count
        return total

    async def postpone(self, upload: Upload, due_at: float, error: str, *, restart: bool = False) -> Upload:
        """See `Queue.postpone`."""
        changes = postponed(upload, due_at, error, self._clock(), restart=restart)
        sql = self.sql.restart if restart else self.sql.postpone
        await self.committer.commit(_change(sql, upload, changes, was_attempts=upload.attempts))
        return replace(upload, **changes)

    async def hasten(self, upload: Upload, due_at: float) -> Upload:
        """See `Queue.hasten`."""
        changes = hastened(upload, due_at)
        await self.committer.commit(_change(self.sql.hasten, upload, changes))
        return replace(upload, **changes)

    async def backlog(self) -> Backlog:
        """See `Queue.backlog`."""
        return Backlog(*(await self.read(self.sql.backlog, {"some": FAILING_AFTER, "often": STUCK_AFTER}))[0])

    async def hasten_all(self, folder: str, code: str, due_at: float, limit: int) -> int:
        """See `Queue.hasten_all`."""
        values = {"folder": folder, "code": code, "new_due_at": due_at, "limit": limit}
        return await self.committer.commit(Step(self.sql.hasten_all, values))

    async def due(
        self, status: Status, now: float, limit: int, apart_from: Collection[str] = frozenset()
    ) -> list[Upload]:
        """See `Queue.due`."""
        apart = f" {' '.join(apart_from)} "
        values = {"status": status.value, "now": now, "limit": limit, "apart": apart}
        return [upload_of(row) for row in await self.read(self.sql.due, values)]

    def _remember(self, content: Content | None, changes: Changes) -> tuple[Step, ...]:
        if content is None:
            return ()
        row = {"key": content.key, "sha256": content.sha256, "length": content.length}
        return (Step(self.sql.remember, row | {"stored_at": changes["updated_at"]}, _conflict),)

    async def read(self, sql: str, values: Mapping[str, Any]) -> list[Any]:
        """Return the rows of a query that is no change. Raises `LedgerDown`."""
        try:
            # The stub asks for a sequence of parameters; sqlite3 takes names too.
            return list(await self._reader.execute_fetchall(sql, values))
        except sqlite3.Error as error:
            raise down(error) from error
        except ValueError as error:
            raise LedgerDown("the ledger is closed") from error


def _change(sql: str, upload: Upload, changes: Changes, **was: float) -> Step:
    new = {f"new_{name}": value for name, value in plain(changes).items()}
    was_same = {"was_id": upload.id, "was_epoch": upload.epoch, "was_status": upload.status.value}
    return Step(sql, {**was_same, **was, **new}, Superseded)


def _conflict() -> Conflict:
    return Conflict("Other content is stored under the same key.")

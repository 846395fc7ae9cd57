"""Lists of uploads, for the commands.

Owns reads that no request waits for; they take SQLAlchemy as it is. Must not change anything, and is
not used by the server. Invariant: a page continues where the one before it ended, whatever was added
in between.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from sqlalchemy import Connection, Select, create_engine, select, text, tuple_
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from tusplyr.core.model import STUCK_AFTER, Content, Place, Status, Upload
from tusplyr.ledger.committer import connect, down
from tusplyr.ledger.revisions import require_head
from tusplyr.ledger.tables import DUE, contents, place, upload_of, uploads


def list_uploads(
    path: Path, *, limit: int, status: Status | None = None, stuck: bool = False, before: Upload | None = None
) -> list[Upload]:
    """Return uploads, the newest first. Blocking; works beside a running server.

    Args:
        path: the database.
        limit: how many at the most.
        status: only those with this status.
        stuck: only those whose publishing has failed often (`Upload.stuck`).
        before: only those that come after this one in the list: the last of the page before.

    Raises:
        WrongRevision: the database is missing, older or newer.
        LedgerDown: it cannot be read.
    """
    return _read(path, _newest(status, stuck, before).limit(limit))


def find(path: Path, upload_id: str) -> Upload | None:
    """Return one upload, None when there is no row of it. Blocking; raises as `list_uploads` does."""
    rows = _read(path, select(uploads).where(uploads.c.id == upload_id))
    return rows[0] if rows else None


def _read(path: Path, query: Select[tuple[object, ...]]) -> list[Upload]:
    with _reading(path) as connection:
        return [upload_of(row) for row in connection.execute(query)]


def list_contents(path: Path) -> list[Content]:
    """Return everything that was ever published, by key. Blocking; raises as `list_uploads` does."""
    with _reading(path) as connection:
        query = select(contents.c.key, contents.c.sha256, contents.c.length).order_by(contents.c.key)
        return [Content(*row) for row in connection.execute(query)]


def find_place(path: Path) -> Place | None:
    """Return where the server publishes to, None where it has never started. Blocking; raises as `list_uploads`."""
    with _reading(path) as connection:
        row = connection.execute(select(place.c.current, place.c.former, place.c.since)).first()
        return Place(*row) if row else None


def newest_content(path: Path, before: float) -> Content | None:
    """Return what was published last before that time (Unix seconds). Blocking; raises as `list_uploads` does."""
    with _reading(path) as connection:
        query = select(contents.c.key, contents.c.sha256, contents.c.length).where(contents.c.stored_at < before)
        row = connection.execute(query.order_by(contents.c.stored_at.desc()).limit(1)).first()
        return Content(*row) if row else None


@contextmanager
def _reading(path: Path) -> Iterator[Connection]:
    require_head(path)
    engine = create_engine("sqlite://", creator=partial(connect, path), poolclass=NullPool)
    try:
        with engine.connect() as connection:
            yield connection
    except DBAPIError as error:
        if isinstance(error.orig, sqlite3.Error):
            raise down(error.orig) from error
        raise
    finally:
        engine.dispose()


def _newest(status: Status | None, stuck: bool, before: Upload | None) -> Select[tuple[object, ...]]:
    place = tuple_(uploads.c.created_at, uploads.c.id)
    query = select(uploads).order_by(uploads.c.created_at.desc(), uploads.c.id.desc())
    if status is not None:
        query = query.where(uploads.c.status == status.value)
    if stuck:
        query = query.where(text(DUE), uploads.c.attempts >= STUCK_AFTER)
    if before is not None:
        query = query.where(place < (before.created_at, before.id))
    return query

"""The tables, and how an upload becomes a row and a row an upload.

Owns the names and types of the columns. Must not know who writes them, when, or over which driver;
`migrations/` is the only way they change. Invariant: what `upload_of` makes of a stored row equals
what `row_of` was given, field by field.
"""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Column, Double, Index, Integer, LargeBinary, MetaData, String, Table, Text, text

from tusplyr.core.model import Kind, Media, Reason, Status, Upload

# Spelled out in the statements too: a database uses an index of some rows only for the same words.
OPEN = "status = 'receiving'"
DUE = "status IN ('received', 'assembling')"
ENDED = "status IN ('stored', 'gone')"

metadata = MetaData()

uploads = Table(
    "uploads",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("status", String(16), nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("length", BigInteger),
    Column("offset", BigInteger, nullable=False),
    Column("metadata", LargeBinary),
    Column("folder", String(16), nullable=False),
    Column("extension", String(16), nullable=False),
    Column("media_type", String(127), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("digest", LargeBinary),
    Column("sha256", String(64)),
    Column("attempts", Integer, nullable=False),
    Column("due_at", Double, nullable=False),
    Column("error", Text),
    Column("reason", String(16)),
    Column("declared", String(64)),
    Column("kind", String(16), nullable=False),
    Column("partials", Text, nullable=False),
    Column("concat", LargeBinary),
    # Of some rows only, so that a checkpoint, the most frequent change, touches neither.
    Index("uploads_due", "due_at", sqlite_where=text(DUE), postgresql_where=text(DUE)),
    Index("uploads_ended", "updated_at", sqlite_where=text(ENDED), postgresql_where=text(ENDED)),
    sqlite_with_rowid=False,  # the row lies in the tree of its key: one page fewer to write at each creation
)

contents = Table(
    "contents",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("sha256", String(64), nullable=False),
    Column("length", BigInteger, nullable=False),
    Column("stored_at", Double, nullable=False),
    sqlite_with_rowid=False,
)

transfers = Table(
    "transfers",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("sha256", String(64), nullable=False),
    Column("part_size", BigInteger, nullable=False),
    Column("id", Text),
    Column("begun_at", Double, nullable=False),
    Column("source", String(32), nullable=False, server_default=""),
    sqlite_with_rowid=False,
)

landed_parts = Table(
    "landed_parts",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("etag", Text, nullable=False),
    sqlite_with_rowid=False,
)

place = Table(
    "place",
    metadata,
    Column("id", Integer, primary_key=True),  # there is one row
    Column("current", Text, nullable=False),
    Column("former", Text),
    Column("since", Double, nullable=False),
)

COLUMNS = tuple(column.name for column in uploads.columns)


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values with each enumeration as the string that a column holds."""
    return {name: value.value if isinstance(value, Enum) else value for name, value in values.items()}


def row_of(upload: Upload) -> dict[str, Any]:
    """Return the values of a row by column name."""
    values = msgspec.structs.asdict(upload)
    media: Media = values.pop("media")
    values["partials"] = " ".join(upload.partials)
    return plain(values | msgspec.structs.asdict(media))


def upload_of(row: Sequence[Any]) -> Upload:
    """Return the upload in a row that has the columns of `uploads` in their order."""
    values = dict(zip(COLUMNS, row, strict=True))
    media = Media(values.pop("folder"), values.pop("extension"), values.pop("media_type"))
    status, kind = Status(values.pop("status")), Kind(values.pop("kind"))
    reason = values.pop("reason")
    partials = tuple(values.pop("partials").split())
    return Upload(
        media=media, status=status, reason=Reason(reason) if reason else None, kind=kind, partials=partials, **values
    )

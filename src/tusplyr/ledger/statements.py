"""Every statement of the ledger, as SQLAlchemy Core, compiled once to the SQL text of one dialect.

Owns what is asked of the tables and under which conditions. Must not know drivers, connections or
transactions. Invariant: each change of an upload names the id, the epoch and the value that it
replaces (``was_…``), so a row that somebody else changed is not touched.
"""

from collections.abc import Callable
from typing import Any

from msgspec import Struct
from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    Table,
    Text,
    Update,
    bindparam,
    case,
    delete,
    func,
    insert,
    literal_column,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.sql import ClauseElement

from tusplyr.ledger.tables import DUE, ENDED, OPEN, contents, landed_parts, place, transfers, uploads

# Both say ON CONFLICT in the same words, which SQLAlchemy knows only as words of each.
INSERT: dict[str, Callable[[Table], Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}

FAILED = ("attempts", "due_at", "error", "updated_at")
MOVED = ("status", "epoch", "reason", "error", "updated_at")


class Statements(Struct, frozen=True, kw_only=True):
    """SQL texts with named parameters: ``was_x`` is the condition on a column, ``new_x`` its new value.

    Attributes:
        create: add a row of `uploads`; parameters are the columns.
        touch: say that an upload which is where it was is needed.
        unneeded: touch no row unless no final upload that is being assembled is made of this one.
        get: one upload by ``id``.
        checkpoint: move the offset.
        complete: move the offset to the end and the status with it.
        move: change the status.
        expire: change it only if nothing else has changed.
        idle: `receiving` uploads with an id from ``low`` up to ``high``, last changed at ``before`` or earlier,
            at most ``limit``.
        postpone: record a failed attempt.
        restart: the same, and that nothing of what it has made counts.
        hasten: change when the next attempt is due.
        hasten_all: the same for those in a ``folder`` that failed with an error of that ``code``, at most ``limit``.
        backlog: how many uploads wait, how many have failed ``often``, when the oldest was made, how many
            have failed ``some`` times or more.
        due: uploads that are ``status`` and wait, due before ``now``, at most ``limit``; none with a content key
            or in a folder that is named in ``apart``, which has a space before and after each.
        purge: delete ``limit`` rows that ended and were last changed before ``before``.
        remember: add a row of `contents`, or touch the one that is there if it is this content, and no other.
        content: what is published under ``key``.
        place: where content is published.
        published: how many contents were published at ``since`` (Unix seconds) or later.
        settle: write down where content is published.
        intend: add a row of `transfers`, or begin the one that is there anew.
        begin: note the ``id`` of a transfer.
        land: note a part of a transfer that has an id.
        unland: delete the parts of one.
        forget: delete one, of which there are no parts.
        transfer: a transfer by ``key``, once for each of its parts.
        abandoned: those likewise whose upload is not going to be published.
    """

    create: str
    touch: str
    unneeded: str
    get: str
    checkpoint: str
    complete: str
    move: str
    expire: str
    idle: str
    postpone: str
    restart: str
    hasten: str
    hasten_all: str
    backlog: str
    due: str
    purge: str
    remember: str
    content: str
    place: str
    published: str
    settle: str
    intend: str
    begin: str
    land: str
    unland: str
    forget: str
    transfer: str
    abandoned: str


def compile_for(dialect: Dialect) -> Statements:
    """Return the statements in the SQL of a dialect whose parameter style is ``named``."""

    def sql(statement: ClauseElement) -> str:
        return str(statement.compile(dialect=dialect))

    return Statements(
        create=sql(insert(uploads)),
        touch=sql(_change(("offset",), ("updated_at", "epoch"))),
        unneeded=sql(_unneeded()),
        get=sql(select(uploads).where(uploads.c.id == bindparam("id"))),
        checkpoint=sql(_progress(())),
        complete=sql(_progress(("sha256", "status", "epoch", "due_at", "error"))),
        move=sql(_change((), MOVED)),
        expire=sql(_change(("updated_at",), MOVED)),
        idle=sql(_idle()),
        postpone=sql(_change(("attempts",), FAILED)),
        restart=sql(_change(("attempts",), (*FAILED, "offset", "digest"))),
        hasten=sql(_change((), ("due_at",))),
        hasten_all=sql(_hasten_all()),
        backlog=sql(_backlog()),
        due=sql(_due()),
        purge=sql(_purge()),
        remember=sql(_remember(INSERT[dialect.name])),
        content=sql(
            select(contents.c.key, contents.c.sha256, contents.c.length).where(contents.c.key == bindparam("key"))
        ),
        place=sql(select(place.c.current, place.c.former, place.c.since)),
        published=sql(_published()),
        settle=sql(_settle(INSERT[dialect.name])),
        intend=sql(_intend(INSERT[dialect.name])),
        begin=sql(update(transfers).where(transfers.c.key == bindparam("was_key")).values(id=bindparam("new_id"))),
        land=sql(_land(INSERT[dialect.name])),
        unland=sql(delete(landed_parts).where(landed_parts.c.key == bindparam("key"))),
        forget=sql(delete(transfers).where(transfers.c.key == bindparam("key"))),
        transfer=sql(_transfers().where(transfers.c.key == bindparam("key"))),
        abandoned=sql(_abandoned()),
    )


def _change(conditions: tuple[str, ...], changed: tuple[str, ...]) -> Update:
    was = [uploads.c[name] == bindparam(f"was_{name}") for name in ("id", "epoch", "status", *conditions)]
    return update(uploads).where(*was).values({name: bindparam(f"new_{name}") for name in changed})


def _progress(changed: tuple[str, ...]) -> ClauseElement:
    """A length that is known by now is not replaced by another, nor by none."""
    change = _change(("offset",), ("length", "offset", "digest", "updated_at", *changed))
    return change.where(or_(uploads.c.length.is_(None), uploads.c.length == bindparam("new_length")))


def _due() -> ClauseElement:
    waiting = select(uploads).where(
        text(DUE), uploads.c.status == bindparam("status"), uploads.c.due_at <= bindparam("now")
    )
    # A key is spelled as `Media.key` does; what nothing is published of yet has none.
    apart, empty = bindparam("apart", type_=Text), literal_column("''", Text)
    before, slash, after = (literal_column(f"'{each}'", Text) for each in ("% ", "/", " %"))
    file_id = func.coalesce(func.substr(uploads.c.sha256, literal_column("1"), literal_column("16")), empty)
    names = slash, slash + file_id + uploads.c.extension
    others = [apart.not_like(before + uploads.c.folder + name + after) for name in names]
    return _first(waiting.where(*others).order_by(uploads.c.due_at))


def _hasten_all() -> ClauseElement:
    of_that_kind = uploads.c.error.like(bindparam("code", type_=Text) + literal_column("': %'"))
    later = uploads.c.due_at > bindparam("new_due_at")
    received = select(uploads.c.id).where(text(DUE), uploads.c.status == literal_column("'received'"))
    some = _first(
        received.where(uploads.c.folder == bindparam("folder"), of_that_kind, later).order_by(uploads.c.due_at)
    )
    return update(uploads).where(uploads.c.id.in_(some)).values(due_at=bindparam("new_due_at"))


def _backlog() -> ClauseElement:
    none: ColumnElement[int] = literal_column("0")
    failed = [
        func.coalesce(func.sum(case((uploads.c.attempts >= bindparam(times), literal_column("1")), else_=none)), none)
        for times in ("often", "some")
    ]
    return select(func.count(), failed[0], func.min(uploads.c.created_at), failed[1]).where(text(DUE))


def _unneeded() -> Update:
    final = uploads.alias("final")
    assembling = text(DUE.replace("status", "final.status")), final.c.status == literal_column("'assembling'")
    needed = select(final.c.id).where(*assembling, final.c.partials.contains(bindparam("was_id"))).exists()
    return update(uploads).where(uploads.c.id == bindparam("was_id"), ~needed).values(epoch=uploads.c.epoch)


def _idle() -> ClauseElement:
    """No index: it would cost every creation and every completion a page, for one look in many minutes."""
    some = select(uploads).where(uploads.c.id >= bindparam("low"), uploads.c.id < bindparam("high"))
    return _first(some.where(text(OPEN), uploads.c.updated_at <= bindparam("before")))


def _purge() -> ClauseElement:
    ended = select(uploads.c.id).where(text(ENDED), uploads.c.updated_at < bindparam("before"))
    return delete(uploads).where(uploads.c.id.in_(_first(ended)))


def _first(query: Select[Any]) -> Select[Any]:
    # SQLAlchemy adds an OFFSET of its own to every LIMIT for SQLite, as a parameter unless it is told.
    return query.limit(bindparam("limit")).offset(literal_column("0"))


def _remember(insert_into: Callable[[Table], Any]) -> ClauseElement:
    new = insert_into(contents).values({name: bindparam(name) for name in contents.c.keys()})  # noqa: SIM118 - not a dict: iterating gives columns
    same = contents.c.sha256 == new.excluded.sha256
    return new.on_conflict_do_update(index_elements=["key"], set_={"stored_at": contents.c.stored_at}, where=same)  # type: ignore[no-any-return]  # both dialects' own inserts have it


def _published() -> ClauseElement:
    """No index: it is asked when a server has begun to publish elsewhere, and at no other time."""
    return select(func.count()).select_from(contents).where(contents.c.stored_at >= bindparam("since"))


def _settle(insert_into: Callable[[Table], Any]) -> ClauseElement:
    new = insert_into(place).values({name: bindparam(name) for name in place.c.keys()})  # noqa: SIM118 - as above
    anew = {name: new.excluded[name] for name in ("current", "former", "since")}
    return new.on_conflict_do_update(index_elements=["id"], set_=anew)  # type: ignore[no-any-return]  # as above


def _intend(insert_into: Callable[[Table], Any]) -> ClauseElement:
    new = insert_into(transfers).values({name: bindparam(name) for name in transfers.c.keys()})  # noqa: SIM118 - as above
    anew = {name: new.excluded[name] for name in ("sha256", "source", "part_size", "id", "begun_at")}
    return new.on_conflict_do_update(index_elements=["key"], set_=anew)  # type: ignore[no-any-return]  # as above


def _land(insert_into: Callable[[Table], Any]) -> ClauseElement:
    part = select(transfers.c.key, bindparam("number", type_=Integer), bindparam("etag", type_=Text))
    begun = part.where(transfers.c.key == bindparam("key"), transfers.c.id.is_not(None))
    new = insert_into(landed_parts).from_select(["key", "number", "etag"], begun)
    return new.on_conflict_do_update(index_elements=["key", "number"], set_={"etag": new.excluded.etag})  # type: ignore[no-any-return]  # as above


def _transfers() -> Select[Any]:
    columns = [transfers.c[name] for name in ("key", "sha256", "source", "part_size", "id", "begun_at")]
    both = transfers.outerjoin(landed_parts, landed_parts.c.key == transfers.c.key)
    query = select(*columns, landed_parts.c.number, landed_parts.c.etag).select_from(both)
    return query.order_by(transfers.c.key, landed_parts.c.number)


def _abandoned() -> Select[Any]:
    needed = select(uploads.c.id).where(uploads.c.id == transfers.c.source, text(f"NOT {ENDED}"))
    return _transfers().where(~needed.exists())

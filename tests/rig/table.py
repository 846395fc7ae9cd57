"""The crash table: where a request can die, and what must be true afterwards.

Owns the rows, one for every gap between two steps of a request; `docs/architecture.md` has the same ones in words.
Must not know how a server is killed (`crash.test_kill`) or built: only which system calls separate the steps.
"""

from enum import StrEnum
from typing import NamedTuple

from rig.life import FIRST, SECOND, WHOLE
from rig.trace import COPY_RANGE, LINK, RENAME, SEND, SYNC, UNLINK, WRITE


class Stage(StrEnum):
    """What the server is doing when it dies. All from APPEND on find `FIRST` bytes acknowledged."""

    CREATE = "create"
    EMPTY = "create, empty"
    BEGIN = "first append"
    APPEND = "append"
    COMPLETE = "complete"
    FAIL = "complete, publishing fails"
    QUEUE = "publish from the queue"
    REWRITE = "append to a published file"
    TERMINATE = "terminate"
    CONCAT = "concatenate"


class Where(StrEnum):
    """What the system call is about."""

    ANY = "any"
    SPOOL_FILE = "spool file"
    OWN = "copy of the spool file"
    SPOOL = "spool"
    LEDGER = "ledger"
    FOLDER = "folder of the store"
    REPLY = "connection"


NEXT_COMMIT = 0


class Row(NamedTuple):
    """One row of the crash table.

    Attributes:
        after: what has happened, and what has not.
        stage: see `Stage`.
        calls: the server dies on entering one of these system calls,
        where: made on this,
        nth: for the nth time; `NEXT_COMMIT` stands for the first time after the ledger's first commit.
        offsets: what HEAD may say afterwards; None stands for an upload that is gone. Empty where nobody has its id.
    """

    after: str
    stage: Stage
    calls: tuple[str, ...]
    where: Where
    nth: int = 1
    offsets: frozenset[int | None] = frozenset()


def offsets(*values: int | None) -> frozenset[int | None]:
    return frozenset(values)


# A commit that was written and not synced survives the death of a process, though not of a machine: both are lawful.
TABLE = [
    Row("asked, no row", Stage.CREATE, WRITE, Where.LEDGER),
    Row("row written, not synced", Stage.CREATE, SYNC, Where.LEDGER),
    Row("row, no reply", Stage.CREATE, SEND, Where.REPLY),
    Row("file made, nothing in it", Stage.BEGIN, WRITE, Where.SPOOL_FILE, offsets=offsets(0)),
    Row("write, no sync", Stage.BEGIN, SYNC, Where.SPOOL_FILE, offsets=offsets(0)),
    Row("bytes synced, name not synced", Stage.BEGIN, SYNC, Where.SPOOL, offsets=offsets(0)),
    Row("name synced, no row", Stage.BEGIN, WRITE, Where.LEDGER, offsets=offsets(0)),
    Row("row written, not synced", Stage.BEGIN, SYNC, Where.LEDGER, offsets=offsets(0, FIRST)),
    Row("row, no reply", Stage.BEGIN, SEND, Where.REPLY, offsets=offsets(FIRST)),
    Row("pieces read, not written", Stage.APPEND, WRITE, Where.SPOOL_FILE, offsets=offsets(FIRST)),
    Row("write, no sync", Stage.APPEND, SYNC, Where.SPOOL_FILE, offsets=offsets(FIRST)),
    Row("sync, no row", Stage.APPEND, WRITE, Where.LEDGER, offsets=offsets(FIRST)),
    Row("row written, not synced", Stage.APPEND, SYNC, Where.LEDGER, offsets=offsets(FIRST, SECOND)),
    Row("row, no reply", Stage.APPEND, SEND, Where.REPLY, offsets=offsets(SECOND)),
    Row("last byte, no sync", Stage.COMPLETE, SYNC, Where.SPOOL_FILE, offsets=offsets(FIRST)),
    Row("last byte synced, not linked", Stage.COMPLETE, LINK, Where.ANY, offsets=offsets(FIRST)),
    Row("linked, name not synced", Stage.COMPLETE, SYNC, Where.FOLDER, offsets=offsets(FIRST)),
    Row("published, no row", Stage.COMPLETE, WRITE, Where.LEDGER, offsets=offsets(FIRST)),
    Row("stored written, not synced", Stage.COMPLETE, SYNC, Where.LEDGER, offsets=offsets(FIRST, WHOLE)),
    Row("stored, before discard", Stage.COMPLETE, UNLINK, Where.ANY, offsets=offsets(WHOLE)),
    Row("stored, no reply", Stage.COMPLETE, SEND, Where.REPLY, offsets=offsets(WHOLE)),
    Row("bytes synced, name not synced", Stage.FAIL, SYNC, Where.SPOOL, offsets=offsets(FIRST)),
    Row("name synced, no row", Stage.FAIL, WRITE, Where.LEDGER, offsets=offsets(FIRST)),
    Row("received written, not synced", Stage.FAIL, SYNC, Where.LEDGER, offsets=offsets(FIRST, WHOLE)),
    Row("received, not postponed", Stage.FAIL, WRITE, Where.LEDGER, NEXT_COMMIT, offsets(WHOLE)),
    Row("postponed written, not synced", Stage.FAIL, SYNC, Where.LEDGER, 2, offsets(WHOLE)),
    Row("postponed, no reply", Stage.FAIL, SEND, Where.REPLY, offsets=offsets(WHOLE)),
    Row("received, before publish", Stage.QUEUE, LINK, Where.ANY, offsets=offsets(WHOLE)),
    Row("linked, name not synced", Stage.QUEUE, SYNC, Where.FOLDER, offsets=offsets(WHOLE)),
    Row("published, before stored", Stage.QUEUE, WRITE, Where.LEDGER, offsets=offsets(WHOLE)),
    Row("stored written, not synced", Stage.QUEUE, SYNC, Where.LEDGER, offsets=offsets(WHOLE)),
    Row("stored, before discard", Stage.QUEUE, UNLINK, Where.ANY, offsets=offsets(WHOLE)),
    Row("copy begun, nothing in it", Stage.REWRITE, WRITE, Where.OWN, offsets=offsets(FIRST)),
    Row("copied, not synced", Stage.REWRITE, SYNC, Where.OWN, offsets=offsets(FIRST)),
    Row("copy synced, not in its place", Stage.REWRITE, RENAME, Where.OWN, offsets=offsets(FIRST)),
    Row("copy in its place, name not synced", Stage.REWRITE, SYNC, Where.SPOOL, offsets=offsets(FIRST)),
    Row("other bytes written, not synced", Stage.REWRITE, SYNC, Where.SPOOL_FILE, offsets=offsets(FIRST)),
    Row("asked to terminate, no row", Stage.TERMINATE, WRITE, Where.LEDGER, offsets=offsets(FIRST)),
    Row("gone written, not synced", Stage.TERMINATE, SYNC, Where.LEDGER, offsets=offsets(FIRST, None)),
    Row("gone, before discard", Stage.TERMINATE, UNLINK, Where.ANY, offsets=offsets(None)),
    Row("terminated, no reply", Stage.TERMINATE, SEND, Where.REPLY, offsets=offsets(None)),
]

# The same on a store that lies on another volume: link(2) is refused first, then a copy is made and linked.
COPY_TABLE = [
    Row("copy begun, nothing in it", Stage.COMPLETE, ("read",), Where.SPOOL_FILE, offsets=offsets(FIRST)),
    Row("copied, not synced", Stage.COMPLETE, ("read",), Where.SPOOL_FILE, 2, offsets(FIRST)),
    Row("copy synced, not linked", Stage.COMPLETE, LINK, Where.ANY, 2, offsets(FIRST)),
    Row("copy linked, still under its other name", Stage.COMPLETE, UNLINK, Where.ANY, offsets=offsets(FIRST)),
    Row("copy linked, name not synced", Stage.COMPLETE, SYNC, Where.FOLDER, offsets=offsets(FIRST)),
    Row("published, no row", Stage.COMPLETE, WRITE, Where.LEDGER, offsets=offsets(FIRST)),
]

# An upload of no bytes is whole when it is created, and published by the same request.
EMPTY_TABLE = [
    Row("file made, name not synced", Stage.EMPTY, SYNC, Where.SPOOL),
    Row("name synced, no row", Stage.EMPTY, WRITE, Where.LEDGER),
    Row("received written, not synced", Stage.EMPTY, SYNC, Where.LEDGER),
    Row("received, before publish", Stage.EMPTY, LINK, Where.ANY),
    Row("linked, name not synced", Stage.EMPTY, SYNC, Where.FOLDER),
    Row("published, before stored", Stage.EMPTY, WRITE, Where.LEDGER, NEXT_COMMIT),
    Row("stored written, not synced", Stage.EMPTY, SYNC, Where.LEDGER, 2),
    Row("stored, no reply", Stage.EMPTY, SEND, Where.REPLY),
]

# Two partial uploads are complete; a final one is asked for. Whether its row is there or not, asking again is right.
CONCAT_TABLE = [
    Row("asked, no row", Stage.CONCAT, WRITE, Where.LEDGER),
    Row("row written, not synced", Stage.CONCAT, SYNC, Where.LEDGER),
    Row("assembling, nothing written", Stage.CONCAT, WRITE, Where.SPOOL_FILE),
    Row("written, not synced", Stage.CONCAT, SYNC, Where.SPOOL_FILE),
    Row("assembled, not linked", Stage.CONCAT, LINK, Where.ANY),
    Row("linked, name not synced", Stage.CONCAT, SYNC, Where.FOLDER),
    Row("published, no row", Stage.CONCAT, WRITE, Where.LEDGER, NEXT_COMMIT),
    Row("stored written, not synced", Stage.CONCAT, SYNC, Where.LEDGER, 2),
    Row("stored, before discard", Stage.CONCAT, UNLINK, Where.ANY),
    Row("stored, no reply", Stage.CONCAT, SEND, Where.REPLY),
]

# The same with a first upload that is long enough to be copied by the kernel, and a commit of its own behind that.
GRAFT_TABLE = [
    Row("first upload not copied", Stage.CONCAT, COPY_RANGE, Where.ANY),
    Row("first upload copied, not synced", Stage.CONCAT, SYNC, Where.SPOOL_FILE),
    Row("first upload synced, name not synced", Stage.CONCAT, SYNC, Where.SPOOL),
    Row("first upload copied, no row", Stage.CONCAT, WRITE, Where.LEDGER, NEXT_COMMIT),
    Row("its row written, not synced", Stage.CONCAT, SYNC, Where.LEDGER, 2),
    Row("the rest written, not synced", Stage.CONCAT, SYNC, Where.SPOOL_FILE, 2),
]

"""The crash table, by SIGKILL of a real process followed by a real restart.

Owns one row for every gap between two steps of a request. Must not know how the server is built, only
which system calls separate the steps (`rig.trace`). Invariant of every row: after the restart a client
that goes on as clients do finds at least what it was told, and ends with its bytes stored once, whole.
"""

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import pytest

from rig.life import BODY, DEATH_LIMIT, FIRST, SECOND, WHOLE, await_stored, check_stored_once, resume, sweep
from rig.server import Server
from rig.trace import LINK, SEND, SYNC, UNLINK, WRITE, attached, killed_at, read, socket_of
from rig.tus import Client

pytestmark = pytest.mark.crash


class Stage(StrEnum):
    """The request during which the server dies. All but CREATE find `FIRST` bytes acknowledged."""

    CREATE = "create"
    APPEND = "append"
    COMPLETE = "complete"
    TERMINATE = "terminate"


class Where(StrEnum):
    """What the system call is about."""

    ANY = "any"
    SPOOL_FILE = "spool file"
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
        offsets: what HEAD may say afterwards; None stands for an upload that is gone.
        left: spool files that a sweep may leave, because a row that nobody was told of still wants them.
    """

    after: str
    stage: Stage
    calls: tuple[str, ...]
    where: Where
    nth: int = 1
    offsets: frozenset[int | None] = frozenset()
    left: frozenset[int] = frozenset({0})


def offsets(*values: int | None) -> frozenset[int | None]:
    return frozenset(values)


# A commit that was written and not synced survives the death of a process, though not of a machine: both are lawful.
EITHER = frozenset({0, 1})

TABLE = [
    Row("file made, name not synced", Stage.CREATE, SYNC, Where.SPOOL),
    Row("file synced, no row", Stage.CREATE, WRITE, Where.LEDGER),
    Row("row written, not synced", Stage.CREATE, SYNC, Where.LEDGER, left=EITHER),
    Row("row, no reply", Stage.CREATE, SEND, Where.REPLY, left=frozenset({1})),
    Row("pieces read, not written", Stage.APPEND, WRITE, Where.SPOOL_FILE, offsets=offsets(FIRST)),
    Row("write, no sync", Stage.APPEND, SYNC, Where.SPOOL_FILE, offsets=offsets(FIRST)),
    Row("sync, no row", Stage.APPEND, WRITE, Where.LEDGER, offsets=offsets(FIRST)),
    Row("row written, not synced", Stage.APPEND, SYNC, Where.LEDGER, offsets=offsets(FIRST, SECOND)),
    Row("row, no reply", Stage.APPEND, SEND, Where.REPLY, offsets=offsets(SECOND)),
    Row("last byte, no sync", Stage.COMPLETE, SYNC, Where.SPOOL_FILE, offsets=offsets(FIRST)),
    Row("last byte synced, no row", Stage.COMPLETE, WRITE, Where.LEDGER, offsets=offsets(FIRST)),
    Row("received written, not synced", Stage.COMPLETE, SYNC, Where.LEDGER, offsets=offsets(FIRST, WHOLE)),
    Row("received, before publish", Stage.COMPLETE, LINK, Where.ANY, offsets=offsets(WHOLE)),
    Row("linked, name not synced", Stage.COMPLETE, SYNC, Where.FOLDER, offsets=offsets(WHOLE)),
    Row("published, before stored", Stage.COMPLETE, WRITE, Where.LEDGER, NEXT_COMMIT, offsets(WHOLE)),
    Row("stored written, not synced", Stage.COMPLETE, SYNC, Where.LEDGER, 2, offsets(WHOLE)),
    Row("stored, before discard", Stage.COMPLETE, UNLINK, Where.ANY, offsets=offsets(WHOLE)),
    Row("stored, no reply", Stage.COMPLETE, SEND, Where.REPLY, offsets=offsets(WHOLE)),
    Row("asked to terminate, no row", Stage.TERMINATE, WRITE, Where.LEDGER, offsets=offsets(FIRST)),
    Row("gone written, not synced", Stage.TERMINATE, SYNC, Where.LEDGER, offsets=offsets(FIRST, None)),
    Row("gone, before discard", Stage.TERMINATE, UNLINK, Where.ANY, offsets=offsets(None)),
    Row("terminated, no reply", Stage.TERMINATE, SEND, Where.REPLY, offsets=offsets(None)),
]

# The same on a store that lies on another volume: link(2) is refused first, then a copy is made and linked.
COPY_TABLE = [
    Row("copy begun, nothing in it", Stage.COMPLETE, ("read",), Where.SPOOL_FILE, offsets=offsets(WHOLE)),
    Row("copied, not synced", Stage.COMPLETE, ("read",), Where.SPOOL_FILE, 2, offsets(WHOLE)),
    Row("copy synced, not linked", Stage.COMPLETE, LINK, Where.ANY, 2, offsets(WHOLE)),
    Row("copy linked, still under its other name", Stage.COMPLETE, UNLINK, Where.ANY, offsets=offsets(WHOLE)),
    Row("copy linked, name not synced", Stage.COMPLETE, SYNC, Where.FOLDER, offsets=offsets(WHOLE)),
]


def name_of(row: Row) -> str:
    return f"{row.stage}: {row.after}"


def target(row: Row, server: Server, client: Client, path: str) -> str | None:
    """Return the path by which strace recognises what a row is about."""
    match row.where:
        case Where.ANY:
            return None
        case Where.SPOOL_FILE:
            return str(server.spool / path.rpartition("/")[2])
        case Where.SPOOL:
            return str(server.spool)
        case Where.LEDGER:
            return str(server.data / "tusplyr.db-wal")
        case Where.FOLDER:
            return str((server.store / "audio").resolve())
        case Where.REPLY:
            return socket_of(client.socket.getsockname()[1], server.port)


def act(row: Row, client: Client, path: str) -> None:
    """Make the request in which the server dies."""
    match row.stage:
        case Stage.CREATE:
            client.create(WHOLE, "take.wav")
        case Stage.APPEND:
            client.patch(path, FIRST, BODY[FIRST:SECOND])
        case Stage.COMPLETE:
            client.patch(path, FIRST, BODY[FIRST:])
        case Stage.TERMINATE:
            client.delete(path)


def prepare(row: Row, client: Client) -> str:
    """Bring a fresh server to just before the request of a row; return the path of the upload, if it has one."""
    if row.stage is Stage.CREATE:
        client.head("/files/0")  # the connection is known to the server from here on
        return ""
    path = client.create(WHOLE, "take.wav")
    assert client.patch(path, 0, BODY[:FIRST]).offset == FIRST
    return path


def rehearse(row: Row, folder: Path) -> int:
    """Play a row on a server of its own that lives; return which call of its kind is the first of the second commit."""
    with Server(folder / "rehearsal") as server, Client(server.port) as client:
        path = prepare(row, client)
        ledger = str(server.data / "tusplyr.db-wal")
        with attached(server.pid, folder, "-P", ledger, "-e", f"trace={','.join({*row.calls, *SYNC})}") as trace:
            act(row, client, path)
    names = [call.name for call in read(trace)]
    return next(number for number, name in enumerate(names) if name in SYNC) + 1


def crash(row: Row, server: Server, folder: Path) -> str:
    """Bring a fresh server to the point of a row and let it die there; return what `prepare` does."""
    nth = rehearse(row, folder) if row.nth == NEXT_COMMIT else row.nth
    with Client(server.port) as client:
        path = prepare(row, client)
        with killed_at(server.pid, folder, row.calls, target(row, server, client, path), nth):
            with suppress(ConnectionError):  # what comes after the last row may be under way when the reply is
                act(row, client, path)
            assert server.wait_dead(DEATH_LIMIT), "the row was never reached"
    assert server.process is not None
    assert server.process.returncode == -signal.SIGKILL
    return path


def run(row: Row, server: Server, folder: Path) -> None:
    """Crash, restart, resume, sweep, and hold the row to its promise."""
    path = crash(row, server, folder)
    server.start()
    with Client(server.port) as client:
        if path:
            said = resume(client, path)
            assert said in row.offsets
            if row.stage is Stage.TERMINATE and said is not None:
                assert client.delete(path).status == 204
        if row.stage in {Stage.CREATE, Stage.TERMINATE}:
            path = client.create(WHOLE, "take.wav")
            assert resume(client, path) == 0
        await_stored(client, path)
    sweep(server)
    assert len(server.spooled()) in row.left
    check_stored_once(server)


@pytest.mark.parametrize("row", TABLE, ids=name_of)
def test_killed_between_two_steps(row: Row, tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        run(row, server, tmp_path)


@pytest.fixture
def other_volume(tmp_path: Path) -> Iterator[Path]:
    """A folder on a volume that is not the one of `tmp_path`."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        assert Path(folder).stat().st_dev != tmp_path.stat().st_dev
        yield Path(folder)


@pytest.mark.parametrize("row", COPY_TABLE, ids=name_of)
def test_killed_while_copying_to_another_volume(row: Row, tmp_path: Path, other_volume: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "store").symlink_to(other_volume)
    with Server(tmp_path) as server:
        run(row, server, tmp_path)


def test_bytes_that_the_disk_lost_are_never_replaced_by_others(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        with Client(server.port) as client:
            path = client.create(WHOLE, "take.wav")
            client.patch(path, 0, BODY[:FIRST])
        server.kill()
        os.truncate(server.spool / path.rpartition("/")[2], FIRST - 1)
        server.start()
        with Client(server.port) as client:
            assert client.patch(path, FIRST, BODY[FIRST:]).status == 410
            client.connect()
            assert client.head(path).status == 410
        assert server.stored() == []

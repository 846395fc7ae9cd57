"""The crash table, by SIGKILL of a real process followed by a real restart.

Owns how a row of the table (`rig.table`) is brought about and judged. Must not know how the server is built.
Invariant of every row: after the restart a client that goes on as clients do finds at least what it was told,
and ends with its bytes stored once, whole.
"""

import base64
import hashlib
import json
import os
import random
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from rig.life import (
    BODY,
    DEATH_LIMIT,
    FIRST,
    KEY,
    OTHER,
    SECOND,
    STORED_LIMIT,
    WHOLE,
    await_stored,
    check_object,
    check_stored_once,
    resume,
    sweep,
)
from rig.server import Server
from rig.table import (
    CONCAT_TABLE,
    COPY_TABLE,
    EMPTY_TABLE,
    GRAFT_TABLE,
    NEXT_COMMIT,
    TABLE,
    Row,
    Stage,
    Where,
)
from rig.trace import SYNC, attached, killed_at, read, socket_of
from rig.tus import APPEND, VERSION, Client, Reply, path_of
from tusplyr.core.commands import Concatenate
from tusplyr.engine.assemble import WORTH
from tusplyr.engine.concatenate import _final_id

pytestmark = pytest.mark.crash

LINKED = [
    row
    for row in TABLE
    if row.stage is Stage.COMPLETE and row.after in {"linked, name not synced", "published, no row"}
]
PUBLISHED = LINKED[-1]
GRAFTED = random.Random(6).randbytes(WORTH + 5)  # bytes of a partial upload that is worth a copy by the kernel


def name_of(row: Row) -> str:
    return f"{row.stage}: {row.after}"


def blocker(server: Server) -> Path:
    """A file where the store needs a folder: while it is there, publishing fails."""
    return server.store / "audio"


def target(row: Row, server: Server, client: Client, path: str) -> str | None:
    """Return the path by which strace recognises what a row is about."""
    if row.where is Where.REPLY:
        return socket_of(client.socket.getsockname()[1], server.port)
    upload_id = final_id(path) if row.stage is Stage.CONCAT else path.rpartition("/")[2]
    places = {
        Where.SPOOL_FILE: server.spool / upload_id,
        Where.OWN: server.spool / f"{upload_id}.own",
        Where.SPOOL: server.spool,
        Where.LEDGER: server.data / "tusplyr.db-wal",
        Where.FOLDER: (server.store / "audio").resolve(),
    }
    return str(places[row.where]) if row.where in places else None


def act(row: Row, server: Server, client: Client, path: str) -> None:
    """Make the request in which the server dies."""
    match row.stage:
        case Stage.CREATE:
            client.create(WHOLE, "take.wav")
        case Stage.EMPTY:
            client.create(0, "take.wav")
        case Stage.BEGIN:
            client.patch(path, 0, BODY[:FIRST])
        case Stage.APPEND:
            client.patch(path, FIRST, BODY[FIRST:SECOND])
        case Stage.COMPLETE | Stage.FAIL:
            client.patch(path, FIRST, BODY[FIRST:])
        case Stage.QUEUE:
            blocker(server).unlink()  # no request: the queue tries again by itself
        case Stage.REWRITE:
            client.patch(path, FIRST, OTHER[FIRST:])
        case Stage.TERMINATE:
            client.delete(path)
        case Stage.CONCAT:
            concatenate(client, path)


def partial(client: Client, body: bytes) -> str:
    """Return the path of a complete partial upload."""
    lines = APPEND | {"Upload-Concat": "partial", "Upload-Length": str(len(body))}
    reply = client.request("POST", "/files", lines, body)
    assert reply.offset == len(body)
    return path_of(reply.headers["location"])


def concatenate(client: Client, paths: str) -> Reply:
    """Ask for the final upload of some paths with blanks between."""
    name = base64.b64encode(b"take.wav").decode()
    return client.request(
        "POST", "/files", VERSION | {"Upload-Concat": f"final;{paths}", "Upload-Metadata": f"filename {name}"}
    )


def final_id(paths: str) -> str:
    """Return the id that the final upload will have: before it is there, nobody can be asked for it."""
    name = base64.b64encode(b"take.wav").decode()
    ids = tuple(path.rpartition("/")[2] for path in paths.split())
    return _final_id(Concatenate(partials=ids, concat=b"", metadata=f"filename {name}".encode()), 0)


def prepare(row: Row, server: Server, client: Client, folder: Path) -> str:
    """Bring a fresh server to just before the request of a row; return the path of the upload, if it has one."""
    if row.stage in {Stage.CREATE, Stage.EMPTY}:
        client.create(1)  # the log of a new database begins with a header, which is synced by itself
        return ""
    if row.stage is Stage.CONCAT:
        first = GRAFTED if row in GRAFT_TABLE else BODY[:FIRST]
        return " ".join(partial(client, body) for body in (first, BODY[FIRST:]))
    path = client.create(WHOLE, "take.wav")
    if row.stage is Stage.BEGIN:
        return path
    assert client.patch(path, 0, BODY[:FIRST]).offset == FIRST
    if row.stage in {Stage.FAIL, Stage.QUEUE}:
        blocker(server).touch()
    if row.stage is Stage.QUEUE:
        assert client.patch(path, FIRST, BODY[FIRST:]).offset == WHOLE
        assert json.loads(client.request("GET", f"{path}/status").body)["status"] == "received"
    if row.stage is Stage.REWRITE:
        die(PUBLISHED, server, client, path, folder)
        server.start()
        client.connect()
        assert client.head(path).offset == FIRST
    return path


def rehearse(row: Row, folder: Path) -> int:
    """Play a row on a server of its own that lives; return which call of its kind is the first of the second commit."""
    with Server(folder / "rehearsal") as server, Client(server.port) as client:
        path = prepare(row, server, client, folder)
        ledger = str(server.data / "tusplyr.db-wal")
        with attached(server.pid, folder, "-P", ledger, "-e", f"trace={','.join({*row.calls, *SYNC})}") as trace:
            act(row, server, client, path)
    names = [call.name for call in read(trace)]
    return next(number for number, name in enumerate(names) if name in SYNC) + 1


def die(row: Row, server: Server, client: Client, path: str, folder: Path) -> None:
    """Make the request of a row and let the server die in it."""
    nth = rehearse(row, folder) if row.nth == NEXT_COMMIT else row.nth
    with killed_at(server.pid, folder, row.calls, target(row, server, client, path), nth):
        with suppress(ConnectionError):  # what comes after the last row may be under way when the reply is
            act(row, server, client, path)
        assert server.wait_dead(DEATH_LIMIT), "the row was never reached"
    assert server.process is not None
    assert server.process.returncode == -signal.SIGKILL


def crash(row: Row, server: Server, folder: Path) -> str:
    """Bring a fresh server to the point of a row and let it die there; return what `prepare` does."""
    with Client(server.port) as client:
        path = prepare(row, server, client, folder)
        die(row, server, client, path, folder)
    if blocker(server).is_file():
        blocker(server).unlink()  # somebody has mended the store
    return path


def run(row: Row, server: Server, folder: Path) -> None:
    """Crash, restart, resume, sweep, and hold the row to its promise."""
    path = crash(row, server, folder)
    if row.stage is Stage.REWRITE:
        check_object(server, KEY, BODY)
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
    assert server.spooled() == []
    check_stored_once(server)


@pytest.mark.parametrize("row", TABLE, ids=name_of)
def test_killed_between_two_steps(row: Row, tmp_path: Path) -> None:  # C-25
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


@pytest.mark.parametrize("row", EMPTY_TABLE, ids=name_of)
def test_killed_while_an_upload_of_no_bytes_is_created(row: Row, tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        crash(row, server, tmp_path)
        server.start()
        with Client(server.port) as client:
            path = client.create(0, "take.wav")
            assert json.loads(client.request("GET", f"{path}/status").body)["status"] == "stored"
        deadline = time.monotonic() + STORED_LIMIT
        while server.spooled():  # what the dead request left is published by the queue, or swept
            assert time.monotonic() < deadline, server.spooled()
            time.sleep(0.1)
        assert server.stored() == [server.store / f"audio/{hashlib.sha256().hexdigest()[:16]}.wav"]


@pytest.mark.parametrize("row", [*CONCAT_TABLE, *GRAFT_TABLE], ids=name_of)
def test_killed_while_uploads_are_concatenated(row: Row, tmp_path: Path) -> None:
    whole = (GRAFTED if row in GRAFT_TABLE else BODY[:FIRST]) + BODY[FIRST:]
    with Server(tmp_path, THREADS=1) as server:  # so that one thread makes all the calls that are counted
        paths = crash(row, server, tmp_path)
        server.start()
        with Client(server.port) as client:
            if row.after not in {"asked, no row", "row written, not synced"}:
                await_published(server, whole)  # by itself
            reply = concatenate(client, paths)
            assert reply.status == 201
            path = path_of(reply.headers["location"])
            found = client.head(path)
            assert found.offset == len(whole)
            assert client.request("GET", path).body == whole
            for each in paths.split():
                assert client.delete(each).status == 204
        sweep(server)
        assert server.spooled() == []
        await_published(server, whole)


def await_published(server: Server, whole: bytes) -> None:
    """Wait until this content is in the store, and nothing else."""
    key = f"audio/{hashlib.sha256(whole).hexdigest()[:16]}.wav"
    deadline = time.monotonic() + STORED_LIMIT
    while server.stored() != [server.store / key]:
        assert time.monotonic() < deadline, server.stored()
        time.sleep(0.05)
    check_object(server, key, whole)


@pytest.mark.parametrize("row", LINKED, ids=name_of)
def test_other_bytes_after_a_crash_behind_the_link_go_under_their_own_key(row: Row, tmp_path: Path) -> None:
    """The row knows nothing of the object, and the spool file is the object: not one byte of it may change."""
    with Server(tmp_path) as server:
        path = crash(row, server, tmp_path)
        assert (server.spool / path.rpartition("/")[2]).samefile(server.store / KEY)
        server.start()
        with Client(server.port) as client:
            assert client.head(path).offset == FIRST
            assert client.patch(path, FIRST, OTHER[FIRST:]).offset == WHOLE
            status = json.loads(client.request("GET", f"{path}/status").body)
        sweep(server)
        other = hashlib.sha256(OTHER).hexdigest()
        assert (status["status"], status["sha256"], status["key"]) == ("stored", other, f"audio/{other[:16]}.wav")
        assert server.stored() == sorted([server.store / KEY, server.store / status["key"]])
        check_object(server, KEY, BODY)
        check_object(server, status["key"], OTHER)
        assert server.spooled() == []


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

"""The law, seen from outside: bytes, then fdatasync, then the row, then the reply.

Owns the proof by system calls of a real server. Must not know how the server is built: only which
files and which connection it uses.
"""

import itertools
import re
from pathlib import Path

import pytest

from rig.server import Server
from rig.trace import LINK, SEND, SYNC, UNLINK, WRITE, Call, attached, read
from rig.tus import Client

pytestmark = pytest.mark.crash

MIB = 1 << 20


def letter(call: Call, server: Server, upload_id: str) -> str:
    """Name a call for `story`; nothing for one that the law does not speak of."""
    spool_file = server.spool / upload_id
    steps = [
        ("R", SEND, r'.*"HTTP/1\.1 204'),
        ("w", WRITE, rf"\d+<{spool_file}>"),
        ("s", SYNC, rf"\d+<{spool_file}>"),
        ("W", WRITE, r"\d+<[^>]*/tusplyr\.db-wal>"),
        ("S", SYNC, r"\d+<[^>]*/tusplyr\.db-wal>"),
        ("l", LINK, rf'.*"{spool_file}"'),
        ("d", SYNC, rf"\d+<{server.store}/?"),
        ("u", UNLINK, rf'.*"{spool_file}"'),
    ]
    return next((name for name, calls, what in steps if call.name in calls and re.match(what, call.arguments)), "")


def story(calls: list[Call], server: Server, upload_id: str) -> str:
    """Tell a request in letters, small for bytes and big for rows, and make sure that no two steps overlap.

    w write and s sync of the spool file, W and S of the ledger; l link and d sync of the store's folder;
    R the reply; u unlink of the spool file, which nothing waits for.
    """
    told = [(call, name) for call in calls if (name := letter(call, server, upload_id))]
    lawful = [call for call, name in told if name != "u"]
    for before, after in itertools.pairwise(lawful):
        assert before.ended <= after.began, f"{before} had not returned when {after} began"
    return "".join(name for _, name in told)


def traced_patch(tmp_path: Path, length: int, body: bytes) -> str:
    """Send one PATCH to a traced server and tell what it did."""
    calls = ",".join({*WRITE, *SYNC, *LINK, *UNLINK, *SEND})
    with Server(tmp_path) as server, Client(server.port) as client:
        path = client.create(length, "take.wav")
        with attached(server.pid, tmp_path, "-y", "-s", "64", "-e", f"trace={calls}") as trace:
            assert client.patch(path, 0, body).status == 204
        return story(read(trace), server, path.rpartition("/")[2])


def test_the_reply_follows_the_row_and_the_row_follows_the_bytes(tmp_path: Path) -> None:
    told = traced_patch(tmp_path, 4 * MIB, bytes(3 * MIB))
    assert re.fullmatch("w+sW+SR", told), told


def test_every_checkpoint_on_the_way_obeys_the_law_too(tmp_path: Path) -> None:
    told = traced_patch(tmp_path, 41 * MIB, bytes(40 * MIB))
    assert re.fullmatch("(w+sW+S){2,}R", told), told


def test_stored_is_said_after_the_object_is_durable_and_before_the_reply(tmp_path: Path) -> None:
    told = traced_patch(tmp_path, 3 * MIB, bytes(3 * MIB))
    assert re.fullmatch("w+sW+Sd*ldW+S(uR|Ru?)", told), told

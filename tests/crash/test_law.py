"""The law, seen from outside: bytes, then fdatasync, then the row, then the reply.

Owns the proof by system calls of a real server. Must not know how the server is built: only which
files and which connection it uses.
"""

import re
from pathlib import Path

import pytest

from rig.server import Server
from rig.story import LETTERS, covered, rows_as_committed, story
from rig.trace import Call, attached, read
from rig.tus import Client

pytestmark = pytest.mark.crash

MIB = 1 << 20
CALLS = ",".join(sorted({call for _, calls, _ in LETTERS for call in calls}))
OPTIONS = ("-y", "-s", "64", "-e", f"trace={CALLS}")
SLOW_SYNC = ("-e", "inject=fdatasync:delay_enter=60000")  # microseconds: the next bytes are there before it is done


def traced_patch(folder: Path, length: int, body: bytes, *, at: int = 0, blocked: bool = False) -> str:
    """Send one PATCH to a traced server and tell what it did, no step beginning before the one before has ended."""
    with Server(folder) as server, Client(server.port) as client:
        path = client.create(length, "take.wav")
        if at:
            assert client.patch(path, 0, body[:at]).offset == at
        if blocked:
            (server.store / "audio").touch()
        with attached(server.pid, folder, *OPTIONS) as trace:
            assert client.patch(path, at, body[at:]).status == 204
        return told(story(read(trace), server))


def told(steps: list[tuple[str, Call]]) -> str:
    """Return the letters, having made sure that each step begins when all before it have returned.

    Only writes of the same body may overlap, each at its own place, and nothing waits for an unlink.
    """
    waited = [step for step in steps if step[0] != "u"]
    for number, (letter, after) in enumerate(waited):
        for earlier, before in waited[:number]:
            if not earlier == letter == "w":
                assert before.ended <= after.began, f"{before} had not returned when {after} began"
    return "".join(letter for letter, _ in steps)


def begin_log(client: Client) -> None:
    """Have a row written: the log of a new database begins with a header, which is synced by itself."""
    client.create(1)


def test_the_first_row_follows_the_bytes_and_their_name(tmp_path: Path) -> None:
    order = traced_patch(tmp_path, 4 * MIB, bytes(3 * MIB))
    assert re.fullmatch("w+snW+SR", order), order


def test_a_later_row_follows_the_bytes_and_the_reply_the_row(tmp_path: Path) -> None:
    order = traced_patch(tmp_path, 4 * MIB, bytes(3 * MIB), at=MIB)
    assert re.fullmatch("w+sW+SR", order), order


def test_stored_is_said_in_one_commit_after_the_object_is_durable_and_before_the_reply(tmp_path: Path) -> None:
    order = traced_patch(tmp_path, 3 * MIB, bytes(3 * MIB))
    assert re.fullmatch("w+sfldW+S(uR|Ru?)", order), order


def test_received_is_said_after_the_name_is_durable_where_publishing_fails(tmp_path: Path) -> None:
    order = traced_patch(tmp_path, 3 * MIB, bytes(3 * MIB), blocked=True)
    assert re.fullmatch("w+snW+SW+SR", order), order


def test_a_whole_upload_in_one_request_takes_two_commits(tmp_path: Path) -> None:
    with Server(tmp_path) as server, Client(server.port) as client:
        begin_log(client)
        with attached(server.pid, tmp_path, *OPTIONS) as trace:
            client.create(300_000, "take.wav", bytes(300_000))
        order = told(story(read(trace), server))
    assert re.fullmatch("W+Sw+sfldW+S(uR|Ru?)", order), order


def test_an_upload_of_no_bytes_is_named_before_its_row_and_published_before_it_is_stored(tmp_path: Path) -> None:
    with Server(tmp_path) as server, Client(server.port) as client:
        begin_log(client)
        with attached(server.pid, tmp_path, *OPTIONS) as trace:
            client.create(0, "take.wav")
        order = told(story(read(trace), server))
    assert re.fullmatch("nW+SfldW+S(uR|Ru?)", order), order


def test_rows_follow_synced_bytes_while_more_are_written(tmp_path: Path) -> None:
    """Each row, as its commit left it on disk, is covered by a sync that had returned before the commit began."""
    with Server(tmp_path, CHECKPOINT_BYTES=4 * MIB) as server, Client(server.port) as client:
        path = client.create(41 * MIB, "take.wav")
        with attached(server.pid, tmp_path, *OPTIONS, *SLOW_SYNC) as trace:
            assert client.patch(path, 0, bytes(40 * MIB)).offset == 40 * MIB
        steps = story(read(trace), server)
        commits = rows_as_committed(steps, server, path.rpartition("/")[2], tmp_path)

    written = told([step for step in steps if step[0] == "w"])
    followed = told([step for step in steps if step[0] != "w"])  # one checkpoint at a time, the reply at the end
    assert len(written) >= 40
    assert re.fullmatch("snW+S(sW+S){2,}R", followed), followed

    writes = [call for letter, call in steps if letter == "w"]
    syncs = [call for letter, call in steps if letter == "s"]
    assert any(sync.began < write.began < sync.ended for sync in syncs for write in writes), "nothing overlapped"
    assert [offset for offset, _ in commits] == sorted({offset for offset, _ in commits}), "each goes on"
    assert commits[-1][0] == 40 * MIB
    for offset, began in commits:
        assert max(covered(sync, writes) for sync in syncs if sync.ended < began) >= offset

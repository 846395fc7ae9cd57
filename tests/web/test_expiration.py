"""Expiration, over the wire: what is said of the deadline, and what is answered after it."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from email.utils import parsedate_to_datetime

import pytest

from rig.tus import VERSION, Client, Reply
from web.service import BODY, TUS, Service, ask, check_refusal, patch, post

DAY = 86_400


@pytest.fixture(scope="module")
def forgetful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Tells clients that start again after a 404 alone what they understand; never sweeps while it is tested."""
    with Service(tmp_path_factory.mktemp("forgetful"), GONE_AS_NOT_FOUND="true") as server:
        yield server


def deadline(reply: Reply) -> float:
    """When the reply says that the upload expires (Unix seconds)."""
    text = reply.headers["upload-expires"]
    assert text.endswith(" GMT")
    return parsedate_to_datetime(text).timestamp()


def age(service: Service, path: str, seconds: float) -> None:
    """Let an upload be without progress for so long."""
    with closing(sqlite3.connect(service.data / "tusplyr.db", isolation_level=None)) as database:
        sql = "UPDATE uploads SET updated_at = updated_at - ? WHERE id = ?"
        assert database.execute(sql, (seconds, path.rpartition("/")[2])).rowcount == 1


def expired(service: Service, tus: Client) -> str:
    path = tus.create(100, body=b"x" * 10)
    tus.patch(path, 10, b"x")
    time.sleep(2.1)  # the server believes a row that it has just written
    age(service, path, DAY)
    return path


def test_expiration_is_advertised(tus):
    """EX-01."""
    assert "expiration" in ask(tus, "OPTIONS", "/files").headers["tus-extension"].split(",")


def test_every_reply_about_an_unfinished_upload_says_when_it_expires(tus):
    """EX-02, EX-03, EX-06, EX-11, D-32."""
    before = time.time()
    created = post(tus, "Upload-Length: 10")
    path = created.headers["location"].partition("/files")[2]
    replies = [
        created,
        patch(tus, f"/files{path}", 0, body=b"xx"),
        patch(tus, f"/files{path}", 0, body=b"xx"),
        patch(tus, f"/files{path}", "nine", body=b"xx"),
        patch(tus, f"/files{path}", 2, body=b"x" * 20),
        ask(tus, "PATCH", f"/files{path}", TUS, "Content-Type: text/plain", "Upload-Offset: 2", body=b"x"),
        tus.head(f"/files{path}"),
    ]
    assert [reply.status for reply in replies] == [201, 204, 409, 400, 413, 415, 200]
    for reply in replies:
        assert before + DAY - 1 <= deadline(reply) <= time.time() + DAY


def test_the_deadline_moves_with_progress(service, tus):
    """EX-04."""
    path = tus.create(100)
    age(service, path, 3600)
    before = deadline(tus.head(path))
    after = deadline(tus.patch(path, 0, b"x"))
    assert after >= before + 3599


def test_a_complete_upload_does_not_expire(service, tus):
    """EX-08."""
    created = post(tus, "Upload-Length: 1", BODY, body=b"x")
    path = created.headers["location"].partition("/files")[2]
    age(service, path, 2 * DAY)
    for reply in (created, tus.head(f"/files{path}"), patch(tus, f"/files{path}", 1, body=b"")):
        assert reply.status < 300
        assert "upload-expires" not in reply.headers


def test_from_its_deadline_on_an_upload_is_gone(service, tus):
    """EX-05, EX-09."""
    path = expired(service, tus)
    check_refusal(tus.head(path), 410)
    check_refusal(tus.patch(path, 11, b"x"), 410)
    check_refusal(tus.delete(path), 410)
    assert tus.request("GET", f"{path}/status", VERSION).status == 410
    assert b"expired" in tus.patch(path, 11, b"x").body


def test_a_sweep_frees_the_bytes_and_keeps_a_tombstone(tmp_path):
    with Service(tmp_path) as server, Client(server.port) as tus:
        path = expired(server, tus)
        server.stop()  # beside it a sweep by hand expires nothing
        done = server.command("sweep")
        assert (done.returncode, done.stdout) == (0, "uploads expired: 1, spool files removed: 1\n"), done.stderr
        assert not (server.spool / path.rpartition("/")[2]).exists()
        server.start()
        tus.connect()
        check_refusal(tus.head(path), 410)


def test_a_server_may_be_told_to_answer_404_instead(forgetful):
    """D-18."""
    with Client(forgetful.port) as tus:
        path = expired(forgetful, tus)
        check_refusal(tus.head(path), 404)
        check_refusal(tus.patch(path, 11, b"x"), 404)


def test_no_upload_expires_under_a_running_patch(service, tus, other):
    """EX-10."""
    path = tus.create(10)
    tus.begin(path, 0, 10)
    tus.send(b"hello")
    time.sleep(0.1)
    age(service, path, 2 * DAY)
    assert ask(other, "HEAD", path).status == 200
    tus.send(b"world")
    assert tus.reply().offset == 10

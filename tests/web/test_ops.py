"""Health, metrics and the status document; a volume that is down to its reserve."""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from rig.tus import Client, path_of
from web.service import BODY, TOKEN, TUS, UNKNOWN, Service, ask, check_refusal, check_standard, finished, post


def metric(client, name):
    """Return one number of the metrics."""
    lines = ask(client, "GET", "/metrics").body.decode().splitlines()
    return float(next(line for line in lines if line.startswith(f"tusplyr_{name} ")).split()[1])


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
def test_a_healthy_server_says_so(tus, path):
    reply = ask(tus, "GET", path)
    assert (reply.status, json.loads(reply.body)) == (200, {"status": "ok"})
    assert reply.headers["content-type"] == "application/json"
    head = ask(tus, "HEAD", path)
    assert (head.status, head.body) == (200, b"")


def test_metrics_count_what_happened(tus, other):
    assert ask(tus, "GET", "/metrics").headers["content-type"].startswith("text/plain; version=")
    names = ("uploads_created_total", "uploads_stored_total", "uploads_terminated_total", "uploads_bytes_total")
    before = [metric(tus, name) for name in names]
    finished(tus, b"hello")
    tus.delete(tus.create(7))
    after = [metric(tus, name) for name in names]
    assert [new - old for new, old in zip(after, before, strict=True)] == [2, 1, 1, 5]
    path = tus.create(10)
    tus.begin(path, 0, 10)
    time.sleep(0.05)
    assert metric(other, "appends_active") == 1
    tus.send(bytes(10))
    tus.reply()
    assert metric(other, "appends_active") == 0


def test_the_status_document_follows_an_upload_from_receiving_to_stored(tus):
    path = tus.create(10, "a.wav")
    tus.patch(path, 0, b"hello")
    reply = ask(tus, "GET", path + "/status")
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    check_standard(reply)
    found = json.loads(reply.body)
    created = found.pop("created_at")
    assert abs(created - time.time()) < 60
    assert abs(found.pop("expires_at") - created - 86_400) < 60
    nothing = dict.fromkeys(("file_id", "sha256", "key", "url", "error"))
    known = {"id": path.rpartition("/")[2], "length": 10, "media_type": "audio/wav", "attempts": 0}
    assert found == known | nothing | {"status": "receiving", "offset": 5}

    tus.patch(path, 5, b"world")
    sha256 = "936a185caaa266bb9cbe981e9e05cb78cd732b0b3280eb944412bb6f8f8f07af"
    content = {"file_id": sha256[:16], "sha256": sha256, "key": f"audio/{sha256[:16]}.wav"}
    content["url"] = f"http://127.0.0.1:{tus.port}{path}"
    found = json.loads(ask(tus, "GET", path + "/status").body)
    assert found == known | nothing | content | {
        "created_at": created,
        "expires_at": None,
        "status": "stored",
        "offset": 10,
    }


def test_the_status_document_says_that_publishing_failed_and_never_why(tmp_path):
    """D-46: to a client the upload is complete."""
    with Service(tmp_path) as server, Client(server.port) as client:
        (server.store / "images").write_bytes(b"in the way of the folder")
        path = client.create(5, "a.png")
        assert client.patch(path, 0, b"hello").status == 204
        assert client.head(path).offset == 5
        text = ask(client, "GET", path + "/status").body.decode()
        found = json.loads(text)
        assert (found["status"], found["offset"]) == ("received", 5)
        assert found["attempts"] > 0
        assert found["error"] == "It could not be published yet; the server goes on trying."
        assert str(tmp_path) not in text
        shown = server.command("uploads", "show", path.rpartition("/")[2])
        assert "images" in shown.stdout


def test_the_status_document_of_an_unknown_upload_is_404_in_json(tus):
    reply = ask(tus, "GET", UNKNOWN + "/status")
    check_refusal(reply, 404)
    assert json.loads(reply.body) == {"detail": "There is no upload at this address."}


def test_the_status_document_interrupts_nobody(tus, other):
    path = tus.create(10)
    tus.begin(path, 0, 10)
    tus.send(b"hello")
    assert json.loads(ask(other, "GET", path + "/status").body)["status"] == "receiving"
    tus.send(b"world")
    assert tus.reply().offset == 10


def test_a_server_without_space_is_alive_but_not_ready_and_takes_no_upload(full):
    with Client(full.port) as client:
        assert ask(client, "GET", "/health/live").status == 200
        ready = ask(client, "GET", "/health/ready")
        assert ready.status == 503
        (problem,) = json.loads(ready.body)["problems"].items()
        assert problem[0] == "space"
        assert f"less than RESERVE ({4096 * 2**40})" in problem[1]
        before = full.state()
        for body in (b"", b"hello"):
            reply = post(client, "Upload-Length: 5", BODY, body=body)
            check_refusal(reply, 507)
            assert int(reply.headers["retry-after"]) > 0
        assert full.state() == before
        assert full.log.read_text().count("creations and bodies get 507") == 1
        assert ask(client, "HEAD", UNKNOWN, TUS).status == 404


def test_a_server_whose_database_another_process_locks_is_not_ready(guarded):
    with Client(guarded.port) as client, closing(sqlite3.connect(guarded.data / "tusplyr.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        ready = ask(client, "GET", "/health/ready")
        assert (ready.status, list(json.loads(ready.body)["problems"])) == (503, ["ledger"])
        other.rollback()
        assert ask(client, "GET", "/health/ready").status == 200


def test_a_server_whose_spool_is_no_directory_is_not_ready(guarded):
    aside = guarded.data / "aside"
    guarded.spool.rename(aside)
    try:
        guarded.spool.touch()
        with Client(guarded.port) as client:
            ready = ask(client, "GET", "/health/ready")
            assert (ready.status, list(json.loads(ready.body)["problems"])) == (503, ["space"])
    finally:
        guarded.spool.unlink()
        aside.rename(guarded.spool)


def test_uploads_that_fail_are_counted_and_a_warning_but_new_ones_are_taken(guarded):
    bearer = f"Authorization: Bearer {TOKEN}"

    def numbers(client):
        lines = ask(client, "GET", "/metrics", bearer).body.decode().splitlines()
        names = ("waiting", "failing", "stuck")
        return [line.split()[1] for name in names for line in lines if line.startswith(f"tusplyr_uploads_{name} ")]

    def change(text: str) -> None:
        with closing(sqlite3.connect(guarded.data / "tusplyr.db", timeout=10)) as database, database:
            database.execute(f"UPDATE uploads SET {text} WHERE id = ?", (upload_id,))

    with Client(guarded.port) as client:
        upload_id = path_of(post(client, bearer, "Upload-Length: 10").headers["location"]).rpartition("/")[2]
        change("status = 'received', attempts = 2, due_at = 1e12")
        assert json.loads(ask(client, "GET", "/health/ready").body) == {"status": "ok"}
        assert numbers(client) == ["1.0", "0.0", "0.0"]
        for attempts, told, counted in (
            (3, 3, ["1.0", "1.0", "0.0"]),
            (9, 3, ["1.0", "1.0", "0.0"]),
            (10, 10, ["1.0"] * 3),
        ):
            change(f"attempts = {attempts}")
            ready = ask(client, "GET", "/health/ready")
            assert ready.status == 200
            warning = json.loads(ready.body)["warnings"]["publishing"]
            assert warning.startswith(f"1 upload could not be published or assembled {told} times or more")
            assert numbers(client) == counted
        change("status = 'gone', reason = 'terminated'")
        assert numbers(client) == ["0.0", "0.0", "0.0"]


@contextmanager
def without_its_table(server) -> Iterator[None]:
    """Take the table of uploads from a running server, and give it back."""

    def rename(old: str, new: str) -> None:
        with closing(sqlite3.connect(server.data / "tusplyr.db", timeout=10)) as database:
            database.execute(f"ALTER TABLE {old} RENAME TO {new}")

    rename("uploads", "aside")
    try:
        yield
    finally:
        rename("aside", "uploads")


def test_while_the_ledger_is_down_head_is_423_and_all_else_503_and_nobody_reads_why(guarded):
    """D-15: a 5xx on HEAD makes clients start again from byte 0."""
    bearer = f"Authorization: Bearer {TOKEN}"
    with Client(guarded.port) as client:
        path = path_of(post(client, bearer, "Upload-Length: 10").headers["location"])
        with without_its_table(guarded):
            asked = ask(client, "HEAD", path, TUS, bearer)
            check_refusal(asked, 423)
            assert asked.headers["retry-after"] == "1"
            for method in ("PATCH", "DELETE", "GET"):
                body = b"hello" if method == "PATCH" else None
                refused = ask(client, method, path, TUS, bearer, BODY, "Upload-Offset: 0", body=body)
                check_refusal(refused, 503)
                assert refused.body.startswith(b"The server could not do this now;")
            check_refusal(post(client, bearer, "Upload-Length: 10"), 503)
            assert list(json.loads(ask(client, "GET", "/health/ready").body)["problems"]) == ["ledger"]
            assert ask(client, "GET", "/health/live").status == 200
        assert ask(client, "GET", "/health/ready").status == 200
        assert ask(client, "HEAD", path, TUS, bearer).offset == 0

"""A real server whose store is a bucket: killed, stopped and misled in the middle of publishing."""

import fnmatch
import hashlib
import http.client
import random
import signal
import sqlite3
import ssl
import threading
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from rig.elsewhere import MIB, PART, send, server_with, status, wait_for
from rig.r2 import R2, Cut, Fault
from rig.server import Server
from rig.tus import Client

pytestmark = pytest.mark.crash

SHORT = random.Random(1).randbytes(300_000)
LONG = random.Random(2).randbytes(4 * PART + 1)
PARTS = 5
FLYING = 2  # parts that are sent at once
WRONG = "a-secret-that-opens-nothing"
TRIES = 3  # by which boto3 makes a request
GRACE = 4.0  # seconds; platforms kill after 5


CONTENT = "audio/*"  # keys of contents; a server looks at the bucket under another when it starts


def key_of(data: bytes) -> str:
    return f"audio/{hashlib.sha256(data).hexdigest()[:16]}.wav"


def unfinished(r2: R2) -> list[str]:
    """Return the keys of contents under which a transfer has begun and not ended."""
    return [upload.key for upload in r2.bucket().multiparts.values() if fnmatch.fnmatchcase(upload.key, CONTENT)]


def check(r2: R2, *contents: bytes) -> None:
    """Exactly these are in the bucket, whole, and nothing is left unfinished."""
    assert {key: r2.content(key) for key in r2.bucket().objects} == {key_of(data): data for data in contents}
    assert unfinished(r2) == []


CALLS = [
    (SHORT, "PutObject", 1),
    (LONG, "HeadObject", 1),
    (LONG, "CreateMultipartUpload", 1),
    (LONG, "UploadPart", 1),
    (LONG, "UploadPart", 3),
    (LONG, "UploadPart", PARTS),
    (LONG, "CompleteMultipartUpload", 1),
]


@pytest.mark.parametrize("cut", [Cut.BODY, Cut.ANSWER], ids=["not carried out", "carried out"])
@pytest.mark.parametrize(("data", "operation", "nth"), CALLS, ids=[f"{name} {nth}" for _, name, nth in CALLS])
def test_killed_at_a_request_to_the_bucket(tmp_path, data, operation, nth, cut):
    """Afterwards there is exactly one object with the right bytes; only parts that were in flight are sent again."""
    with R2() as r2, server_with(r2, tmp_path) as server:
        told = threading.Event()
        killing = Fault(
            operation=operation, key=CONTENT, nth=nth, cut=cut, strike=lambda _: told.wait() and server.kill()
        )
        r2.inject(killing)
        path = send(server, data)
        told.set()
        assert server.wait_dead(20)
        r2.calm()
        server.start()
        found = wait_for(server, path)
        assert found["attempts"] == 0
        check(r2, data)
        sent = [seen.part for seen in r2.requests("UploadPart")]
        if data is LONG:
            assert set(sent) == set(range(1, PARTS + 1))
            assert len(sent) <= PARTS + FLYING
        server.stop()
        assert server.spooled() == []


ANSWERED = [(SHORT, "PutObject"), (LONG, "CompleteMultipartUpload")]


@pytest.mark.parametrize("pause", [0.0, 0.004, 0.03])
@pytest.mark.parametrize(("data", "operation"), ANSWERED, ids=[name for _, name in ANSWERED])
def test_killed_right_after_the_object_is_there(tmp_path, data, operation, pause):
    """The answer has gone out; somewhere before `stored`, before the journal or the spool is emptied, or behind it."""
    with R2() as r2, server_with(r2, tmp_path) as server:
        path = send(server, data)
        r2.wait(operation, answered=True)
        time.sleep(pause)
        server.kill()
        recovers(r2, server, path, data)


@pytest.mark.parametrize(("data", "operation"), ANSWERED, ids=[name for _, name in ANSWERED])
def test_killed_between_the_object_and_the_row(tmp_path, data, operation):
    """Nothing can be committed from the moment on at which the object is there."""
    with R2() as r2, server_with(r2, tmp_path) as server:
        with closing(sqlite3.connect(database(server), check_same_thread=False, isolation_level=None)) as other:
            r2.inject(Fault(operation=operation, late=True, strike=lambda _: other.execute("BEGIN IMMEDIATE")))
            path = send(server, data)
            r2.wait(operation, answered=True)
            time.sleep(0.2)
            assert status(server, path)["status"] == "received"
            server.kill()
        assert server.spooled() != []
        recovers(r2, server, path, data)


@pytest.mark.parametrize("data", [SHORT, LONG], ids=["short", "long"])
def test_killed_between_stored_and_the_discard_of_the_spool_file(tmp_path, data):
    with R2() as r2, server_with(r2, tmp_path) as server:
        path = send(server, data)
        wait_for(server, path)  # the discard waits for company for a moment
        server.kill()
        recovers(r2, server, path, data)


def recovers(r2: R2, server: Server, path: str, data: bytes) -> None:
    """One object, nothing was sent twice that needs not be, and after a sweep nothing is left of it anywhere."""
    assert r2.content(key_of(data)) == data
    server.start()
    assert wait_for(server, path)["attempts"] == 0
    server.stop()
    assert server.command("sweep").returncode == 0
    check(r2, data)
    assert len(r2.requests("UploadPart")) == (PARTS if data is LONG else 0)
    assert len(r2.requests("CompleteMultipartUpload")) == (1 if data is LONG else 0)
    assert server.spooled() == []
    with closing(sqlite3.connect(database(server))) as rows:
        assert rows.execute("SELECT key FROM transfers UNION SELECT key FROM landed_parts").fetchall() == []


def database(server: Server) -> Path:
    return server.data / "tusplyr.db"


def test_the_log_has_no_signatures_however_much_it_tells(tmp_path):
    with R2() as r2, server_with(r2, tmp_path, LOG_LEVEL="debug") as server:
        wait_for(server, send(server, SHORT))
        wait_for(server, send(server, LONG))
        told = server.log.read_text()
    assert " DEBUG " in told
    assert not any(word in told for word in (r2.access_key, r2.secret, "Signature", "AWS4-HMAC"))


def test_all_that_waits_is_published_soon_after_the_bucket_is_back(tmp_path):
    """Not each when its own time has come: the first that succeeds tells the others."""
    contents = [bytes([number]) * 1000 for number in range(30)]
    with R2() as r2, server_with(r2, tmp_path) as server:
        r2.inject(Fault(operation="PutObject", status=403, code="AccessDenied", times=None))
        paths = [send(server, data) for data in contents]
        while not all(status(server, path)["attempts"] >= 4 for path in paths):  # some wait for 8 s or more now
            time.sleep(0.1)
        r2.calm()
        waiting = [path for path in paths if status(server, path)["status"] == "received"]
        first = time.monotonic()
        for path in waiting:
            wait_for(server, path)
        took = time.monotonic() - first
        assert "the store takes audio/ again" in server.log.read_text()
        assert took < 12
        check(r2, *contents)


def test_a_bucket_that_wants_to_be_left_alone_is(tmp_path):
    with R2() as r2, server_with(r2, tmp_path) as server:
        r2.inject(Fault(operation="PutObject", status=503, code="SlowDown", retry_after="3", times=None))
        paths = [send(server, bytes([number]) * 1000) for number in range(20)]
        r2.wait("PutObject")
        time.sleep(2)
        asked = len(r2.requests("PutObject"))
        assert asked <= 2 * TRIES, "two slots, each with what the client tries by itself"
        r2.calm()
        for path in paths:
            wait_for(server, path)


def begin(server: Server, data: bytes) -> str:
    """Create an upload that declares what it will be; return its path."""
    with Client(server.port) as client:
        return client.create(len(data), "song.wav", sha256=hashlib.sha256(data).hexdigest())


def go_on(server: Server, path: str, data: bytes, upto: int) -> None:
    """Send the next bytes, in bodies of a part each, from where the server is."""
    with Client(server.port) as client:
        while (at := client.head(path).offset) < upto:
            assert client.patch(path, at, data[at : min(at + PART, upto)]).status == 204


def test_parts_are_shipped_while_the_rest_is_still_coming(tmp_path):
    with R2() as r2, server_with(r2, tmp_path) as server:
        path = begin(server, LONG)
        for count in range(1, PARTS):
            go_on(server, path, LONG, count * PART)
            r2.wait("UploadPart", count=count, answered=True)
        assert r2.bucket().objects == {}
        go_on(server, path, LONG, len(LONG))
        wait_for(server, path)
        check(r2, LONG)
        assert sorted(seen.part for seen in r2.requests("UploadPart")) == list(range(1, PARTS + 1))
        assert len(r2.requests(key=key_of(LONG))) == PARTS + 3


def test_nothing_is_shipped_where_it_is_not_to_be(tmp_path):
    with R2() as r2, server_with(r2, tmp_path, OVERLAP="false") as server:
        path = begin(server, LONG)
        go_on(server, path, LONG, len(LONG) - 1)
        assert r2.requests("CreateMultipartUpload", CONTENT) == []
        go_on(server, path, LONG, len(LONG))
        wait_for(server, path)
        check(r2, LONG)


SHIPPED = [("CreateMultipartUpload", 1), ("UploadPart", 1), ("UploadPart", PARTS - 1)]


@pytest.mark.parametrize("cut", [Cut.BODY, Cut.ANSWER], ids=["not carried out", "carried out"])
@pytest.mark.parametrize(("operation", "nth"), SHIPPED, ids=[f"{name} {nth}" for name, nth in SHIPPED])
def test_killed_while_it_is_shipped(tmp_path, operation, nth, cut):
    """The client goes on where it was told, and only parts that were in flight are sent again."""
    upto = (PARTS - 1) * PART
    with R2() as r2, server_with(r2, tmp_path) as server:
        path = begin(server, LONG)
        told = threading.Event()
        killing = Fault(
            operation=operation, key=CONTENT, nth=nth, cut=cut, strike=lambda _: told.wait() and server.kill()
        )
        r2.inject(killing)
        go_on(server, path, LONG, upto)
        told.set()
        assert server.wait_dead(20)
        r2.calm()
        server.start()
        with Client(server.port) as client:
            assert client.head(path).offset == upto
        go_on(server, path, LONG, len(LONG))
        assert wait_for(server, path)["attempts"] == 0
        check(r2, LONG)
        sent = [seen.part for seen in r2.requests("UploadPart")]
        assert set(sent) == set(range(1, PARTS + 1))
        assert len(sent) <= PARTS + FLYING


def test_what_was_shipped_of_an_upload_that_never_ends_is_swept(tmp_path):
    with R2() as r2, server_with(r2, tmp_path) as server:
        path = begin(server, LONG)
        go_on(server, path, LONG, 2 * PART)
        r2.wait("UploadPart", count=2, answered=True)
        server.stop()
        assert server.command("sweep").returncode == 0
        assert len(unfinished(r2)) == 1, "its client may come back"
        server.start()
        with Client(server.port) as client:
            assert client.delete(path).status == 204
        server.stop()
        assert server.command("sweep").returncode == 0
        check(r2)


def test_what_was_shipped_of_a_content_that_is_another_than_declared_is_never_read(tmp_path):
    lie = LONG[:-1] + bytes([LONG[-1] ^ 1])
    with R2() as r2, server_with(r2, tmp_path) as server:
        path = begin(server, LONG)
        go_on(server, path, lie, 4 * PART)
        r2.wait("UploadPart", count=4, answered=True)
        with Client(server.port) as client:
            assert client.patch(path, 4 * PART, lie[4 * PART :]).status == 460
            assert client.head(path).status == 410
        honest = send(server, LONG)
        wait_for(server, honest)
        check(r2, LONG)


def test_a_client_is_told_at_once_and_head_depends_on_the_ledger_alone(tmp_path):
    with R2() as r2, server_with(r2, tmp_path) as server:
        gate = threading.Event()
        r2.inject(Fault(gate=gate, times=None))
        path = send(server, SHORT)
        with Client(server.port) as client:
            assert client.head(path).offset == len(SHORT)
            assert client.request("GET", path).status == 409
        assert status(server, path)["status"] == "received"
        gate.set()
        wait_for(server, path)
        check(r2, SHORT)


def test_a_reply_may_wait_for_stored(tmp_path):
    with R2() as r2, server_with(r2, tmp_path, WAIT_FOR_STORED="30s") as server:
        path = send(server, SHORT)
        assert status(server, path)["status"] == "stored"
        check(r2, SHORT)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"S3_SECRET_ACCESS_KEY": WRONG}, "the secret key is wrong"),
        ({"S3_BUCKET": "nothing"}, "there is no such bucket"),
        ({"S3_REGION": "eu-west-1"}, "the region is wrong"),
    ],
    ids=["credentials", "bucket", "region"],
)
def test_a_bucket_that_cannot_be_used_keeps_nobody_from_uploading(tmp_path, wrong, said):
    """What is wrong is in the log from the start; once it is put right, all that has come in is published."""
    with R2() as r2:
        with server_with(r2, tmp_path, **wrong) as server:
            path = send(server, SHORT)
            while not status(server, path)["attempts"]:
                time.sleep(0.05)
            assert status(server, path)["status"] == "received"
            first, *_ = [line for line in server.log_tail().splitlines() if " ERROR " in line]
            assert said in first
            log = server.log.read_text()
            assert WRONG not in log
            assert r2.secret not in log
            server.stop()
        right = server_with(r2, tmp_path)
        assert right.command("uploads", "retry", "--all").returncode == 0  # the next attempt may be minutes away
        with right:
            wait_for(right, path)
            check(r2, SHORT)


def test_a_bucket_that_is_away_and_comes_back(tmp_path):
    with R2() as r2, server_with(r2, tmp_path) as server:
        r2.down()
        paths = [send(server, SHORT), send(server, LONG)]
        while not all(status(server, path)["attempts"] for path in paths):
            time.sleep(0.05)
        with Client(server.port) as client:
            assert client.request("GET", "/health/ready").status == 200
        r2.up()
        done = server.command("uploads", "retry", "--all")
        assert [line.partition(" ")[2] for line in done.stdout.splitlines()] in (["is due now"] * 2, ["is due now"])
        for path in paths:
            wait_for(server, path)
        check(r2, SHORT, LONG)


def test_delete_in_the_middle_of_a_transfer_ends_it_and_leaves_nothing(tmp_path):
    with R2(rate=MIB) as r2, server_with(r2, tmp_path) as server:
        path = send(server, LONG)
        r2.wait("UploadPart")
        with Client(server.port) as client:
            assert client.delete(path).status == 204
            assert client.head(path).status == 404
        r2.pace.rate = None
        again = send(server, LONG)  # the same content is a new upload, and begins anew
        wait_for(server, again)
        check(r2, LONG)


def test_what_a_deleted_upload_has_begun_is_swept(tmp_path):
    with R2(rate=MIB) as r2, server_with(r2, tmp_path) as server:
        path = send(server, LONG)
        r2.wait("UploadPart")
        with Client(server.port) as client:
            assert client.delete(path).status == 204
        server.stop()
        assert len(unfinished(r2)) == 1
        r2.pace.rate = None
        assert server.command("sweep").returncode == 0
        check(r2)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_deploy_interrupts_a_transfer_which_counts_no_attempt(tmp_path, how):
    with R2(rate=MIB) as r2, server_with(r2, tmp_path) as server:
        path = send(server, LONG)
        r2.wait("UploadPart")
        assert server.stop(how) < GRACE
        r2.pace.rate = None
        server.start()
        assert wait_for(server, path)["attempts"] == 0
        check(r2, LONG)


def test_a_bucket_that_says_nothing_does_not_delay_the_end(tmp_path):
    with R2() as r2, server_with(r2, tmp_path, WAIT_FOR_STORED="60s") as server:
        r2.inject(Fault(operation="PutObject", gate=threading.Event(), times=None))
        with Client(server.port) as client:
            client.head_of("POST", "/files", {"Tus-Resumable": "1.0.0", "Upload-Length": str(len(SHORT)),
                           "Upload-Metadata": "filename c29uZy53YXY=", "Content-Length": str(len(SHORT)),
                           "Content-Type": "application/offset+octet-stream"})  # fmt: skip
            client.send(SHORT)
            r2.wait("PutObject")
            assert server.stop() < GRACE
            reply = client.reply()
            assert reply.status == 201  # it was received, and that is what it was told
        r2.calm()
        server.start()
        wait_for(server, reply.headers["location"].partition(str(server.port))[2])
        check(r2, SHORT)


@pytest.mark.parametrize("operation", ["PutObject", "CompleteMultipartUpload"])
def test_delete_while_the_bucket_says_nothing_is_answered_all_the_same(tmp_path, operation):
    data = SHORT if operation == "PutObject" else LONG
    with R2() as r2, server_with(r2, tmp_path) as server:
        gate = threading.Event()
        r2.inject(Fault(operation=operation, gate=gate, times=None))
        path = send(server, data)
        r2.wait(operation)
        began = time.monotonic()
        with Client(server.port) as client:
            assert client.delete(path).status == 204
        assert time.monotonic() - began < GRACE
        again = send(server, data)
        gate.set()
        wait_for(server, again)
        assert r2.content(key_of(data)) == data


def test_two_uploads_of_the_same_content_at_once_are_one_object(tmp_path):
    with R2() as r2, server_with(r2, tmp_path, PUBLISH_SLOTS=4) as server:
        paths = [send(server, LONG) for _ in range(3)]
        for path in paths:
            wait_for(server, path)
        check(r2, LONG)
        assert len(r2.requests("CreateMultipartUpload", CONTENT)) == 1


def test_readers_are_served_from_here_or_sent_to_the_bucket(tmp_path):
    with R2() as r2:
        with server_with(r2, tmp_path) as server:
            path = send(server, LONG)
            wait_for(server, path)
            with Client(server.port) as client:
                part = client.request("GET", path, {"Range": f"bytes={PART - 3}-{PART + 2}"})
                assert (part.status, part.body) == (206, LONG[PART - 3 : PART + 3])
                assert client.request("GET", path).body == LONG
            server.stop()
        with server_with(r2, tmp_path, DOWNLOADS="redirect") as server, Client(server.port) as client:
            reply = client.request("GET", path)
            assert (reply.status, every(server, path, "cache-control")) == (307, ["no-store"])
            assert fetched(r2, reply.headers["location"]) == LONG
            server.stop()
        public = "https://cdn.example.org"
        third = server_with(r2, tmp_path, DOWNLOADS="redirect", S3_PUBLIC_URL=public)
        with third as server, Client(server.port) as client:
            assert client.request("GET", path).headers["location"] == f"{public}/{key_of(LONG)}"


def every(server: Server, path: str, name: str) -> list[str] | None:
    """Return each of the fields of that name in the answer to a GET."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request("GET", path)
    found = connection.getresponse().headers.get_all(name)
    connection.close()
    return found


def fetched(r2: R2, url: str) -> bytes:
    parts = urlsplit(url)
    context = ssl.create_default_context(cafile=r2.ca)
    connection = http.client.HTTPSConnection(parts.hostname or "", parts.port, context=context)
    connection.request("GET", f"{parts.path}?{parts.query}")
    answer = connection.getresponse()
    assert answer.status == 200
    body = answer.read()
    connection.close()
    return body


def test_verify_reads_the_bucket(tmp_path):
    with R2() as r2, server_with(r2, tmp_path) as server:
        for data in (SHORT, LONG):
            wait_for(server, send(server, data))
        done = server.command("verify")
        assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "2 objects checked, 0 wrong")
        r2.bucket().objects[key_of(LONG)] = r2.bucket().objects[key_of(SHORT)]
        done = server.command("verify")
        assert done.returncode == 1
        assert f"{key_of(LONG)}: has other content" in done.stdout
        del r2.bucket().objects[key_of(LONG)]
        assert f"{key_of(LONG)}: is in the ledger, but not in the store" in server.command("verify").stdout

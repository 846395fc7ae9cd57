"""GET on an upload: ranges, validators, and names that nobody should trust."""

import hashlib
import os
import sys
import time
from email.message import Message
from pathlib import Path
from urllib.parse import unquote

import pytest

from rig.tus import Client
from web.service import (
    BODY,
    MIB,
    TOKEN,
    TUS,
    UNKNOWN,
    ask,
    check_refusal,
    check_standard,
    encoded,
    finished,
    post,
    spell,
)

CONTENT = bytes(range(256)) * 4
ETAG = '"785b0751fc2c53dc14a4ce3d800e69ef9ce1009eb327ccf458afe09c242c26c9"'


@pytest.fixture(scope="module")
def song(service):
    """The path of a stored upload of 1 KiB."""
    with Client(service.port) as client:
        return finished(client, CONTENT, "song.wav")


def test_the_whole_content_comes_back_as_an_attachment(tus, song):
    reply = ask(tus, "GET", song)
    assert (reply.status, reply.body) == (200, CONTENT)
    check_standard(reply)
    expected = {
        "content-length": "1024",
        "content-type": "audio/wav",
        "etag": ETAG,
        "accept-ranges": "bytes",
        "repr-digest": "sha-256=:eFsHUfwsU9wUpM49gA5p75zhAJ6zJ8z0WK/gnCQsJsk=:",
        "content-disposition": "attachment; filename=\"song.wav\"; filename*=UTF-8''song.wav",
        "x-content-type-options": "nosniff",
        "content-security-policy": "sandbox",
    }
    assert {name: reply.headers[name] for name in expected} == expected
    assert reply.headers["last-modified"].endswith(" GMT")


@pytest.mark.parametrize(
    ("asked", "first", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=1000-", 1000, 1024),
        ("bytes=1000-5000", 1000, 1024),
        ("bytes=-24", 1000, 1024),
        ("bytes=-5000", 0, 1024),
        ("bytes=0-9223372036854775807", 0, 1024),
        ("bytes=0-9999999999999999999", 0, 1024),
    ],
)
def test_one_range_is_206(tus, song, asked, first, end):
    reply = ask(tus, "GET", song, f"Range: {asked}")
    assert (reply.status, reply.body) == (206, CONTENT[first:end])
    assert reply.headers["content-range"] == f"bytes {first}-{end - 1}/1024"
    assert reply.headers["content-length"] == str(end - first)
    assert reply.headers["etag"] == ETAG


@pytest.mark.parametrize("asked", ["bytes=1024-", "bytes=5000-6000", "bytes=-0", "bytes=9223372036854775808-"])
def test_a_range_beyond_the_end_is_416(tus, song, asked):
    reply = ask(tus, "GET", song, f"Range: {asked}")
    assert (reply.status, reply.body, reply.headers["content-range"]) == (416, b"", "bytes */1024")
    check_standard(reply)


@pytest.mark.parametrize(
    "lines",
    [
        ("Range: bytes=0-1,5-6",),
        ("Range: bytes=5-1",),
        ("Range: bytes=-",),
        ("Range: bytes=a-b",),
        ("Range: bytes=+1-5",),
        ("Range: bytes=\xb2-",),
        ("Range: lines=0-1",),
        ("Range: ",),
        ("Range: bytes=" + "9" * 5000 + "-",),
        ("Range: bytes=0-" + "9" * 5000,),
        ("Range: bytes=0-1", "Range: bytes=2-3"),
    ],
)
def test_a_range_that_is_not_understood_is_ignored(tus, song, lines):
    reply = ask(tus, "GET", song, *lines)
    assert (reply.status, reply.body) == (200, CONTENT)
    assert "content-range" not in reply.headers


@pytest.mark.parametrize(
    ("value", "status"),
    [
        (ETAG, 304),
        (f'"x",{ETAG}', 304),
        (f'"x" ,  {ETAG}', 304),
        (f"W/{ETAG}", 304),
        ("*", 304),
        ('"x"', 200),
        ("", 200),
        (ETAG.strip('"'), 200),
    ],
)
def test_a_copy_that_is_still_good_is_304(tus, song, value, status):
    reply = ask(tus, "GET", song, f"If-None-Match: {value}")
    assert (reply.status, reply.body) == (status, b"" if status == 304 else CONTENT)
    assert reply.headers["etag"] == ETAG
    check_standard(reply)
    assert ask(tus, "GET", song).status == 200, "the connection is in step"


def test_several_lines_of_if_none_match_count_as_one_list(tus, song):
    assert ask(tus, "GET", song, 'If-None-Match: "x"', f"If-None-Match: {ETAG}").status == 304


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ((ETAG,), 206),
        (('"x"',), 200),
        ((f"W/{ETAG}",), 200),
        (("Mon, 01 Jan 2001 00:00:00 GMT",), 200),
        ((ETAG, "x"), 200),
    ],
)
def test_a_range_is_only_for_those_who_have_the_same_content(tus, song, values, status):
    reply = ask(tus, "GET", song, "Range: bytes=0-9", *(f"If-Range: {value}" for value in values))
    assert (reply.status, reply.body) == (status, CONTENT[:10] if status == 206 else CONTENT)


@pytest.mark.parametrize(
    ("name", "shown", "exact"),
    [
        ("../../etc/passwd", "passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini", "boot.ini"),
        ('a"; filename="b.exe', "a_; filename=_b.exe", 'a"; filename="b.exe'),
        ("a\r\nSet-Cookie: x=1", "a__Set-Cookie: x=1", "a\r\nSet-Cookie: x=1"),
        ("a\x00b", "a_b", "a\x00b"),
        ("caf\u00e9 \U0001f3b5.wav", "caf_ _.wav", "caf\u00e9 \U0001f3b5.wav"),
        (b"\xff\xfe.wav", "__.wav", "\ufffd\ufffd.wav"),
        ("100%41.wav", "100_41.wav", "100%41.wav"),
        ("\u202egpj.exe", "_gpj.exe", "\u202egpj.exe"),
        ("folder/", "download", "download"),
        ("..", "download", "download"),
        ("a" * 4000, "a" * 4000, "a" * 4000),
    ],
)
def test_a_hostile_name_reaches_neither_a_header_nor_a_path_raw(service, tus, name, shown, exact):  # MD-07
    path = finished(tus, b"content of a hostile name", name)
    reply = ask(tus, "GET", path)
    assert (reply.status, reply.body) == (200, b"content of a hostile name")
    assert "set-cookie" not in reply.headers
    disposition = reply.headers["content-disposition"]
    assert disposition.isascii()
    assert disposition.isprintable()
    parsed = Message()
    parsed["content-disposition"] = disposition
    assert parsed.get_content_disposition() == "attachment"
    assert unquote(disposition.rpartition("filename*=UTF-8''")[2]) == exact
    assert disposition.startswith(f'attachment; filename="{shown}"; filename*=')
    folders = {file.parent.name for file in service.stored()}
    assert folders <= {"audio", "images", "files"}
    for file in [*service.spooled(), *service.stored()]:
        assert file.name.partition(".")[0].isalnum()
        assert file.name.isascii()


def test_a_page_is_never_served_as_one(tus):
    reply = ask(tus, "GET", finished(tus, b"<script>alert(1)</script>", "page.html"))
    assert reply.headers["content-type"] == "application/octet-stream"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["content-disposition"].startswith("attachment;")


def test_content_that_is_still_coming_in_is_409_with_retry_after(tus):
    path = tus.create(10)
    tus.patch(path, 0, b"hello")
    reply = ask(tus, "GET", path)
    check_refusal(reply, 409)
    assert int(reply.headers["retry-after"]) > 0


def test_content_that_is_received_and_not_yet_stored_is_409_with_retry_after(service, tus):
    """The folder of the key is taken by a file, so publishing fails."""
    name = encoded("later.png")
    folder, aside = service.store / "images", service.store / "images-aside"
    if folder.exists():
        folder.rename(aside)
    folder.touch()
    try:
        path = "/files/" + post(tus, "Upload-Length: 5", f"Upload-Metadata: filename {name}").headers["location"][-32:]
        assert tus.patch(path, 0, b"later").offset == 5, "the bytes are durable, so it is not the client's problem"
        reply = ask(tus, "GET", path)
        check_refusal(reply, 409)
        assert int(reply.headers["retry-after"]) > 0
        assert tus.head(path).offset == 5
        assert tus.delete(path).status == 204
    finally:
        folder.unlink()
        if aside.exists():
            aside.rename(folder)


def test_an_object_that_somebody_deleted_is_410_and_the_upload_still_answers(service, tus):
    path = finished(tus, b"deleted by hand")
    missing = next(file for file in service.stored() if file.read_bytes() == b"deleted by hand")
    missing.unlink()
    check_refusal(ask(tus, "GET", path), 410)
    head = tus.head(path)
    assert head.offset == 15
    etag = f'"{hashlib.sha256(b"deleted by hand").hexdigest()}"'
    assert ask(tus, "GET", path, f"If-None-Match: {etag}").status == 304, "the store is not asked for what is known"


def test_an_object_that_was_damaged_is_never_passed_off_as_whole(guarded):
    bearer = f"Authorization: Bearer {TOKEN}"
    with Client(guarded.port) as client:
        made = post(client, bearer, "Upload-Length: 20", BODY, body=b"will be cut in half!")
        (file,) = [file for file in guarded.stored() if file.read_bytes() == b"will be cut in half!"]
        file.write_bytes(b"will be cut")
        refused = ask(client, "GET", "/files/" + made.headers["location"][-32:], bearer)
        check_refusal(refused, 503)
        assert file.name.encode() not in refused.body
        assert ask(client, "GET", "/health/ready").status == 200


@pytest.mark.parametrize("lines", [(), (TUS,)])
def test_an_unknown_upload_is_404(tus, lines):
    check_refusal(ask(tus, "GET", UNKNOWN, *lines), 404)


def test_a_large_content_arrives_whole(tus):
    content = os.urandom(MIB) * 20
    path = finished(tus, content)
    assert ask(tus, "GET", path).body == content
    assert ask(tus, "GET", path, "Range: bytes=1048575-").body == content[MIB - 1 :]


@pytest.mark.skipif(sys.platform != "linux", reason="counts what the process has read in /proc")
def test_nothing_more_is_read_for_a_reader_who_has_left(service, tus, other):
    def read() -> int:
        return int(Path(f"/proc/{service.pid}/io").read_text().split()[1])

    path = finished(tus, bytes(60 * MIB))
    before = read()
    other.send(spell(other, "GET", path))
    assert other.socket.recv(1000).startswith(b"HTTP/1.1 200 ")
    other.reset()
    at = -1
    while at != (at := read()):
        time.sleep(0.3)
    assert at - before < 40 * MIB
    assert ask(tus, "GET", path, "Range: bytes=0-9").body == bytes(10)


def test_a_get_that_brings_a_body_is_answered_all_the_same(tus, song):
    assert ask(tus, "GET", song, body=b"surprise").body == CONTENT
    assert ask(tus, "GET", song).status == 200

"""What nobody should send: every refusal is exact, and nothing changes (ids C-02, C-03, CR-09, MD-07, D-47, D-48)."""

import json
import time

import pytest

from rig.tus import Client
from web.service import (
    BODY,
    TUS,
    UNKNOWN,
    ask,
    check_refusal,
    check_standard,
    coded,
    encoded,
    finished,
    patch,
    post,
    spell,
)

NOT_INTEGERS = [
    *("-1", "+3", "+0", "1_0", "1 0", "1,0", "1.5", "1e3", "0x10", "abc", "", "NaN", "None", "1;", "1\t2"),
    "\u0663".encode().decode("latin-1"),  # ARABIC-INDIC DIGIT THREE, in UTF-8
    "\xb2",  # SUPERSCRIPT TWO
    "\xa05",  # NO-BREAK SPACE
]
BEYOND = [str(2**63), str(2**64), "99999999999999999999", "9" * 5000]  # more than 63 bits


@pytest.mark.parametrize("value", NOT_INTEGERS, ids=lambda value: f"C-02 D-08 D-48 {value!r}")
def test_an_offset_that_is_no_integer_is_400(service, tus, value):
    path = tus.create(10)
    before = service.state()
    check_refusal(patch(tus, path, value), 400)
    assert tus.head(path).offset == 0
    assert service.state() == before


@pytest.mark.parametrize("value", BEYOND, ids=lambda value: f"C-02 D-08 D-48 {value[:20]}")
def test_an_offset_beyond_63_bits_is_400(service, tus, value):
    path = tus.create(10)
    before = service.state()
    check_refusal(patch(tus, path, value), 400)
    assert service.state() == before


@pytest.mark.parametrize("value", NOT_INTEGERS, ids=lambda value: f"C-03 D-19 D-48 {value!r}")
def test_a_length_that_is_no_integer_is_400(service, tus, value):
    before = service.state()
    check_refusal(post(tus, f"Upload-Length: {value}", BODY, body=b"hello"), 400)
    assert service.state() == before


@pytest.mark.parametrize("value", BEYOND, ids=lambda value: f"CR-09 {value[:20]}")
def test_a_length_beyond_63_bits_is_413(service, tus, value):
    before = service.state()
    check_refusal(post(tus, f"Upload-Length: {value}"), 413)
    assert service.state() == before


def test_blanks_around_an_integer_belong_to_the_header_and_not_to_it(tus):
    path = "/files/" + post(tus, "Upload-Length: \t 5  ").headers["location"][-32:]
    assert patch(tus, path, " \t0 ").offset == 1


@pytest.mark.parametrize(
    ("method", "lines"),
    [
        pytest.param("POST", ("Upload-Length: 5", "Upload-Length: 6"), id="D-47 Upload-Length"),
        pytest.param("POST", ("Upload-Length: 5", "Tus-Resumable: 0.2.2"), id="D-47 Tus-Resumable"),
        pytest.param("POST", ("Upload-Length: 5", BODY, "Content-Type: text/plain"), id="Content-Type"),
        pytest.param("PATCH", (BODY, "Upload-Offset: 0", "Upload-Offset: 1"), id="D-47 Upload-Offset"),
        pytest.param("PATCH", (BODY, "Upload-Offset: 0", "Upload-Offset: "), id="D-47 Upload-Offset empty"),
        pytest.param("PATCH", ("Upload-Offset: 0", "Content-Type: text/plain", BODY), id="D-47 Content-Type"),
        pytest.param("PATCH", (BODY, "Upload-Offset: 0, 0"), id="D-47 a list"),
    ],
)
def test_a_header_that_comes_twice_and_differs_is_400(service, tus, method, lines):
    path = "/files" if method == "POST" else tus.create(5)
    before = service.state()
    check_refusal(ask(tus, method, path, TUS, *lines, body=b"x"), 400)
    assert service.state() == before


def test_a_header_that_comes_twice_and_agrees_is_one(tus):
    reply = post(tus, TUS, "Upload-Length: 5", "Upload-Length: 5")
    assert patch(tus, "/files/" + reply.headers["location"][-32:], 0, "Upload-Offset: 0").offset == 1


@pytest.mark.parametrize(
    "name",
    [
        *(
            "x",
            "0" * 31,
            "0" * 33,
            "g" * 32,
            "A" * 32,
            "00000000-0000-0000-0000-000000000000",
            "%20",
            "*",
            "'",
            "a?b=/c",
        ),
        *("..%2f..%2fetc%2fpasswd", "%2e%2e", "..", ".", "%00", "0" * 32 + "%00", "0" * 32 + "%0a", "%0d%0aX:%20y"),
        *("%ff%fe", "%F0%9F%8E%B5", "%e2%80%8b", "%zz", "%", "{upload_id}", "tusplyr.db", "-1", "1'%20OR%20'1'='1"),
        *("a" * 60_000, "%30" * 32 + "0", "0" * 32 + "/x", "0" * 32 + "/status/", "0" * 32 + "%2fstatus"),
    ],
    ids=lambda name: name[:40],
)
def test_an_id_that_is_none_is_404_on_every_method(service, tus, name):
    before = service.state()
    path = f"/files/{name}"
    for method in ("HEAD", "GET", "PATCH", "DELETE"):
        body = b"hello" if method == "PATCH" else None
        reply = ask(tus, method, path, TUS, BODY, "Upload-Offset: 0", body=body)
        if reply.status == 405:
            assert "status" in name, "only the status document has fewer methods"
        else:
            check_refusal(reply, 404)
        check_standard(reply)
        assert b"passwd" not in reply.body
    assert service.state() == before


def test_an_id_in_upper_case_is_not_the_upload(tus):
    path = tus.create(5)
    check_refusal(ask(tus, "HEAD", path[:-32] + path[-32:].upper() + "A", TUS), 404)


def test_odd_spellings_of_the_collection_are_the_collection(tus):
    for path in ("/files/", "//files", "/files?a=b", "/f%69les", "///files//"):
        reply = ask(tus, "POST", path, TUS, "Upload-Length: 5")
        assert reply.status == 201
        check_standard(reply)


@pytest.mark.parametrize("host", ["x:99999", "x:y", "[", "]", "[x]:1", "%"])
@pytest.mark.parametrize(("method", "path", "status"), [("PUT", "/files", 405), ("HEAD", "/files/a/b", 404)])
def test_an_odd_host_changes_no_refusal(tus, host, method, path, status):
    check_refusal(ask(tus, method, path, TUS, f"Host: {host}"), status)


@pytest.mark.parametrize("method", ["PROPFIND", "TRACE", "MKCOL", "LINK", "PUT"])
def test_a_method_of_somebody_else_is_405(tus, method):
    check_refusal(ask(tus, method, UNKNOWN, TUS), 405)


HOSTILE_NAMES = [
    *("../../../etc/passwd", "..\\..\\x.wav", "a\x00.wav", "a\r\nX-Evil: 1.wav", '".wav', "\U0001f3b5.wav", ".wav"),
    *("a.wav/", "a.wav/../../b", "CON.wav", "a" * 5000 + ".wav", "a.WAV", "a.wav\n", "a.w\x00av", "a.php;.wav"),
    *(b"\xff\xfe\xfd.wav", b"\xed\xa0\x80.wav", "${x}.wav", "`id`.wav", "%2e%2e%2fa.wav", "a.wav.", " .wav"),
]


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=ascii)
def test_a_hostile_name_never_becomes_a_path_or_a_line_of_a_response(service, tus, name):
    """MD-07, MD-11."""
    content = b"content of " + repr(name).encode()
    path = finished(tus, content, name)
    for reply in (tus.head(path), ask(tus, "GET", path)):
        assert reply.status == 200
        assert "x-evil" not in reply.headers
    assert tus.head(path).headers["upload-metadata"] == f"filename {encoded(name)}"
    key = json.loads(ask(tus, "GET", path + "/status").body)["key"]
    folder, _, file = key.partition("/")
    assert (folder, file[16:]) in {("audio", ".wav"), ("files", "")}
    assert int(file[:16], 16) >= 0
    assert (service.store / key).read_bytes() == content


# Framing


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Length: +5",),
        ("Content-Length: -5",),
        ("Content-Length: 5", "Content-Length: 6"),
        ("Content-Length: 5", "Transfer-Encoding: chunked"),
        ("Content-Length: 99999999999999999999999",),
        ("Transfer-Encoding: gzip",),
        ("Transfer-Encoding: xchunked",),
        ("X-Control: a\x01b",),
        ("No colon",),
        ("Bad name: x",),
    ],
    ids=" & ".join,
)
def test_framing_that_is_wrong_is_400_and_the_connection_ends(service, tus, lines):
    path = tus.create(10)
    before = service.state()
    tus.send(spell(tus, "PATCH", path, TUS, BODY, "Upload-Offset: 0", *lines) + b"hello")
    assert tus.reply().status == 400
    assert tus.socket.recv(1) == b""
    assert service.state() == before


def settled(client: Client, path: str, *offsets: int) -> int:
    """Wait until the upload is at one of these offsets, without interrupting whoever appends."""
    deadline = time.monotonic() + 3
    while (offset := json.loads(ask(client, "GET", path + "/status").body)["offset"]) not in offsets:
        assert time.monotonic() < deadline, offset
        time.sleep(0.02)
    return offset


@pytest.mark.parametrize(
    ("broken", "kept"), [(b"zz\r\nhello", 3), (b"5\r\nhelloXX5\r\n", 8), (b"-1\r\n", 3), (b"f" * 17 + b"\r\n", 3)]
)
def test_chunked_coding_that_breaks_keeps_what_came_before_it(tus, other, broken, kept):
    path = tus.create(10)
    tus.send(spell(tus, "PATCH", path, TUS, BODY, "Upload-Offset: 0", "Transfer-Encoding: chunked"))
    tus.send(coded(b"abc") + broken)
    assert tus.reply().status == 400
    assert settled(other, path, kept) == other.head(path).offset


def test_a_body_longer_than_its_content_length_is_the_next_request_and_not_part_of_the_upload(tus, other):
    path = tus.create(10)
    tus.send(spell(tus, "PATCH", path, TUS, BODY, "Upload-Offset: 0", "Content-Length: 5") + b"helloGARBAGE\r\n\r\n")
    assert tus.reply().status in {204, 400}, "what follows is no request, which ends the connection"
    assert settled(other, path, 5, 10) == 5

"""Checksums in the head and behind the body, and declared digests, over the wire."""

import base64
import hashlib
import json

import pytest

from rig.tus import Client, Reply, path_of
from web.service import BODY, TOKEN, TUS, ask, check_refusal, coded, encoded, interim, patch, post, spell

HELLO = b"hello"
AUTHORIZED = f"Authorization: Bearer {TOKEN}"
SHA256 = hashlib.sha256(HELLO).hexdigest()
ALGORITHMS = ["sha256", "sha1", "sha512", "md5"]


def checksum(data: bytes, algorithm: str = "sha1") -> str:
    return f"Upload-Checksum: {algorithm} {encoded(hashlib.new(algorithm, data).digest())}"


def trailing(client: Client, path: str, *trailers: str, lines: tuple[str, ...] = (), body: bytes = HELLO) -> Reply:
    """A PATCH in chunked coding with fields behind its body."""
    lines = (TUS, BODY, "Upload-Offset: 0", "Transfer-Encoding: chunked", "Trailer: Upload-Checksum", *lines)
    end = "\r\n".join(["0", *trailers, "", ""]).encode()
    client.send(spell(client, "PATCH", path, *lines) + coded(body) + end)
    return client.reply()


def test_checksums_are_advertised(tus):
    """CK-01, CK-02, CT-01."""
    headers = ask(tus, "OPTIONS", "/files").headers
    assert {"checksum", "checksum-trailer"} <= {*headers["tus-extension"].split(",")}
    assert headers["tus-checksum-algorithm"].split(",") == ALGORITHMS


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_body_that_matches_is_kept(tus, algorithm):
    """CK-03, CK-05, CK-06, D-30."""
    path = tus.create(10)
    for offset in (0, 5):
        reply = patch(tus, path, offset, checksum(HELLO, algorithm), body=HELLO)
        assert (reply.status, reply.offset) == (204, offset + 5)
    assert ask(tus, "GET", path).body == HELLO * 2


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_body_that_does_not_match_is_460_and_nothing_changes(service, tus, algorithm):
    """CK-08, D-31."""
    path = tus.create(10)
    assert patch(tus, path, 0, body=HELLO).status == 204
    before, stored = tus.head(path), service.stored()
    reply = patch(tus, path, 5, checksum(HELLO, algorithm), body=b"wrong")
    check_refusal(reply, 460)
    assert service.stored() == stored, "what was not verified is not published"
    assert tus.head(path).headers | {"date": ""} == before.headers | {"date": ""}
    assert patch(tus, path, 5, checksum(HELLO, algorithm), body=HELLO).status == 204
    assert ask(tus, "GET", path).body == HELLO * 2


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("crc99 qvTGHdzF6KLavt4PO0gs2a6pQ00=", id="CK-07"),
        pytest.param("SHA1 qvTGHdzF6KLavt4PO0gs2a6pQ00=", id="CK-04"),
        pytest.param("sha1", id="CK-09"),
        pytest.param("sha1 !!!", id="CK-09"),
        pytest.param("sha1 AAAA", id="CK-09 length"),
        pytest.param("", id="CK-09 empty"),
    ],
)
def test_a_checksum_that_cannot_be_verified_is_refused_before_the_body(service, tus, value):
    """CK-07: no 100 Continue either."""
    path = tus.create(5)
    before = service.state()
    lines = (TUS, BODY, "Upload-Offset: 0", "Content-Length: 5", "Expect: 100-continue", f"Upload-Checksum: {value}")
    tus.send(spell(tus, "PATCH", path, *lines))
    assert interim(tus).startswith(b"HTTP/1.1 400 ")
    check_refusal(tus.reply(), 400)
    assert service.state() == before


def test_a_cut_leaves_nothing_of_a_body_under_a_checksum(tus, other):
    """CK-10, CK-11."""
    path = tus.create(1_000_000)
    head = (TUS, BODY, "Upload-Offset: 0", "Content-Length: 1000000", checksum(bytes(1_000_000)))
    tus.send(spell(tus, "PATCH", path, *head) + bytes(900_000))
    assert ask(other, "HEAD", path).offset == 0  # a monitor: it interrupts nobody
    tus.close()
    assert other.head(path).offset == 0
    assert patch(other, path, 0, checksum(bytes(1_000_000)), body=bytes(1_000_000)).status == 204


def test_a_checksum_of_nothing_on_an_empty_body(tus):
    """CK-12."""
    path = tus.create(5)
    assert patch(tus, path, 0, checksum(b""), body=b"").status == 204
    check_refusal(patch(tus, path, 0, checksum(b"x"), body=b""), 460)


def test_a_creation_with_a_checksum(service, tus):
    """CK-13."""
    reply = post(tus, "Upload-Length: 5", BODY, checksum(HELLO), body=HELLO)
    assert (reply.status, reply.offset) == (201, 5)
    spooled = service.spooled()
    check_refusal(post(tus, "Upload-Length: 5", BODY, checksum(HELLO), body=b"world"), 460)
    check_refusal(post(tus, "Upload-Length: 5", BODY, "Upload-Checksum: sha1 x", body=b"world"), 400)
    check_refusal(post(tus, "Upload-Length: 5", checksum(HELLO), body=HELLO), 400)
    assert service.spooled() == spooled


def test_a_checksum_behind_the_body(tus):
    """CT-02."""
    path = tus.create(10)
    check_refusal(trailing(tus, path, checksum(b"world")), 460)
    assert tus.head(path).offset == 0
    reply = trailing(tus, path, checksum(HELLO, "sha512"))
    assert (reply.status, reply.offset) == (204, 5)
    assert patch(tus, path, 5, body=HELLO).status == 204
    assert ask(tus, "GET", path).body == HELLO * 2


def test_nothing_is_kept_before_the_checksum_behind_the_body_is_here(tus, other):
    """CT-02, CK-11."""
    path = tus.create(5)
    lines = (TUS, BODY, "Upload-Offset: 0", "Transfer-Encoding: chunked", "Trailer: Upload-Checksum")
    tus.send(spell(tus, "PATCH", path, *lines) + coded(HELLO))
    assert interim(tus) == b""
    assert ask(other, "HEAD", path).offset == 0
    tus.send(f"0\r\n{checksum(HELLO)}\r\n\r\n".encode())
    assert tus.reply().offset == 5


@pytest.mark.parametrize(
    ("trailers", "lines"),
    [
        pytest.param((), (), id="missing"),
        pytest.param(("Upload-Checksum: sha1 x",), (), id="malformed"),
        pytest.param((checksum(HELLO), checksum(b"world")), (), id="two"),
        pytest.param((checksum(HELLO),), (checksum(b"world"),), id="other than in the head"),
    ],
)
def test_a_checksum_behind_the_body_that_is_wrong_is_400_and_the_bytes_are_dropped(tus, trailers, lines):
    """CT-03."""
    path = tus.create(5)
    check_refusal(trailing(tus, path, *trailers, lines=lines), 400)
    assert tus.head(path).offset == 0


def test_a_trailer_that_cannot_come_is_refused(tus):
    """CT-02: it needs chunked coding."""
    path = tus.create(5)
    check_refusal(patch(tus, path, 0, "Trailer: Upload-Checksum", body=HELLO), 400)
    assert tus.head(path).offset == 0


def test_other_trailers_are_ignored_and_replace_no_field_of_the_head(guarded):
    """CT-04."""
    with Client(guarded.port) as client:
        location = post(client, "Upload-Length: 10", AUTHORIZED).headers["location"]
        path = "/files/" + location.rpartition("/")[2]
        forged = ("Authorization: Bearer forged", "Tus-Resumable: 9.9.9", "Upload-Offset: 3", "X: y")
        reply = trailing(client, path, checksum(HELLO), *forged, lines=(AUTHORIZED,))
        assert (reply.status, reply.offset) == (204, 5)
        check_refusal(trailing(client, path, AUTHORIZED), 401)


DECLARED = f"Repr-Digest: sha-256=:{base64.b64encode(bytes.fromhex(SHA256)).decode()}:"
IN_METADATA = f"Upload-Metadata: sha256 {encoded(SHA256)}"


@pytest.mark.parametrize("line", [DECLARED, IN_METADATA, IN_METADATA + f",filename {encoded('a.wav')}"])
def test_content_is_what_was_declared_or_is_not_published(service, tus, line):
    path = path_of(post(tus, "Upload-Length: 5", line).headers["location"])
    assert patch(tus, path, 0, body=HELLO).headers["tusplyr-file-id"] == SHA256[:16]
    path = path_of(post(tus, "Upload-Length: 5", line).headers["location"])
    stored = service.stored()
    assert patch(tus, path, 0, body=b"wor").status == 204
    reply = patch(tus, path, 3, body=b"ld")
    check_refusal(reply, 460)
    assert b"declared" in reply.body
    assert service.stored() == stored
    check_refusal(tus.head(path), 410)
    assert b"declared" in patch(tus, path, 5, body=b"").body
    assert json.loads(ask(tus, "GET", path + "/status").body).keys() == {"detail"}


@pytest.mark.parametrize(
    "lines",
    [
        ("Repr-Digest: sha-256=:AAAA:",),
        (f"Upload-Metadata: sha256 {encoded('abc')}",),
        (DECLARED, f"Upload-Metadata: sha256 {encoded('0' * 64)}"),
    ],
)
def test_a_declaration_that_is_none_is_refused(service, tus, lines):
    before = service.state()
    check_refusal(post(tus, "Upload-Length: 5", *lines), 400)
    assert service.state() == before

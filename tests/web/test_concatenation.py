"""Concatenation, over the wire."""

import hashlib
import json

import pytest

from rig.tus import Client, Reply, path_of
from web.service import (
    BODY,
    MAX_LENGTH,
    PUBLIC,
    TOKEN,
    TUS,
    UNKNOWN,
    ask,
    check_refusal,
    coded,
    encoded,
    finished,
    patch,
    post,
    spell,
)

PARTIAL = "Upload-Concat: partial"


def partial(tus: Client, data: bytes, *lines: str) -> str:
    """A complete partial upload."""
    reply = post(tus, PARTIAL, f"Upload-Length: {len(data)}", BODY, *lines, body=data)
    assert (reply.status, reply.offset) == (201, len(data))
    return path_of(reply.headers["location"])


def concat(*paths: str) -> str:
    return "Upload-Concat: final;" + " ".join(paths)


def content(tus: Client, reply: Reply) -> bytes:
    """What a final upload can be downloaded as."""
    assert reply.status == 201, reply
    return ask(tus, "GET", path_of(reply.headers["location"])).body


def test_concatenation_is_advertised_and_that_of_unfinished_uploads_is_not(tus):
    """CC-01, CC-09, D-34."""
    offered = ask(tus, "OPTIONS", "/files").headers["tus-extension"].split(",")
    assert "concatenation" in offered
    assert "concatenation-unfinished" not in offered


def test_partial_uploads_are_pieces_and_not_published(service, tus):
    """CC-02, CC-03, CC-17, CC-19, CC-27."""
    stored = service.stored()
    reply = post(tus, PARTIAL, "Upload-Length: 5")
    path = path_of(reply.headers["location"])
    reply = tus.head(path)
    assert (reply.offset, reply.headers["upload-length"], reply.headers["upload-concat"]) == (0, "5", "partial")
    reply = patch(tus, path, 0, PARTIAL, body=b"hello")
    assert (reply.status, reply.offset) == (204, 5)
    assert "tusplyr-file-id" not in reply.headers
    assert ask(tus, "HEAD", path, TUS, PARTIAL).offset == 5
    check_refusal(patch(tus, path, 5, body=b"x"), 413)
    assert patch(tus, path, 5, body=b"").status == 204
    check_refusal(ask(tus, "GET", path), 403)
    assert service.stored() == stored


def test_a_final_upload_is_its_partial_ones_in_the_listed_order(tus):
    """CC-04, CC-05, CC-06, CC-10, CC-11, CC-13, CC-16, CC-18, CC-19, D-39."""
    a, b = partial(tus, b"hello "), partial(tus, b"world")
    metadata = f"filename {encoded('a.wav')}"
    header = concat(b, a, b)
    reply = post(tus, header, f"Upload-Metadata: {metadata}")
    assert content(tus, reply) == b"worldhello world"
    sha256 = hashlib.sha256(b"worldhello world").hexdigest()
    assert (reply.offset, reply.headers["tusplyr-file-id"]) == (16, sha256[:16])
    path = path_of(reply.headers["location"])
    found = tus.head(path)
    assert (found.offset, found.headers["upload-length"]) == (16, "16")
    assert found.headers["upload-concat"] == header.partition(": ")[2]
    assert found.headers["upload-metadata"] == metadata
    status = json.loads(ask(tus, "GET", path + "/status").body)
    assert (status["status"], status["sha256"], status["key"]) == ("stored", sha256, f"audio/{sha256[:16]}.wav")
    described = partial(tus, b"a", f"Upload-Metadata: {metadata}")
    assert "upload-metadata" not in tus.head(path_of(post(tus, concat(described)).headers["location"])).headers


def test_addresses_may_be_absolute_or_relative_and_are_kept_as_they_came(tus):
    """CC-20, CC-19."""
    a, b = partial(tus, b"a"), partial(tus, b"b")
    for header in (
        concat(a, f"http://127.0.0.1:{tus.port}{b}"),
        concat(a.removeprefix("/"), f"//127.0.0.1:{tus.port}{b}"),
        f"Upload-Concat: final;  {a}   {b}",
    ):
        reply = post(tus, header)
        assert content(tus, reply) == b"ab"
        assert tus.head(path_of(reply.headers["location"])).headers["upload-concat"] == header.partition(": ")[2]


def test_parts_stay_after_they_were_concatenated(tus):
    """CC-12, CC-13, D-41."""
    a, b = partial(tus, b"a"), partial(tus, b"b")
    first = post(tus, concat(a, b))
    again = post(tus, concat(a, b))
    assert first.headers["location"] == again.headers["location"]
    assert content(tus, post(tus, concat(b, a))) == b"ba"
    assert tus.head(a).offset == 1


def test_parts_that_are_terminated_afterwards_leave_the_final_upload(tus):
    a = partial(tus, b"a")
    reply = post(tus, concat(a))
    assert tus.delete(a).status == 204
    assert content(tus, reply) == b"a"
    assert post(tus, concat(a)).headers["location"] == reply.headers["location"]


@pytest.mark.parametrize("pieces", [[b""], [b"", b""]])
def test_empty_parts_make_an_empty_upload(tus, pieces):
    """CC-29."""
    reply = post(tus, concat(*(partial(tus, piece) for piece in pieces)))
    assert (reply.status, reply.offset) == (201, 0)
    assert content(tus, reply) == b""


@pytest.mark.parametrize("value", ["final;", "final", "Partial", "foo", "final; ", "FINAL;/files/a", ""])
def test_a_header_that_is_neither_is_refused(service, tus, value):
    """CC-21."""
    before = service.state()
    check_refusal(post(tus, f"Upload-Concat: {value}", "Upload-Length: 5"), 400)
    assert service.state() == before


def test_what_cannot_be_concatenated_is_refused_and_nothing_is_created(service, tus):
    """CC-08, CC-22, CC-23, CC-24, D-35, D-36."""
    a = partial(tus, b"a")
    unfinished = path_of(post(tus, PARTIAL, "Upload-Length: 5").headers["location"])
    deferred = path_of(post(tus, PARTIAL, "Upload-Defer-Length: 1").headers["location"])
    whole, final = finished(tus, b"whole"), path_of(post(tus, concat(a)).headers["location"])
    ended = partial(tus, b"x")
    tus.delete(ended)
    before = service.state()
    for path in (unfinished, deferred, whole, final):
        check_refusal(post(tus, concat(a, path)), 400)
    elsewhere = [
        UNKNOWN,
        ended,
        "/files/x",
        "/elsewhere",
        f"http://else.where{a}",
        f"{a}?x",
        f"{a}/status",
        "http://[/",
    ]
    for path in elsewhere:
        check_refusal(post(tus, concat(a, path)), 404)
    check_refusal(post(tus, concat(*[f"/files/{number:032x}" for number in range(500)])), 404)
    assert service.state() == before


@pytest.mark.parametrize("host", ["[", "]", "[x]:1", "x:99999"])
def test_at_a_host_that_is_none_there_are_no_parts(service, tus, host):
    """CC-22."""
    a = partial(tus, b"a")
    before = service.state()
    check_refusal(post(tus, f"Host: {host}", concat(f"http://127.0.0.1:{tus.port}{a}")), 404)
    assert service.state() == before


def test_a_final_upload_has_the_length_of_its_parts_and_no_other(service, tus):
    """CC-07, CC-28, D-37."""
    a = partial(tus, b"abc")
    before = service.state()
    check_refusal(post(tus, concat(a), "Upload-Length: 4"), 400)
    check_refusal(post(tus, concat(a), "Upload-Defer-Length: 1"), 400)
    assert service.state() == before
    assert content(tus, post(tus, concat(a), "Upload-Length: 3")) == b"abc"
    check_refusal(post(tus, concat(a), "Upload-Length: 4"), 400)


def test_a_final_upload_may_not_pass_the_limit(service, tus):
    """CC-25, D-42."""
    a = partial(tus, bytes(MAX_LENGTH))
    b = partial(tus, b"b")
    before = service.state()
    reply = post(tus, concat(a, b))
    check_refusal(reply, 413)
    assert reply.headers["tus-max-size"] == str(MAX_LENGTH)
    assert service.state() == before
    for path in (a, b):
        tus.delete(path)


def test_a_final_upload_takes_no_body(service, tus):
    """CC-26, D-38."""
    a = partial(tus, b"a")
    before = service.state()
    check_refusal(post(tus, concat(a), BODY, body=b"x"), 403)
    head = spell(tus, "POST", "/files", TUS, BODY, concat(a), "Transfer-Encoding: chunked")
    tus.send(head + coded(b"x") + b"0\r\n\r\n")
    check_refusal(tus.reply(), 403)
    assert service.state() == before
    assert content(tus, post(tus, concat(a), BODY, body=b"")) == b"a"


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param((BODY, "Upload-Offset: 1"), id="at the end"),
        pytest.param((BODY, "Upload-Offset: x"), id="malformed"),
        pytest.param(("Content-Type: text/plain", "Upload-Checksum: x"), id="not labelled"),
    ],
)
def test_nothing_is_added_to_a_final_upload_whatever_else_is_wrong(service, tus, lines):
    """CC-14, D-40."""
    path = path_of(post(tus, concat(partial(tus, b"a"))).headers["location"])
    before = service.state()
    check_refusal(ask(tus, "PATCH", path, TUS, *lines, body=b"x"), 403)
    assert service.state() == before


def test_a_final_upload_can_be_terminated_and_made_again(tus):
    a = partial(tus, b"a")
    first = path_of(post(tus, concat(a)).headers["location"])
    assert tus.delete(first).status == 204
    check_refusal(tus.head(first), 404)
    assert content(tus, post(tus, concat(a))) == b"a"


def test_behind_a_public_address_parts_are_found_by_it(guarded):
    """CC-20, CC-22: the host is compared with the one that clients see."""
    token = f"Authorization: Bearer {TOKEN}"
    with Client(guarded.port) as tus:
        reply = post(tus, token, PARTIAL, "Upload-Length: 1", BODY, body=b"a")
        address = reply.headers["location"]
        assert address.startswith(f"{PUBLIC}/files/")
        path = address.removeprefix(PUBLIC)
        for reference in (address, path, address.upper().replace(path.upper(), path)):
            assert post(tus, token, concat(reference)).status == 201
        check_refusal(post(tus, token, concat(f"http://127.0.0.1:{tus.port}{path}")), 404)

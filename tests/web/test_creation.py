"""Creation, metadata and creation with upload (ids CR-*, MD-*, CW-* and D-19 to D-29)."""

import time

import pytest

from rig.tus import Client, path_of
from web.service import (
    BODY,
    MAX_LENGTH,
    MIB,
    PUBLIC,
    TOKEN,
    TUS,
    ask,
    check_refusal,
    check_standard,
    coded,
    encoded,
    finished,
    interim,
    post,
    spell,
)

BEARER = f"Authorization: Bearer {TOKEN}"


def created(reply, offset):
    """Check a 201 and return the path of the upload."""
    assert reply.status == 201, reply
    check_standard(reply)
    assert (reply.offset, reply.body) == (offset, b"")
    return path_of(reply.headers["location"])


# Creation


def test_cr_01_cw_01_both_extensions_are_advertised(tus):
    offered = ask(tus, "OPTIONS", "/files").headers["tus-extension"].split(",")
    assert {"creation", "creation-with-upload"} <= set(offered)


def test_creation_answers_201_with_an_absolute_address_and_offset_0(tus):
    """CR-02, CR-03, CR-04, D-24, D-25."""
    reply = post(tus, "Upload-Length: 100")
    path = created(reply, 0)
    assert reply.headers["content-length"] == "0"
    assert reply.headers["location"] == f"http://127.0.0.1:{tus.port}{path}"
    assert (tus.head(path).offset, tus.head(path).headers["upload-length"]) == (0, "100")


def test_d_25_the_address_begins_with_the_public_url_whatever_the_host_says(guarded):
    with Client(guarded.port) as client:
        reply = post(client, BEARER, "Host: elsewhere.example", "Upload-Length: 1")
        assert reply.headers["location"].startswith(PUBLIC + "/files/")


@pytest.mark.parametrize("host", ["a@b", "", "a%2fb", "(a)"])
def test_d_25_an_odd_host_is_not_reflected(tus, host):
    location = post(tus, f"Host: {host}", "Upload-Length: 1").headers["location"]
    assert location.startswith("/files/")


@pytest.mark.parametrize("host", ["evil/..", "a b", '"><script>', "caf\xe9", "a?b", "a,b/"])
def test_a_host_that_is_none_is_400_and_not_an_unknown_upload(service, tus, host):
    path = tus.create(1)
    before = service.state()
    check_refusal(post(tus, f"Host: {host}", "Upload-Length: 1"), 400)
    check_refusal(ask(tus, "HEAD", path, TUS, f"Host: {host}"), 400)
    assert service.state() == before


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        pytest.param((), 400, id="CR-05 D-19"),
        pytest.param((f"Upload-Length: {MAX_LENGTH + 1}",), 413, id="CR-08 D-20"),
        pytest.param(("Upload-Length: 9223372036854775808",), 413, id="CR-09 2^63"),
        pytest.param(("Upload-Length: 99999999999999999999",), 413, id="CR-09"),
    ],
)
def test_a_wrong_length_creates_nothing(service, tus, lines, status):
    before = service.state()
    reply = post(tus, *lines)
    check_refusal(reply, status)
    assert reply.headers.get("tus-max-size") == (str(MAX_LENGTH) if status == 413 else None)
    assert service.state() == before


def test_cr_08_a_length_equal_to_the_limit_is_accepted(tus):
    path = created(post(tus, f"Upload-Length: {MAX_LENGTH}"), 0)
    assert tus.delete(path).status == 204


def test_cr_09_without_a_limit_63_bits_are_one(guarded):
    with Client(guarded.port) as client:
        largest = post(client, BEARER, f"Upload-Length: {2**63 - 1}")
        assert largest.status == 201
        path = path_of(largest.headers["location"])
        assert ask(client, "HEAD", path, TUS, BEARER).headers["upload-length"] == str(2**63 - 1)
        refused = post(client, BEARER, f"Upload-Length: {2**63}")
        check_refusal(refused, 413)
        assert "tus-max-size" not in refused.headers


def test_cr_07_d_21_an_empty_upload_is_complete_and_stored_at_once(tus):
    path = created(post(tus, "Upload-Length: 0"), 0)
    assert (tus.head(path).offset, tus.head(path).headers["upload-length"]) == (0, "0")
    read = ask(tus, "GET", path)
    assert (read.status, read.body, read.headers["content-length"]) == (200, b"", "0")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        pytest.param("POST", "/files/" + "0" * 32, "DELETE, GET, HEAD, OPTIONS, PATCH", id="CR-12 D-45"),
        pytest.param("PUT", "/files/" + "0" * 32, "DELETE, GET, HEAD, OPTIONS, PATCH", id="D-45 PUT"),
        pytest.param("PATCH", "/files", "OPTIONS, POST", id="D-45 PATCH"),
        pytest.param("GET", "/files", "OPTIONS, POST", id="D-45 GET"),
        pytest.param("HEAD", "/files", "OPTIONS, POST", id="D-45 HEAD"),
        pytest.param("DELETE", "/files/" + "0" * 32 + "/status", "GET, OPTIONS", id="D-45 status"),
    ],
)
def test_a_method_that_an_address_does_not_answer_is_405(service, tus, method, path, allow):
    before = service.state()
    reply = ask(tus, method, path, TUS, "Upload-Length: 5", body=None if method in {"GET", "HEAD"} else b"")
    check_refusal(reply, 405)
    assert reply.headers["allow"] == allow
    assert service.state() == before


# Metadata


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("filename d29ybGQ=,is_confidential", id="MD-01 MD-06"),
        pytest.param("b Yg==,a YQ==,c", id="MD-08 D-29 order and spelling"),
        pytest.param("a ,b", id="MD-06 blank and no value"),
        pytest.param("caf\xc3\xa9 Y2Fmw6k=", id="MD-03 D-26"),
        pytest.param("bytes /wCAww==", id="MD-11"),
        pytest.param("a YQ==, b Yg==,, ,c Yw==", id="MD-12 D-26"),
        pytest.param(f"large {encoded(bytes(8 * 1024 - 5))}", id="MD-13 at the cap"),
    ],
)
def test_metadata_is_echoed_byte_for_byte(tus, value):
    path = created(post(tus, "Upload-Length: 5", f"Upload-Metadata: {value}"), 0)
    assert tus.head(path).headers["upload-metadata"] == value
    tus.patch(path, 0, b"hello")
    assert tus.head(path).headers["upload-metadata"] == value


def test_md_12_several_lines_count_as_one(tus):
    path = created(post(tus, "Upload-Length: 5", "Upload-Metadata: a YQ==", "Upload-Metadata: b Yg=="), 0)
    assert tus.head(path).headers["upload-metadata"] == "a YQ==,b Yg=="


@pytest.mark.parametrize("lines", [("Upload-Metadata:",), ("Upload-Metadata:  ",), ()], ids=["MD-10 D-28", "MD-10", ""])
def test_empty_metadata_is_as_good_as_none(tus, lines):
    path = created(post(tus, "Upload-Length: 5", *lines), 0)
    assert "upload-metadata" not in tus.head(path).headers


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("a b YQ==", id="MD-02"),
        pytest.param("filename ***", id="MD-04 D-26 alphabet"),
        pytest.param("filename YQ", id="MD-04 unpadded"),
        pytest.param("filename _-__", id="MD-04 URL-safe"),
        pytest.param("filename YW Jj", id="MD-04 blank inside"),
        pytest.param("filename  YWJj", id="MD-04 two blanks"),
        pytest.param("filename YQ==YQ==", id="MD-04 twice"),
        pytest.param("filename =", id="MD-04 padding alone"),
        pytest.param("filename YR==", id="MD-04 not canonical"),
        pytest.param("filename \xff\xfe", id="MD-04 bytes"),
        pytest.param("a YQ==,a Yg==", id="MD-05 D-27"),
        pytest.param("a,a", id="MD-05 without values"),
        pytest.param(f"large {encoded(bytes(8 * 1024 - 4))}", id="MD-13"),
    ],
)
def test_malformed_metadata_is_400_and_creates_nothing(service, tus, value):
    before = service.state()
    check_refusal(post(tus, "Upload-Length: 5", f"Upload-Metadata: {value}"), 400)
    assert service.state() == before


# Creation with upload


@pytest.mark.parametrize(
    ("length", "body"),
    [(100, b"hello"), (5, b"hello"), (100, b"")],
    ids=["CW-02 CW-03", "CW-07", "CW-08"],
)
def test_a_body_of_the_post_is_the_first_append(service, tus, length, body):
    path = created(post(tus, f"Upload-Length: {length}", BODY, body=body), len(body))
    assert tus.head(path).offset == len(body)
    if len(body) == length:
        assert ask(tus, "GET", path).body == body
        assert (service.store / "files" / "2cf24dba5fb0a30e").read_bytes() == body


def test_cw_02_the_body_of_the_post_may_be_chunked(tus):
    tus.send(spell(tus, "POST", "/files", TUS, BODY, "Upload-Length: 10", "Transfer-Encoding: chunked"))
    tus.send(coded(b"hello", b"world") + b"0\r\n\r\n")
    assert ask(tus, "GET", created(tus.reply(), 10)).body == b"helloworld"


def test_cw_04_what_arrived_of_a_body_that_was_cut_is_kept(service, tus):
    known = {row[0] for row in service.state()}
    tus.send(spell(tus, "POST", "/files", TUS, BODY, "Upload-Length: 100000", "Content-Length: 100000") + bytes(60_000))
    time.sleep(0.1)
    tus.reset()
    deadline = time.monotonic() + 5
    while not (row := [row for row in service.state() if len(row) > 2 and row[0] not in known and row[4] == 60_000]):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    tus.connect()
    assert tus.head(f"/files/{row[0][0]}").offset == 60_000


def test_cw_05_a_body_longer_than_the_promise_creates_nothing(service, tus):
    before = service.state()
    reply = post(tus, "Upload-Length: 4", BODY, body=b"hello")
    check_refusal(reply, 413)
    assert reply.headers["tus-max-size"] == str(MAX_LENGTH)
    assert service.state() == before


def test_cw_05_nothing_is_left_when_a_chunked_body_turns_out_longer(service, tus):
    def live():
        return {row for row in service.state() if len(row) == 2 or row[1] != "gone"}

    before = live()
    tus.send(spell(tus, "POST", "/files", TUS, BODY, "Upload-Length: 4", "Transfer-Encoding: chunked"))
    tus.send(coded(b"hello") + b"0\r\n\r\n")
    check_refusal(tus.reply(), 413)
    assert live() == before


@pytest.mark.parametrize(
    "kind", ["application/false", "application/octet-stream", None], ids=["CW-09", "D-23 aiohttp", "D-23 none"]
)
def test_a_body_of_another_type_is_ignored(tus, kind):
    line = "Accept: */*" if kind is None else f"Content-Type: {kind}"
    path = created(post(tus, "Upload-Length: 100", line, body=b"hello"), 0)
    assert tus.head(path).offset == 0, "the connection goes on behind the body that nobody read"


@pytest.mark.parametrize(
    ("lines", "status"),
    [(("Upload-Length: 2",), 413), (("Upload-Length: x",), 400), ((), 400)],
    ids=["CW-06 413", "CW-06 400", "CW-06 missing"],
)
def test_a_client_that_waits_before_a_refused_body_is_never_told_to_go_on(tus, lines, status):
    tus.send(spell(tus, "POST", "/files", TUS, BODY, *lines, "Content-Length: 5", "Expect: 100-continue"))
    assert interim(tus).startswith(b"HTTP/1.1 %d " % status)
    reply = tus.reply()
    check_refusal(reply, status)
    assert reply.headers["connection"] == "close"


def test_cw_06_a_client_that_waits_before_a_wanted_body_is_told_to_go_on(tus):
    tus.send(spell(tus, "POST", "/files", TUS, BODY, "Upload-Length: 5", "Content-Length: 5", "Expect: 100-continue"))
    assert interim(tus) == b"HTTP/1.1 100 Continue\r\n\r\n"
    tus.send(b"hello")
    created(tus.reply(), 5)


def test_a_large_first_body_is_stored_whole(tus):
    content = bytes(range(256)) * (3 * MIB // 256)
    path = finished(tus, content, "large.wav")
    assert ask(tus, "GET", path).body == content


def test_a_creation_that_is_cut_is_logged_with_the_id_of_its_upload(service):
    before = set(service.spooled())
    with Client(service.port) as client:
        client.send(spell(client, "POST", "/files", TUS, BODY, "Upload-Length: 10", "Content-Length: 10") + b"abc")
        time.sleep(0.2)
    deadline = time.monotonic() + 5
    while not (new := set(service.spooled()) - before) and time.monotonic() < deadline:
        time.sleep(0.05)
    line = f"POST of upload {new.pop().name} ended early (400)"
    while line not in service.log.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert line in service.log.read_text()

"""The core of tus 1.0: discovery, versions, the override, HEAD and PATCH (ids C-* and D-*)."""

import time

import pytest

from rig.tus import APPEND, VERSION
from web.service import BODY, MAX_LENGTH, TUS, UNKNOWN, ask, check_refusal, check_standard, coded, finished, patch

WRONG = "Tus-Resumable: 0.2.2"
METHODS = ("HEAD", "GET", "PATCH", "DELETE")


# Discovery


@pytest.mark.parametrize("path", ["/files", UNKNOWN], ids=["collection", "upload"])
@pytest.mark.parametrize("line", ["Accept: */*", "Tus-Resumable: 9.9.9"], ids=["C-04 C-10 C-50 C-51 D-04", "C-52"])
def test_options_tells_what_the_server_speaks_and_offers(tus, path, line):
    reply = ask(tus, "OPTIONS", path, line)
    assert reply.status == 204
    check_standard(reply)
    assert reply.headers["tus-version"] == "1.0.0"
    assert reply.headers["tus-extension"] == (
        "creation,creation-with-upload,creation-defer-length,expiration,checksum,checksum-trailer,termination,concatenation"
    )
    assert reply.headers["tus-max-size"] == str(MAX_LENGTH)


def test_c_09_what_is_not_offered_is_not_advertised(tus):
    """CC-09."""
    offered = ask(tus, "OPTIONS", "/files").headers["tus-extension"].split(",")
    assert "concatenation-unfinished" not in offered


def test_cc_27_upload_concat_is_ignored_on_everything_but_post(tus):
    path = tus.create(5)
    assert ask(tus, "HEAD", path, TUS, "Upload-Concat: partial").status == 200
    assert patch(tus, path, 0, "Upload-Concat: partial").status == 204
    assert ask(tus, "DELETE", path, TUS, "Upload-Concat: partial").status == 204


# Versions


@pytest.mark.parametrize(
    ("method", "line"),
    [
        *(pytest.param(method, WRONG, id=f"C-06 C-07 D-02 {method}") for method in METHODS),
        *(pytest.param(method, "X: y", id=f"C-08 D-02 {method}") for method in ("PATCH", "DELETE")),
        pytest.param("PATCH", "Tus-Resumable: ", id="C-06 empty"),
        pytest.param("PATCH", "Tus-Resumable: 1.0.0, 1.0.0", id="C-06 list"),
    ],
)
def test_another_version_is_refused_with_ours_and_nothing_is_done(service, tus, method, line):
    path = tus.create(5)
    before = service.state()
    body = b"hello" if method == "PATCH" else None
    reply = ask(tus, method, path, line, BODY, "Upload-Offset: 0", body=body)
    check_refusal(reply, 412)
    assert reply.headers["tus-version"] == "1.0.0"
    assert (reply.body == b"") == (method == "HEAD")
    assert service.state() == before


@pytest.mark.parametrize("line", [WRONG, "X: y"], ids=["C-07", "C-08"])
def test_post_of_another_version_creates_nothing(service, tus, line):
    before = service.state()
    reply = ask(tus, "POST", "/files", line, "Upload-Length: 5", BODY, body=b"hello")
    check_refusal(reply, 412)
    assert reply.headers["tus-version"] == "1.0.0"
    assert service.state() == before


def test_d_01_head_and_get_are_served_without_a_version(tus):
    path = finished(tus, b"hello")
    assert ask(tus, "HEAD", path).offset == 5
    assert ask(tus, "GET", path).body == b"hello"


# The method override


@pytest.mark.parametrize("real", ["POST", "PUT", "GET"], ids=["C-11", "C-11 D-03 PUT", "C-11 D-03 GET"])
def test_the_override_decides_the_method(tus, real):
    path = tus.create(10)
    lines = (TUS, BODY, "X-HTTP-Method-Override: PATCH")
    assert ask(tus, real, path, *lines, "Upload-Offset: 0", body=b"hello").offset == 5
    check_refusal(ask(tus, real, path, *lines, "Upload-Offset: 9", body=b"x"), 409, offset=5)
    check_refusal(ask(tus, real, path, TUS, lines[2], "Upload-Offset: 5", body=b"x"), 415)


def test_c_12_the_override_deletes_and_asks_too(tus):
    path = tus.create(10)
    tus.patch(path, 0, b"hello")
    asked = ask(tus, "POST", path, TUS, "X-HTTP-Method-Override: head", body=b"")
    assert (asked.status, asked.offset, asked.headers["content-length"], asked.body) == (200, 5, "0", b"")
    assert ask(tus, "POST", path, TUS, "X-HTTP-Method-Override: DELETE", body=b"").status == 204
    missing = ask(tus, "POST", path, TUS, "X-HTTP-Method-Override: HEAD", body=b"")
    check_refusal(missing, 404)
    assert missing.body == b""


def test_c_12_the_override_discovers(tus):
    reply = ask(tus, "POST", "/files", "X-HTTP-Method-Override: OPTIONS", body=b"")
    assert (reply.status, reply.headers["tus-version"]) == (204, "1.0.0")


@pytest.mark.parametrize("real", ["POST", "DELETE"])
@pytest.mark.parametrize("value", ["FOO", "GET POST", "\xe9", "*", "TRACE", "PUT"])
def test_c_13_an_unknown_override_is_405_whatever_it_overrides(service, tus, value, real):
    path = tus.create(10)
    before = service.state()
    reply = ask(tus, real, path, TUS, f"X-HTTP-Method-Override: {value}", body=b"")
    check_refusal(reply, 405)
    assert reply.headers["allow"] == "DELETE, GET, HEAD, OPTIONS, PATCH"
    assert service.state() == before


# HEAD


def test_head_tells_offset_and_length_and_is_never_cached(tus):
    """C-20, C-21, C-22, C-23, D-05, D-06, DL-03, MD-09."""
    path = tus.create(10)
    for offset, body in ((0, b"hello"), (5, b"world"), (10, b"")):
        reply = tus.head(path)
        assert (reply.status, reply.offset, reply.headers["upload-length"]) == (200, offset, "10")
        check_standard(reply)
        assert reply.headers["content-length"] == "0"
        assert "upload-defer-length" not in reply.headers
        assert "upload-metadata" not in reply.headers
        tus.patch(path, offset, body)


def test_c_24_head_of_an_unknown_upload_has_neither_offset_nor_body(tus):
    reply = tus.head(UNKNOWN)
    check_refusal(reply, 404)
    assert reply.headers.get("content-length", "0") == "0"


def test_c_25_c_38_d_13_what_head_says_after_a_cut_is_what_patch_accepts(tus, other):
    path = tus.create(300_000)
    tus.begin(path, 0, 300_000)
    tus.send(bytes(100_000))
    time.sleep(0.1)
    tus.reset()
    assert other.head(path).offset == 100_000
    assert other.patch(path, 100_000, bytes(200_000)).offset == 300_000


def test_c_26_head_goes_on_answering_after_completion(tus):
    reply = tus.head(finished(tus, b"hello"))
    assert (reply.offset, reply.headers["upload-length"]) == (5, "5")


# PATCH


def test_patch_answers_204_with_the_new_offset_and_no_body(tus):
    """C-30, C-34, C-35, C-36, C-40."""
    path = tus.create(100)
    tus.patch(path, 0, bytes(70))
    reply = tus.patch(path, 70, bytes(30))
    assert (reply.status, reply.offset) == (204, 100)
    check_standard(reply)
    assert "content-length" not in reply.headers
    assert "transfer-encoding" not in reply.headers


@pytest.mark.parametrize(
    "kind",
    ["application/json", "application/offset", "", "x/application/offset+octet-stream", None],
    ids=lambda kind: f"C-31 D-07 {kind}",
)
def test_a_body_of_another_type_is_415(service, tus, kind):
    path = tus.create(5)
    before = service.state()
    line = "Accept: */*" if kind is None else f"Content-Type: {kind}"
    check_refusal(ask(tus, "PATCH", path, TUS, line, "Upload-Offset: 0", body=b"hello"), 415)
    assert service.state() == before


def test_c_32_case_and_parameters_of_the_type_do_not_matter(tus):
    path = tus.create(5)
    line = "Content-Type: Application/Offset+Octet-Stream ; charset=x"
    assert ask(tus, "PATCH", path, TUS, line, "Upload-Offset: 0", body=b"hello").offset == 5


@pytest.mark.parametrize("given", [0, 4, 6, 11, 2**63 - 1], ids=lambda given: f"C-33 D-09 {given}")
def test_a_wrong_offset_is_409_with_the_right_one(service, tus, given):
    path = tus.create(10)
    tus.patch(path, 0, b"hello")
    before = service.state()
    check_refusal(patch(tus, path, given, body=b"x"), 409, offset=5)
    assert service.state() == before


def test_c_37_patch_of_an_unknown_upload_is_404(tus):
    check_refusal(patch(tus, UNKNOWN, 0), 404)


@pytest.mark.parametrize("length", [(), ("Content-Length: 0",)], ids=["C-41 no body headers", "C-41"])
def test_an_empty_patch_changes_nothing(tus, length):
    path = tus.create(10)
    tus.patch(path, 0, b"hello")
    assert ask(tus, "PATCH", path, TUS, BODY, "Upload-Offset: 5", *length).offset == 5
    assert tus.head(path).offset == 5


def test_c_42_a_chunked_body_is_accepted(tus):
    path = tus.create(10)
    tus.head_of("PATCH", path, APPEND | {"Upload-Offset": "0", "Transfer-Encoding": "chunked"})
    tus.send(coded(b"hello", b"world") + b"0\r\n\r\n")
    assert tus.reply().offset == 10
    assert ask(tus, "GET", path).body == b"helloworld"


def test_c_43_d_10_a_body_longer_than_what_is_left_is_413_and_not_read(service, tus):
    path = tus.create(10)
    tus.patch(path, 0, b"hello")
    before = service.state()
    tus.begin(path, 5, 6)
    check_refusal(tus.reply(), 413)
    assert service.state() == before
    tus.send(b"worlds")
    assert patch(tus, path, 5, body=b"world").offset == 10


def test_c_44_d_11_a_chunked_body_that_passes_the_length_is_413_and_completes_nothing(service, tus):
    path = tus.create(10)
    tus.patch(path, 0, b"hello")
    stored = service.stored()
    tus.head_of("PATCH", path, APPEND | {"Upload-Offset": "5", "Transfer-Encoding": "chunked"})
    tus.send(coded(b"world", b"s") + b"0\r\n\r\n")
    check_refusal(tus.reply(), 413)
    tus.connect()
    assert tus.head(path).offset == 5
    assert service.stored() == stored


def test_c_45_d_08_a_missing_offset_is_400(service, tus):
    path = tus.create(5)
    before = service.state()
    check_refusal(ask(tus, "PATCH", path, TUS, BODY, body=b"hello"), 400)
    assert service.state() == before


def test_d_12_patch_of_a_complete_upload_is_204_when_empty_and_413_otherwise(service, tus):
    path = finished(tus, b"hello")
    before = service.state()
    assert patch(tus, path, 5, body=b"").offset == 5
    check_refusal(patch(tus, path, 5, body=b"x"), 413)
    assert service.state() == before


@pytest.mark.parametrize(("length", "status"), [("5", 204), ("6", 400), ("+5", 400)], ids=["D-22", "DL-12", "C-03"])
def test_a_length_on_patch_may_only_repeat_what_was_promised(service, tus, length, status):
    path = tus.create(5)
    before = service.state()
    assert patch(tus, path, 0, f"Upload-Length: {length}").status == status
    assert (service.state() == before) == (status == 400)


def test_the_completing_reply_and_head_name_the_content(tus):
    path = tus.create(5)
    digest = "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:"
    for reply in (tus.patch(path, 0, b"hello"), tus.request("HEAD", path, VERSION)):
        assert (reply.headers["repr-digest"], reply.headers["tusplyr-file-id"]) == (digest, "2cf24dba5fb0a30e")

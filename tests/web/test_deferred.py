"""Deferred length, over the wire."""

import hashlib
import json

import pytest

from rig.tus import path_of
from web.service import BODY, MAX_LENGTH, TUS, ask, check_refusal, coded, patch, post, spell

DEFER = "Upload-Defer-Length: 1"


def deferred(tus, *lines: str, body: bytes | None = None) -> str:
    reply = post(tus, DEFER, *lines, body=body)
    assert reply.status == 201, reply
    return path_of(reply.headers["location"])


def test_deferring_is_advertised(tus):
    """DL-01."""
    assert "creation-defer-length" in ask(tus, "OPTIONS", "/files").headers["tus-extension"].split(",")


@pytest.mark.parametrize("value", ["0", "2", "true", "", "1 1"])
def test_a_value_other_than_one_is_refused(service, tus, value):
    """DL-02."""
    before = service.state()
    check_refusal(post(tus, f"Upload-Defer-Length: {value}"), 400)
    check_refusal(post(tus, DEFER, "Upload-Length: 5"), 400)  # CR-06, D-19
    assert service.state() == before


def test_head_says_that_the_length_is_unknown_until_it_is_known(tus):
    """DL-03, DL-04, DL-05, CW-10."""
    path = deferred(tus, BODY, body=b"hello")
    reply = tus.head(path)
    assert (reply.offset, reply.headers["upload-defer-length"]) == (5, "1")
    assert "upload-length" not in reply.headers
    assert json.loads(ask(tus, "GET", path + "/status").body)["length"] is None
    assert patch(tus, path, 5, "Upload-Length: 12", body=b" worl").status == 204
    reply = tus.head(path)
    assert (reply.offset, reply.headers["upload-length"]) == (10, "12")
    assert "upload-defer-length" not in reply.headers


def test_the_length_may_come_with_an_empty_patch_that_has_no_body_headers_at_all(tus):
    """DL-10, C-41: tus-js-client ends a stream so."""
    path = deferred(tus, BODY, body=b"hello")
    tus.send(spell(tus, "PATCH", path, TUS, BODY, "Upload-Offset: 5", "Upload-Length: 5"))
    reply = tus.reply()
    assert (reply.status, reply.offset) == (204, 5)
    assert reply.headers["tusplyr-file-id"] == hashlib.sha256(b"hello").hexdigest()[:16]
    assert ask(tus, "GET", path).body == b"hello"


def test_a_length_that_was_said_may_be_said_again_and_no_other(tus):
    """DL-06, DL-12, D-22."""
    path = deferred(tus, BODY, body=b"hello")
    assert patch(tus, path, 5, "Upload-Length: 9", body=b"1").status == 204
    assert patch(tus, path, 6, "Upload-Length: 9", body=b"2").status == 204
    check_refusal(patch(tus, path, 7, "Upload-Length: 10", body=b"3"), 400)
    assert tus.head(path).offset == 7


@pytest.mark.parametrize(
    ("length", "status"),
    [
        pytest.param("9", 400, id="DL-07"),
        pytest.param("12", 413, id="DL-08"),
        pytest.param(str(MAX_LENGTH + 1), 413, id="DL-09 D-20"),
        pytest.param("9" * 20, 413, id="DL-09"),
        pytest.param("x", 400, id="C-03"),
    ],
)
def test_a_length_that_cannot_be_is_refused_and_not_recorded(tus, length, status):
    path = deferred(tus, BODY, body=b"0123456789")
    check_refusal(patch(tus, path, 10, f"Upload-Length: {length}", body=b"01234"), status)
    reply = tus.head(path)
    assert (reply.offset, reply.headers["upload-defer-length"]) == (10, "1")


def test_a_length_with_a_body_that_turns_out_longer_is_not_recorded(tus):
    """DL-08, C-44."""
    path = deferred(tus, BODY, body=b"0123456789")
    head = spell(tus, "PATCH", path, TUS, BODY, "Upload-Offset: 10", "Upload-Length: 12", "Transfer-Encoding: chunked")
    tus.send(head + coded(b"01", b"234") + b"0\r\n\r\n")
    check_refusal(tus.reply(), 413)
    tus.connect()
    assert tus.head(path).headers["upload-defer-length"] == "1"


def test_an_upload_without_a_length_cannot_pass_the_limit(tus):
    """DL-11."""
    path = deferred(tus)
    tus.begin(path, 0, MAX_LENGTH + 1)
    check_refusal(tus.reply(), 413)
    tus.connect()
    assert tus.head(path).offset == 0


def test_the_length_may_come_without_a_byte_long_before_the_end(tus):
    """DL-05."""
    path = deferred(tus, BODY, body=b"hello")
    assert patch(tus, path, 5, "Upload-Length: 12", body=b"").offset == 5
    assert tus.head(path).headers["upload-length"] == "12"
    check_refusal(patch(tus, path, 5, "Upload-Length: 13", body=b""), 400)

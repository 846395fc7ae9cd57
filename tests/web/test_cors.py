"""Cross-origin requests: a browser must be able to read every reply, errors above all (ids D-43, D-44, C-54)."""

import pytest

from rig.tus import Client
from web.service import BODY, MAX_LENGTH, ORIGIN, TOKEN, TUS, UNKNOWN, ask, check_refusal, finished, patch, post

BEARER = f"Authorization: Bearer {TOKEN}"
FROM = f"Origin: {ORIGIN}"
ELSEWHERE = "Origin: https://evil.example"
PREFLIGHT = ("Access-Control-Request-Method: PATCH", "Access-Control-Request-Headers: tus-resumable")

METHODS = {"POST", "HEAD", "PATCH", "DELETE", "OPTIONS", "GET", "PUT"}
SENT = {
    *("authorization", "content-type", "tus-resumable", "upload-length", "upload-offset", "upload-metadata"),
    *("upload-defer-length", "upload-concat", "upload-checksum", "x-http-method-override", "x-requested-with"),
    "x-request-id",
}
READ = {
    *("location", "upload-offset", "upload-length", "upload-metadata", "upload-defer-length", "upload-concat"),
    *("upload-expires", "tus-version", "tus-resumable", "tus-max-size", "tus-extension", "tus-checksum-algorithm"),
    *("repr-digest", "tusplyr-file-id", "retry-after", "x-request-id"),
}


def names(reply, header):
    """Return a list of a header as a set of lower-case names."""
    return {name.strip().lower() for name in reply.headers[header].split(",")}


def check_open(reply):
    """Every origin may read this."""
    assert reply.headers["access-control-allow-origin"] == "*"
    assert names(reply, "access-control-expose-headers") >= READ
    assert "access-control-allow-credentials" not in reply.headers


def check_closed(reply):
    """This says nothing to a page of an origin that is not let in."""
    assert not [name for name in reply.headers if name.startswith("access-control-")]


@pytest.mark.parametrize(
    ("path", "lines"),
    [
        pytest.param("/files", PREFLIGHT, id="C-54 preflight"),
        pytest.param("/files", (), id="C-54 OPTIONS with Origin"),
        pytest.param(UNKNOWN, PREFLIGHT, id="C-54 preflight of an upload"),
    ],
)
def test_options_from_a_page_has_the_headers_of_tus_and_those_of_cors(tus, path, lines):  # D-43
    reply = ask(tus, "OPTIONS", path, FROM, *lines)
    assert reply.status == 204
    check_open(reply)
    assert names(reply, "access-control-allow-methods") == {method.lower() for method in METHODS}
    assert names(reply, "access-control-allow-headers") >= SENT
    assert reply.headers["access-control-max-age"] == "86400"
    assert (reply.headers["tus-resumable"], reply.headers["tus-version"]) == ("1.0.0", "1.0.0")
    assert "creation" in reply.headers["tus-extension"]


REFUSALS = [
    pytest.param(400, "PATCH", "{upload}", (TUS, BODY), id="400"),
    pytest.param(400, "POST", "/files", (TUS, "Host: a/b"), id="400 from the framework"),
    pytest.param(404, "HEAD", UNKNOWN, (TUS,), id="404"),
    pytest.param(404, "GET", "/files/a/b/c", (), id="404 of no route"),
    pytest.param(404, "GET", "/nowhere", (), id="404 elsewhere"),
    pytest.param(405, "PUT", "/files", (TUS,), id="405"),
    pytest.param(409, "PATCH", "{upload}", (TUS, BODY, "Upload-Offset: 3"), id="409"),
    pytest.param(409, "GET", "{upload}", (), id="409 of a download"),
    pytest.param(412, "POST", "/files", ("Upload-Length: 1",), id="412"),
    pytest.param(413, "POST", "/files", (TUS, f"Upload-Length: {MAX_LENGTH + 1}"), id="413"),
    pytest.param(415, "PATCH", "{upload}", (TUS, "Upload-Offset: 0"), id="415"),
]


@pytest.mark.parametrize(("status", "method", "path", "lines"), REFUSALS)
def test_d_44_a_page_can_read_every_refusal(tus, status, method, path, lines):
    path = path.format(upload=tus.create(5))
    reply = ask(tus, method, path, *lines, FROM, body=b"" if method in {"POST", "PATCH", "PUT"} else None)
    assert reply.status == status
    check_open(reply)


def test_a_page_can_read_every_success(tus):
    """D-43; the file id and the digest of the completing reply too."""
    made = post(tus, FROM, "Upload-Length: 10")
    path = "/files/" + made.headers["location"].rpartition("/")[2]
    for reply in (
        made,
        patch(tus, path, 0, FROM, body=b"hello"),
        ask(tus, "HEAD", path, TUS, FROM),
        patch(tus, path, 5, FROM, body=b"world"),
        ask(tus, "GET", path, FROM),
        ask(tus, "GET", path + "/status", FROM),
        ask(tus, "DELETE", path, TUS, FROM),
        ask(tus, "GET", "/health/live", FROM),
    ):
        assert reply.status < 300
        check_open(reply)


def test_a_request_that_is_not_from_a_page_is_told_nothing_of_cors(tus):
    check_closed(ask(tus, "OPTIONS", "/files"))
    check_closed(tus.head(finished(tus, b"x")))


def test_an_allowed_origin_may_send_credentials(guarded):
    with Client(guarded.port) as client:
        for reply in (
            ask(client, "OPTIONS", "/files", FROM, *PREFLIGHT),
            post(client, FROM, BEARER, "Upload-Length: 1"),
            post(client, FROM, "Upload-Length: 1"),
        ):
            assert reply.headers["access-control-allow-origin"] == ORIGIN
            assert reply.headers["access-control-allow-credentials"] == "true"
            assert reply.headers["vary"] == "Origin"
            assert "*" not in reply.headers["access-control-expose-headers"]
        assert reply.status == 401, "the last one had no token, and the page can read that"


@pytest.mark.parametrize(
    "origin", [ELSEWHERE, "Origin: null", f"Origin: {ORIGIN}.evil.example", f"Origin: {ORIGIN}:8443", "Origin: *"]
)
def test_another_origin_is_told_nothing(guarded, origin):
    with Client(guarded.port) as client:
        for reply in (
            ask(client, "OPTIONS", "/files", origin, *PREFLIGHT),
            ask(client, "OPTIONS", "/health/live", origin, *PREFLIGHT),
            post(client, origin, BEARER, "Upload-Length: 1"),
            post(client, origin, "Upload-Length: 1"),
        ):
            check_closed(reply)
            assert reply.headers["vary"] == "Origin"


def test_a_cache_is_told_that_replies_differ_by_origin_even_without_one(guarded):
    with Client(guarded.port) as client:
        assert ask(client, "HEAD", UNKNOWN, TUS, BEARER).headers["vary"] == "Origin"


def test_the_upload_page_gets_a_refusal_for_an_address_with_two_slashes_like_any_other(tus):
    reply = ask(tus, "PUT", "//files", TUS, FROM)
    check_refusal(reply, 405)
    check_open(reply)
    assert reply.headers["allow"] == "OPTIONS, POST"

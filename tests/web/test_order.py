"""Two faults at once: the earlier rule of the decision order wins (protocol 1.9), whatever comes after it.

The header matrix (1.10) closes the page: which reply carries what.
"""

import pytest

from rig.tus import Client
from web.service import BODY, MAX_LENGTH, TOKEN, TUS, UNKNOWN, ask, check_refusal, check_standard, post

BEARER = f"Authorization: Bearer {TOKEN}"
OLD = "Tus-Resumable: 0.2.2"
JSON = "Content-Type: application/json"
TEN = "Upload-Length: 10"
ZERO = "Upload-Offset: 0"
TOO_LONG = f"Upload-Length: {MAX_LENGTH + 1}"
HUGE = "Content-Length: 9223372036854775808"  # 2^63
BAD_METADATA = "Upload-Metadata: a b c"
CHECKSUM = "Upload-Checksum: sha1 AAAA"


@pytest.mark.parametrize(
    ("method", "path", "lines", "status"),
    [
        pytest.param("GET", UNKNOWN, (OLD, "X-HTTP-Method-Override: OPTIONS"), 204, id="1 override, 5 version"),
        pytest.param("DELETE", "/files/a/b", (OLD,), 404, id="2 route, 5 version"),
        pytest.param("PATCH", "/files", (OLD,), 405, id="2 method, 5 version"),
        pytest.param("PUT", "{upload}", (), 405, id="2 method, 5 version missing"),
        pytest.param("OPTIONS", UNKNOWN, (OLD,), 204, id="3 OPTIONS, 5 version"),
        pytest.param("POST", "/files", (OLD,), 412, id="5 version, 6 token"),
        pytest.param("HEAD", UNKNOWN, (OLD,), 412, id="5 version, 6 token, existence"),
        pytest.param("POST", "/files", (TUS,), 401, id="6 token, length"),
        pytest.param("PATCH", UNKNOWN, (TUS, JSON), 401, id="6 token, existence, type"),
        pytest.param("DELETE", "/files/not-an-id", (TUS,), 401, id="6 token, malformed id"),
    ],
)
def test_all_methods(guarded, method, path, lines, status):
    with Client(guarded.port) as client:
        path = path.format(upload="/files/" + post(client, TEN, BEARER).headers["location"].rpartition("/")[2])
        before = guarded.state()
        reply = ask(client, method, path, *lines, body=None if method == "HEAD" else b"")
        assert reply.status == status
        check_standard(reply)
        assert guarded.state() == before


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        pytest.param(("Upload-Concat: Partial", TOO_LONG), 400, id="concat, max"),
        pytest.param(("Upload-Length: -1", BAD_METADATA, CHECKSUM), 400, id="length, metadata, checksum"),
        pytest.param((TOO_LONG, BAD_METADATA), 413, id="max, metadata"),
        pytest.param((TOO_LONG, CHECKSUM), 413, id="max, checksum"),
        pytest.param((TEN, BAD_METADATA, HUGE), 400, id="metadata, body too long"),
        pytest.param((TEN, CHECKSUM, HUGE), 400, id="checksum, body too long"),
        pytest.param((TEN, HUGE), 413, id="body too long"),
    ],
)
def test_post(service, lines, status):
    before = service.state()
    with Client(service.port) as client:
        check_refusal(ask(client, "POST", "/files", TUS, BODY, *lines), status)
    assert service.state() == before


@pytest.mark.parametrize(
    ("path", "lines", "status"),
    [
        pytest.param(UNKNOWN, (JSON, HUGE), 404, id="existence, type, body too long"),
        pytest.param("/files/" + "A" * 32, (BODY, "Upload-Offset: x", HUGE), 404, id="malformed id, offset"),
        pytest.param("{upload}", (JSON, "Upload-Offset: x"), 415, id="type, offset syntax"),
        pytest.param("{upload}", (JSON, ZERO, HUGE), 415, id="type, body too long"),
        pytest.param("{upload}", (BODY, "Upload-Offset: x", CHECKSUM), 400, id="offset syntax, checksum"),
        pytest.param("{upload}", (BODY, "Upload-Offset: 5", CHECKSUM), 400, id="checksum, offset mismatch"),
        pytest.param("{upload}", (BODY, "Upload-Offset: 5", "Upload-Length: 9"), 400, id="length, offset mismatch"),
        pytest.param("{upload}", (BODY, "Upload-Offset: 5", "Content-Length: 11"), 409, id="offset, body too long"),
        pytest.param("{upload}", (BODY, "Upload-Offset: 5", HUGE), 409, id="offset, body beyond 63 bits"),
        pytest.param("{upload}", (BODY, ZERO, HUGE), 413, id="body beyond 63 bits"),
    ],
)
def test_patch(service, path, lines, status):
    with Client(service.port) as client:
        path = path.format(upload=client.create(10))
        before = service.state()
        check_refusal(ask(client, "PATCH", path, TUS, *lines), status, offset=0 if status == 409 else None)
        assert service.state() == before


@pytest.mark.parametrize(
    ("lines", "status"),
    [((JSON, ZERO), 415), ((BODY, "Upload-Offset: x"), 400), ((BODY, ZERO, "Upload-Length: 1"), 400)],
)
def test_a_patch_that_its_head_refuses_disturbs_nobody(service, lines, status):
    with Client(service.port) as holder, Client(service.port) as other:
        path = holder.create(10)
        holder.begin(path, 0, 10)
        holder.send(b"hello")
        check_refusal(ask(other, "PATCH", path, TUS, *lines, body=b"x"), status)
        holder.send(b"world")
        assert holder.reply().offset == 10


MATRIX = {
    "location",
    "upload-offset",
    "upload-length",
    "upload-metadata",
    "tus-checksum-algorithm",
    "tus-extension",
    "tus-max-size",
    "tus-version",
    "upload-concat",
    "upload-defer-length",
    "upload-expires",
}
DISCOVERY = {"tus-version", "tus-extension", "tus-max-size", "tus-checksum-algorithm"}
EXPIRES = "upload-expires"  # of an upload that will
DESCRIBED = {"upload-offset", "upload-length", "upload-metadata", EXPIRES}


@pytest.mark.parametrize(
    ("method", "path", "lines", "status", "has"),
    [
        pytest.param("OPTIONS", "/files", (), 204, DISCOVERY, id="OPTIONS 204"),
        pytest.param(
            "POST", "/files", (TUS, TEN, "Upload-Metadata: a"), 201, {"location", "upload-offset", EXPIRES}, id="201"
        ),
        pytest.param("HEAD", "{u}", (TUS,), 200, DESCRIBED, id="HEAD 200"),
        pytest.param("PATCH", "{u}", (TUS, BODY, ZERO), 204, {"upload-offset", EXPIRES}, id="PATCH 204"),
        pytest.param("DELETE", "{u}", (TUS,), 204, set(), id="DELETE 204"),
        pytest.param("PATCH", "{u}", (TUS, BODY, "Upload-Offset: 1"), 409, {"upload-offset", EXPIRES}, id="409"),
        pytest.param("PATCH", "{u}", (OLD,), 412, {"tus-version"}, id="412"),
        pytest.param("POST", "/files", (TUS, TOO_LONG), 413, {"tus-max-size"}, id="413 on POST"),
        pytest.param("POST", "/files", (TUS,), 400, set(), id="400"),
        pytest.param("HEAD", UNKNOWN, (TUS,), 404, set(), id="404"),
        pytest.param("PUT", "{u}", (TUS,), 405, set(), id="405"),
        pytest.param("PATCH", "{u}", (TUS, JSON, ZERO), 415, {EXPIRES}, id="415"),
        pytest.param("GET", "{u}", (), 409, set(), id="409 of a download"),
    ],
)
def test_each_reply_carries_what_the_matrix_says_and_no_more(tus, method, path, lines, status, has):  # noqa: PLR0917 - a row
    """C-05, C-20, C-23, EX-02, EX-03, EX-11."""
    location = post(tus, TEN, "Upload-Metadata: a").headers["location"]
    reply = ask(tus, method, path.format(u="/files/" + location.rpartition("/")[2]), *lines)
    assert reply.status == status
    check_standard(reply)
    assert MATRIX & set(reply.headers) == has

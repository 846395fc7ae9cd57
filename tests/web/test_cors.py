"""Cross-origin requests: a browser must be able to read every reply, errors above all (ids D-43, D-44, C-54)."""

import pytest
from litestar import get

from rig.tus import Client, Reply, path_of
from tusplyr.core.decide import Limits
from tusplyr.web.application import build
from web.service import BODY, MAX_LENGTH, ORIGIN, TOKEN, TUS, UNKNOWN, ask, check_refusal, finished, patch, post, spell

BEARER = f"Authorization: Bearer {TOKEN}"
FROM = f"Origin: {ORIGIN}"
ELSEWHERE = "Origin: https://evil.example"
PREFLIGHT = ("Access-Control-Request-Method: PATCH", "Access-Control-Request-Headers: tus-resumable")

METHODS = {"POST", "HEAD", "PATCH", "DELETE", "OPTIONS", "GET", "PUT"}
SENT = {  # all of what the clients of the field send, the IETF's protocol included
    *("authorization", "content-type", "tus-resumable", "upload-length", "upload-offset", "upload-metadata"),
    *("upload-defer-length", "upload-concat", "upload-checksum", "x-http-method-override", "x-requested-with"),
    *("x-request-id", "idempotency-key", "upload-complete", "upload-incomplete", "upload-draft-interop-version"),
    *("content-disposition", "content-digest", "repr-digest", "want-repr-digest"),
}
READ = {
    *("location", "upload-offset", "upload-length", "upload-metadata", "upload-defer-length", "upload-concat"),
    *("upload-expires", "tus-version", "tus-resumable", "tus-max-size", "tus-extension", "tus-checksum-algorithm"),
    *("upload-complete", "upload-incomplete", "upload-limit", "upload-draft-interop-version", "repr-digest"),
    *("retry-after", "x-request-id", "tusplyr-file-id"),
}


def names(reply, header):
    """Return a list of a header as a set of lower-case names."""
    return {name.strip().lower() for name in reply.headers[header].split(",")}


def check_open(reply):
    """Every origin may read this."""
    assert reply.headers["access-control-allow-origin"] == "*"
    assert names(reply, "access-control-expose-headers") == READ
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
    assert names(reply, "access-control-allow-headers") == SENT
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
    pytest.param(416, "GET", "{stored}", ("Range: bytes=99-",), id="416"),
    pytest.param(400, "PATCH", "{upload}", ("Upgrade: x", "Connection: Upgrade"), id="400 without the application"),
    pytest.param(400, "GET", "nonsense", (), id="400 of no request"),
]


@pytest.mark.parametrize(("status", "method", "path", "lines"), REFUSALS)
def test_d_44_a_page_can_read_every_refusal(tus, status, method, path, lines):
    path = path.format(upload=tus.create(5), stored=finished(tus, b"hello"))
    body = b"x" if "Upgrade: x" in lines else b"" if method in {"POST", "PATCH", "PUT"} else None
    reply = ask(tus, method, path, *lines, FROM, body=body)
    assert reply.status == status
    check_open(reply)


def test_d_44_a_page_can_read_that_its_head_is_too_large(tus, guarded):
    tus.send(spell(tus, "GET", "/files", FROM, "X: " + "x" * 70_000)[:-2])
    reply = tus.reply()
    assert reply.status == 431
    check_open(reply)
    with Client(guarded.port) as client:
        client.send(spell(client, "GET", "/files", FROM, "X: " + "x" * 70_000)[:-2])
        reply = client.reply()
        assert (reply.status, reply.headers["access-control-allow-origin"]) == (431, ORIGIN)
        client.connect()
        client.send(spell(client, "GET", "/files", ELSEWHERE, "X: " + "x" * 70_000)[:-2])
        check_closed(client.reply())
        client.connect()
        client.send(spell(client, "GET", "/files", "X: " + "x" * 70_000, FROM)[:-2])
        check_closed(client.reply())


def test_d_44_a_page_can_read_what_is_the_fault_of_the_server(guarded, full):
    with Client(guarded.port) as client:
        path = path_of(post(client, BEARER, "Upload-Length: 9").headers["location"])
        client.send(spell(client, "PATCH", path, TUS, BODY, BEARER, FROM, "Upload-Offset: 0", "Content-Length: 9"))
        reply = client.reply()  # nothing comes for IDLE_TIMEOUT
        assert (reply.status, reply.headers["access-control-allow-origin"]) == (503, ORIGIN)
    with Client(full.port) as client:
        for status, reply in (
            (507, post(client, FROM, "Upload-Length: 1")),
            (503, ask(client, "GET", "/health/ready", FROM)),
        ):
            assert reply.status == status
            check_open(reply)


def test_d_44_a_page_can_read_a_fault_that_nobody_foresaw(run):
    @get("/fault")
    async def fault() -> None:
        raise RuntimeError("never seen")

    async def main() -> list[dict[str, object]]:
        app = build([fault], base_path="/files", limits=Limits(), origins=("*",))
        return await answers(app, "GET", "/fault", {"host": "here", "origin": ORIGIN})

    start, body, *_ = run(main())
    fields = {name.decode(): value.decode() for name, value in start["headers"]}
    assert start["status"] == 500
    assert b"never seen" not in body["body"]
    check_open(Reply(500, fields, b""))


async def answers(app, method, path, headers):
    """Return the messages that an application sends in answer to one request without a body."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "scheme": "http",
        "server": ("here", 80),
        "client": ("127.0.0.1", 1),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "extensions": {},
    }
    await app(scope, receive, send)
    return sent


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

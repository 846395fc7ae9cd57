"""The bearer token: who must bring it, when it is looked at, and that a public server has one."""

import subprocess
import sys

import pytest

from rig.tus import Client, path_of
from web.service import BODY, TOKEN, TUS, UNKNOWN, ask, check_refusal, interim, post, spell

BEARER = f"Authorization: Bearer {TOKEN}"


@pytest.fixture
def client(guarded):
    """A connection to the guarded server."""
    with Client(guarded.port) as client:
        yield client


@pytest.fixture
def upload(client):
    """The path of an upload of ten bytes there."""
    return path_of(post(client, BEARER, "Upload-Length: 10").headers["location"])


WRONG = [
    None,
    "Authorization: Bearer",
    "Authorization: Bearer wrong",
    f"Authorization: Bearer {TOKEN[:-1]}",
    f"Authorization: Bearer {TOKEN}x",
    f"Authorization: Bearer {TOKEN.upper()}",
    f"Authorization: Basic {TOKEN}",
    f"Authorization: {TOKEN}",
    f"Authorization: Bearer Bearer {TOKEN}",
    "Authorization: Bearer \xff\xfe",
]


@pytest.mark.parametrize("line", WRONG)
@pytest.mark.parametrize("method", ["POST", "HEAD", "PATCH", "DELETE", "GET"])
def test_a_request_without_the_token_is_401_and_does_nothing(guarded, client, upload, method, line):
    before = guarded.state()
    path = "/files" if method == "POST" else upload
    lines = (TUS, BODY, "Upload-Length: 10", "Upload-Offset: 0", *([line] if line else []))
    reply = ask(client, method, path, *lines, body=b"hello" if method in {"POST", "PATCH"} else None)
    check_refusal(reply, 401)
    assert reply.headers["www-authenticate"] == "Bearer"
    assert TOKEN.encode() not in reply.body
    assert guarded.state() == before


@pytest.mark.parametrize("path", ["{upload}/status", "/metrics"])
def test_documents_need_the_token_too(client, upload, path):
    path = path.format(upload=upload)
    refused = ask(client, "GET", path)
    assert (refused.status, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert ask(client, "GET", path, BEARER).status == 200


def test_the_token_lets_in_and_the_word_bearer_has_no_case(client, upload):
    assert ask(client, "HEAD", upload, TUS, BEARER).offset == 0
    assert ask(client, "HEAD", upload, TUS, f"authorization: bEARER  {TOKEN}").offset == 0


def test_discovery_and_health_need_no_token(client):
    assert ask(client, "OPTIONS", "/files").status == 204
    assert ask(client, "OPTIONS", UNKNOWN, "Origin: https://app.example.org").status == 204
    assert ask(client, "GET", "/health/live").status == 200
    assert ask(client, "GET", "/health/ready").status == 200


def test_the_token_is_looked_at_before_the_upload_so_that_nobody_can_probe_for_ids(client, upload):
    assert ask(client, "HEAD", UNKNOWN, TUS).status == ask(client, "HEAD", upload, TUS).status == 401


def test_two_different_tokens_are_400(client, upload):
    check_refusal(ask(client, "DELETE", upload, TUS, BEARER, "Authorization: Bearer other"), 400)
    assert ask(client, "GET", "/metrics", BEARER, "Authorization: Bearer other").status == 400


@pytest.mark.parametrize(("method", "offset"), [("POST", "Upload-Length: 10"), ("PATCH", "Upload-Offset: 0")])
def test_a_client_that_waits_before_its_body_gets_401_and_no_word_to_go_on(client, upload, method, offset):
    path = "/files" if method == "POST" else upload
    client.send(spell(client, method, path, TUS, BODY, offset, "Content-Length: 10", "Expect: 100-continue"))
    assert interim(client).startswith(b"HTTP/1.1 401 ")
    check_refusal(client.reply(), 401)


def test_a_refused_client_need_not_have_sent_any_of_its_body(client, upload):
    client.send(spell(client, "PATCH", upload, TUS, BODY, "Upload-Offset: 0", "Content-Length: 10"))
    check_refusal(client.reply(), 401)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_serve_refuses_to_listen_beyond_loopback_without_a_token(tmp_path, host):
    line = [sys.executable, "-m", "tusplyr", "serve", "--host", host, "--port", "0"]
    done = subprocess.run(line, cwd=tmp_path, env={}, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert "AUTH_TOKEN" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []

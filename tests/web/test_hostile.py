"""Peers that mean harm: what they send must cost them more than us, and must not pass for what it is not."""

import time
from pathlib import Path

import pytest

from rig.tus import Client
from web.service import BODY, TOKEN, TUS, ask, finished, spell

MIB = 1024 * 1024
GET = b"GET /files/a HTTP/1.1\r\nHost: x\r\n\r\n"


def resident(server):
    """RSS in bytes."""
    line = next(line for line in Path(f"/proc/{server.pid}/status").read_text().splitlines() if "VmRSS" in line)
    return int(line.split()[1]) * 1024


def push(client, data, limit=5.0):
    """Send for as long as the server takes it; return how many bytes it took."""
    client.socket.settimeout(limit)
    sent = 0
    view = memoryview(data)
    try:
        while sent < len(view):
            sent += client.socket.send(view[sent : sent + 65536])
    except OSError:
        pass
    return sent


def everything(client):
    """All that the server sends until it closes."""
    data = b""
    client.socket.settimeout(10)
    try:
        while piece := client.socket.recv(65536):
            data += piece
    except ConnectionError:
        pass
    return data


def test_a_flood_of_pipelined_requests_is_cut_short_and_others_are_served(service):
    before = resident(service)
    floods = [Client(service.port) for _ in range(10)]
    for flood in floods:
        push(flood, GET * 30_000, limit=0.5)
    began = time.monotonic()
    with Client(service.port) as other:
        assert other.request("GET", "/health/live").status == 200
    assert time.monotonic() - began < 2
    assert resident(service) - before < 20 * MIB
    for flood in floods:
        flood.close()


def test_a_few_pipelined_requests_are_all_answered(service):
    with Client(service.port) as client:
        client.send(GET * 20)
        assert [client.reply().status for _ in range(20)] == [404] * 20


def test_nonsense_behind_a_whole_request_does_not_take_its_answer_away(service):
    with Client(service.port) as client:
        path = client.create(5)
        client.connect()
        head = spell(client, "PATCH", path, TUS, BODY, "Upload-Offset: 0", "Content-Length: 5")
        client.send(head + b"hello" + b"\0 nonsense \r\n\r\n")  # at once: what comes later gets an answer of its own
        answers = everything(client)
    assert answers.startswith(b"HTTP/1.1 204 ")
    assert answers.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("tail", [b"a:b\r\n" * 2_000_000, b"a:" + b"b" * 10_000_000], ids=["many", "long"])
def test_trailers_are_bounded(service, tail):
    before = resident(service)
    with Client(service.port) as client:
        path = client.create(10)
        client.connect()
        lines = ("Content-Type: application/offset+octet-stream", "Upload-Offset: 0", "Transfer-Encoding: chunked")
        client.send("\r\n".join((f"PATCH {path} HTTP/1.1", "Host: x", "Tus-Resumable: 1.0.0", *lines, "", "")).encode())
        client.send(b"1\r\na\r\n0\r\n")
        assert push(client, tail, limit=3.0) < len(tail)
    assert resident(service) - before < 20 * MIB


def test_a_head_behind_a_running_answer_is_bounded(service):
    with Client(service.port) as client:
        path = finished(client, bytes(30 * MIB))
        before = resident(service)
        client.connect()
        client.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        time.sleep(0.3)
        client.send(b"GET / HTTP/1.1\r\n")
        push(client, b"a:b\r\n" * 2_000_000, limit=2.0)
        assert resident(service) - before < 20 * MIB


def test_a_trailer_is_not_a_field_of_the_head(service, guarded):
    def trailing(client, method, path, trailer):
        client.send(
            f"{method} {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{trailer}\r\n\r\n".encode()
        )
        return client.reply().status

    with Client(guarded.port) as client:
        assert trailing(client, "GET", "/metrics", f"Authorization: Bearer {TOKEN}") == 401
    with Client(service.port) as client:
        assert trailing(client, "POST", "/files", "Tus-Resumable: 1.0.0\r\nUpload-Length: 7") == 412
        assert trailing(client, "GET", "/files/x", "X-HTTP-Method-Override: OPTIONS") == 404


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_length_with_thousands_of_zeros_is_a_length(service, method):
    with Client(service.port) as client:
        client.send(f"{method} /files HTTP/1.1\r\nHost: x\r\nContent-Length: {'0' * 5000}5\r\n\r\nhello".encode())
        assert client.reply().status in {405, 412}
        assert client.request("GET", "/health/live").status == 200


def test_a_head_of_one_name_over_and_over_costs_no_more_than_others(service):
    with Client(service.port) as client:
        began = time.monotonic()
        for _ in range(5):
            assert ask(client, "GET", "/files/x", *["a: b"] * 8000).status == 404
        assert time.monotonic() - began < 2  # quadratic, it took a third of a second each


def test_other_codings_of_the_transfer_are_refused(service):
    with Client(service.port) as client:
        lines = (
            "Upload-Length: 5",
            "Content-Type: application/offset+octet-stream",
            "Transfer-Encoding: gzip, chunked",
        )
        client.send("\r\n".join(("POST /files HTTP/1.1", "Host: x", "Tus-Resumable: 1.0.0", *lines, "", "")).encode())
        client.send(b"5\r\nhello\r\n0\r\n\r\n")
        assert client.reply().status == 400


def test_metadata_that_is_mostly_commas_is_refused(service):
    with Client(service.port) as client:
        metadata = "k YQ==" + "," * 20_000
        assert (
            ask(
                client, "POST", "/files", "Tus-Resumable: 1.0.0", "Upload-Length: 5", f"Upload-Metadata: {metadata}"
            ).status
            == 400
        )

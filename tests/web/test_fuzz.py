"""A seeded crowd of requests, most of them spoilt: never the server's fault, never a hang."""

import contextlib
import random
import socket
import time
from collections import Counter

from rig.tus import Client
from web.service import BODY, TUS, UNKNOWN, finished

SEED = 1000
COUNT = 500
CHUNKED = "5\r\nhello\r\n0\r\n\r\n"
RIGHT = [
    ("POST", "/files", [TUS, "Upload-Length: 5"], ""),
    ("POST", "/files", [TUS, BODY, "Upload-Length: 5", "Content-Length: 5"], "hello"),
    ("POST", "/files", [TUS, BODY, "Upload-Length: 9", "Transfer-Encoding: chunked"], CHUNKED),
    ("PATCH", "{u}", [TUS, BODY, "Upload-Offset: 0", "Content-Length: 5"], "hello"),
    ("PATCH", "{u}", [TUS, BODY, "Upload-Offset: 0", "Expect: 100-continue", "Content-Length: 5"], "hello"),
    ("PATCH", "{u}", [TUS, BODY, "Upload-Offset: 0", "Transfer-Encoding: chunked"], CHUNKED),
    ("POST", "{u}", [TUS, BODY, "Upload-Offset: 0", "Content-Length: 5", "X-HTTP-Method-Override: PATCH"], "hello"),
    ("HEAD", "{u}", [TUS], ""),
    ("GET", "{done}", ["Range: bytes=0-2"], ""),
    ("GET", "{done}", ["If-None-Match: *"], ""),
    ("GET", "{u}/status", [], ""),
    ("DELETE", UNKNOWN, [TUS], ""),
    ("OPTIONS", "/files", ["Origin: https://a"], ""),
    ("GET", "/metrics", [], ""),
]
METHODS = [
    "get",
    "",
    "P\x00ST",
    "PATCH PATCH",
    "TRACE",
    "CONNECT",
    "PRI",
    "PROPFIND",
    "POST",
    "PATCH",
    "HEAD",
    "GET",
    "PUT",
]
PATHS = [
    "/files/..%2f",
    "//files//{u}",
    "*",
    "/",
    "http://a/files",
    "files",
    "/files/%00",
    "/files/\xff",
    "?",
    "#",
    "{u}",
]
VERSIONS = ["HTTP/1.0", "HTTP/2.0", "HTTP/9", "", "HTTP/1.1 x"]
LINES = [
    *("Upload-Length: -1", "Upload-Offset: 9e9", "Upload-Metadata: a YQ==,a YQ==", "Upload-Metadata: \xff \xff"),
    *(
        "Content-Length: 900",
        "Content-Length: -1",
        f"Content-Length: {2**63}",
        f"Content-Length: {2**70}",
        "X: " + "X" * 70_000,
    ),
    *(
        "Transfer-Encoding: gzip",
        "Expect: cake",
        "Connection: upgrade",
        "Upgrade: websocket",
        "Upgrade: h2c",
        "Connection: close",
    ),
    *(
        "Range: bytes=" + "9" * 5000 + "-",
        "Range: bytes=1-2",
        "X-HTTP-Method-Override: \xff",
        "Origin: \xff",
        "If-Range: x",
    ),
    *(
        "Host: [",
        "Host: a:99999",
        "Host: \xff",
        "Authorization: Bearer",
        "Cookie: ;=;\xff",
        ": x",
        " folded",
        "Connection: \xff",
    ),
    *("Upload-Checksum: sha1", "Upload-Concat: final;", "Content-Encoding: gzip", "Content-Type: multipart/form-data"),
    *(
        "Content-Type: \xff",
        "Accept: \xff",
        "A: \x00",
        "A: \x7f",
        "",
        "Upload-Offset: " + "9" * 5000,
        "Tus-Resumable: 9",
    ),
]
BODIES = ["", "5\r\nhello\r\n", "ffff\r\n", "\x00" * 900, "GET / HTTP/1.1\r\n\r\n", "hello" * 50_000]


def any_request(chance: random.Random, upload: str, done: str) -> bytes:
    """Take a request that is right, and spoil up to three things of it."""
    method, path, lines, body = chance.choice(RIGHT)
    version, lines, flips = "HTTP/1.1", ["Host: a", *lines], 0
    for _ in range(chance.randint(0, 3)):
        match chance.randint(0, 8):
            case 0:
                method = chance.choice(METHODS)
            case 1:
                path = chance.choice(PATHS)
            case 2:
                version = chance.choice(VERSIONS)
            case 3 | 4 | 5:
                lines.insert(chance.randint(0, len(lines)), chance.choice(LINES))
            case 6 if lines:
                lines.remove(chance.choice(lines))
            case 7:
                body = chance.choice(BODIES)
            case _:
                flips += 1
    start = f"{method} {path} {version}".replace("{u}", upload).replace("{done}", done)
    request = bytearray(("\r\n".join([start, *lines, "", ""]) + body).encode("latin-1"))
    for _ in range(flips):
        at = chance.randrange(len(request))
        request[at : at + 1] = chance.randbytes(chance.randint(0, 3))
    return bytes(request)


def statuses(port: int, request: bytes) -> list[int]:
    """Send a request, end our side, and return the status of every reply until the server ends its own."""
    said = b""
    connection = socket.create_connection(("127.0.0.1", port), timeout=5)
    with connection, contextlib.suppress(ConnectionResetError, BrokenPipeError):
        connection.sendall(request)
        with contextlib.suppress(OSError):  # the server has closed already
            connection.shutdown(socket.SHUT_WR)
        while data := connection.recv(65_536):
            said += data
    lines = said.split(b"\r\n")
    return [int(line.split(b" ")[1]) for line in lines if line.startswith(b"HTTP/1.1 ")]


def test_five_hundred_absurd_requests_are_never_the_servers_fault_and_leave_it_alive(service, tus):
    chance = random.Random(SEED)
    seen: Counter[int] = Counter()
    done = finished(tus, b"done")
    for number in range(COUNT):
        if number % 20 == 0:
            upload = tus.create(1000)
        request = any_request(chance, upload, done)
        began = time.monotonic()
        replies = statuses(service.port, request)
        assert time.monotonic() - began < 4, (number, request[:2000])
        assert all(status < 500 for status in replies), (number, request[:2000])
        seen.update(replies)
    assert {200, 201, 204, 206, 304, 400, 404, 405, 409, 412, 415} <= set(seen), f"too tame: {seen}"
    with Client(service.port) as client:
        assert finished(client, b"alive")
    assert "Traceback" not in service.log.read_text()

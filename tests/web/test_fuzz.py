"""A seeded crowd of requests, most of them spoilt: never the server's fault, never a hang, and nothing grows.

`make test` sends 2,000; FUZZ_REQUESTS and FUZZ_SEED say otherwise (CI sends 10,000). See `grammar` for what is sent.
"""

import contextlib
import os
import re
import socket
import sqlite3
import struct
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from rig.tus import Client, path_of
from web.grammar import BEGUN, BODY, LENGTH, Places, sent
from web.service import MAX_LENGTH, MIB, Service, ask, finished, patch, post

COUNT = int(os.environ.get("FUZZ_REQUESTS", "2000"))
SEED = os.environ.get("FUZZ_SEED", "1000")
WARM_UP = 500  # requests after which memory is what a server needs that has seen everything once
ROUND = 25  # requests about the same addresses
GROWTH = 16 * MIB
LIMIT = 15.0  # seconds without a word; a server that needs them hangs
STATUS = re.compile(rb"^HTTP/1\.1 (\d{3}) ", re.MULTILINE)


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Service]:
    """A server that serves nothing else."""
    with Service(tmp_path, MAX_LENGTH=MAX_LENGTH) as server:
        yield server


def offered(client: Client) -> set[str]:
    return set(ask(client, "OPTIONS", "/files").headers["tus-extension"].split(","))


def places(client: Client, extensions: set[str]) -> Places:
    """Make the uploads that the next requests are about."""
    client.connect()
    begun = client.create(LENGTH)
    assert patch(client, begun, 0, body=bytes(BEGUN)).offset == BEGUN
    gone = client.create(LENGTH)
    client.delete(gone)
    lines = ("Upload-Concat: partial",) if "concatenation" in extensions else ()
    parts = [path_of(post(client, "Upload-Length: 5", BODY, *lines, body=b"hello").headers["location"]) for _ in "ab"]
    done = joined = finished(client, b"done")
    if lines:
        joined = path_of(post(client, f"Upload-Concat: final;{' '.join(parts)}").headers["location"])
    length = "Upload-Defer-Length: 1" if "creation-defer-length" in extensions else f"Upload-Length: {LENGTH}"
    return Places(
        fresh=client.create(LENGTH),
        begun=begun,
        deferred=path_of(post(client, length).headers["location"]),
        done=done,
        gone=gone,
        parts=(parts[0], parts[1]),
        joined=joined,
        origin=f"http://127.0.0.1:{client.port}",
    )


def deliver(port: int, number: str, where: Places) -> list[int]:
    """Send what the number stands for, and return the status of every reply. Raises `TimeoutError` when it hangs."""
    request = sent(number, where)
    said = b""
    with socket.create_connection(("127.0.0.1", port), timeout=LIMIT) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            for segment in request.segments[:-1]:
                connection.sendall(segment)
            if request.pause:
                said += overheard(connection)
            connection.sendall(request.segments[-1])
            if request.end == "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if request.end == "half":
            with contextlib.suppress(OSError):  # the server has closed already
                connection.shutdown(socket.SHUT_WR)
            said += everything(connection)
    return [int(status) for status in STATUS.findall(said)]


def overheard(connection: socket.socket) -> bytes:
    """Return what the server says within a moment."""
    connection.settimeout(0.02)
    try:
        return connection.recv(65_536)
    except TimeoutError:
        return b""
    finally:
        connection.settimeout(LIMIT)


def everything(connection: socket.socket) -> bytes:
    """Return all that the server says until it ends."""
    said = b""
    with contextlib.suppress(ConnectionResetError):
        while data := connection.recv(65_536):
            said += data
    return said


def rush(server: Service, name: str, count: int) -> Counter[int]:
    """Send so many requests; none may be the server's fault, and none may hang."""
    seen: Counter[int] = Counter()
    with Client(server.port) as client:
        extensions = offered(client)
        for number in range(count):
            if number % ROUND == 0:
                where = places(client, extensions)
            seed = f"{name} {number}"
            try:
                replies = deliver(server.port, seed, where)
            except TimeoutError:
                pytest.fail(f"seed {seed!r}: no end after {LIMIT} s: {sent(seed, where)!r:.3000}")
            assert all(status < 500 for status in replies), f"seed {seed!r}: {replies} to {sent(seed, where)!r:.3000}"
            seen.update(replies)
    return seen


def resident(server: Service) -> int:
    """Return RSS in bytes."""
    status = Path(f"/proc/{server.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) * 1024


def descriptors(server: Service) -> int:
    return len(list(Path(f"/proc/{server.pid}/fd").iterdir()))


def gauges(server: Service) -> dict[str, float]:
    with Client(server.port) as client:
        text = ask(client, "GET", "/metrics").body.decode()
    found = re.findall(r"^tusplyr_(appends_active|buffers_free) (.+)$", text, re.MULTILINE)
    return {name: float(value) for name, value in found}


def strays(server: Service) -> tuple[list[str], list[str]]:
    """Return spool files that no live row knows, and rows that promise more than their file holds."""
    with closing(sqlite3.connect(f"file:{server.data / 'tusplyr.db'}?mode=ro", uri=True)) as database:
        rows = database.execute("SELECT id, offset FROM uploads WHERE status NOT IN ('stored', 'gone')").fetchall()
    live = dict(rows)
    files = {file.name: file.stat().st_size for file in server.spooled()}
    known = {name for name in files if name[:32] in live}
    return sorted(set(files) - known), [name for name, offset in rows if files.get(name, 0) < offset]


def settled(look, wanted, limit: float = 10.0):
    """Look again until what is seen is what is wanted; return the last look."""
    deadline = time.monotonic() + limit
    while (found := look()) != wanted and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def test_a_crowd_of_absurd_requests_is_never_the_servers_fault_and_leaves_nothing_behind(alone):
    rush(alone, f"warm-up {SEED}", WARM_UP)
    memory, idle, files = resident(alone), gauges(alone), settled(lambda: descriptors(alone), 0, limit=0.5)
    seen = rush(alone, SEED, COUNT)
    assert {200, 201, 204, 206, 304, 400, 403, 404, 405, 409, 412, 413, 415, 416, 460} <= set(seen), f"too tame: {seen}"
    assert settled(lambda: gauges(alone), idle) == idle, f"seed {SEED}: a body or a buffer was not given back"
    assert settled(lambda: strays(alone), ([], [])) == ([], []), f"seed {SEED}"
    assert settled(lambda: descriptors(alone) <= files + 4, wanted=True), f"seed {SEED}: descriptors are left"
    assert resident(alone) - memory < GROWTH, f"seed {SEED}"
    with Client(alone.port) as client:
        assert ask(client, "GET", finished(client, b"alive")).body == b"alive"
    log = alone.log.read_text()
    assert "Traceback" not in log
    assert "failed unexpectedly" not in log

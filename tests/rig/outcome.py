"""What became of an upload, seen from outside: the server's words about it and the objects in its store.

Owns the comparison with the source. Must not know which client sent it. Invariant: it looks past any
proxy, at the server itself.
"""

import hashlib
import http.client
import json
import time
from collections.abc import Callable
from typing import Any

from rig.server import Server
from rig.source import Source

LIMIT = 30.0  # seconds


def get(server: Server, path: str) -> tuple[int, bytes]:
    """GET from the server itself, past any proxy."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def local(url: str) -> str:
    """Return the path on the server of an upload whose address may lead through a proxy."""
    return "/files/" + url.rpartition("/")[2]


def await_true(happened: Callable[[], object], what: Callable[[], object]) -> None:
    """Wait until something that follows a reply has happened; say what there is instead when it does not."""
    deadline = time.monotonic() + LIMIT
    while not happened():
        assert time.monotonic() < deadline, what()
        time.sleep(0.02)


def check_spool(server: Server, parts: int = 0) -> None:
    """No staged bytes are left but those of so many partial uploads, which stay until they expire."""
    await_true(lambda: len(server.spooled()) == parts, server.spooled)


def status_of(server: Server, url: str) -> dict[str, Any]:
    """Return what the server says about an upload."""
    code, body = get(server, f"{local(url)}/status")
    assert code == 200, body
    return json.loads(body)


def check_stored(server: Server, url: str, source: Source) -> None:
    """The server says `stored`, and the only object in its store is the source."""
    status = status_of(server, url)
    key = f"audio/{source.sha256[:16]}.wav"
    assert (status["status"], status["offset"], status["length"]) == ("stored", source.length, source.length)
    assert (status["file_id"], status["sha256"], status["key"]) == (source.sha256[:16], source.sha256, key)
    assert status["media_type"] == "audio/wav"
    with (server.store / key).open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == source.sha256
    assert server.stored() == [server.store / key]


def check_sent(server: Server, report: dict[str, Any], source: Source, parts: int = 0) -> None:
    """The client was told of success, the file is where the server says it is, and nothing is left but its parts."""
    assert report["outcome"] == "success", report
    url = report["url"]
    if parts:  # the server may still be putting them together
        await_true(lambda: status_of(server, url)["status"] == "stored", lambda: status_of(server, url))
    check_stored(server, url, source)
    check_spool(server, parts)


def check_gone(server: Server, url: str) -> None:
    """Nothing is left of an upload that was cancelled: no resource, no staged bytes, no object."""
    assert get(server, local(url))[0] in {404, 410}
    check_spool(server)
    assert server.stored() == []


def spell(request: dict[str, Any]) -> str:
    """Write a request that a driver reported in two or three words."""
    override = f"/{request['override']}" if request["override"] else ""
    return f"{request['method']}{override} {request['status']}"

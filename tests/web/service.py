"""The real server of the web ring: what is asked of it, and what it then has on disk.

Owns the words in which the tests of this folder speak. Must not decide what is right. Invariant: a request
goes over the wire exactly as a test spells it, line by line, so that wrong ones stay wrong.
"""

import base64
import socket
import sqlite3
from contextlib import closing

from rig.server import Server
from rig.tus import Client, Reply, path_of

TUS = "Tus-Resumable: 1.0.0"
BODY = "Content-Type: application/offset+octet-stream"
MIB = 1024 * 1024
MAX_LENGTH = 64 * MIB  # what the open server of this ring accepts
TOKEN = "correct-horse-battery"
ORIGIN = "https://app.example.org"
PUBLIC = "https://upload.example.org"
UNKNOWN = "/files/" + "0" * 32

State = set[tuple[object, ...]]


class Service(Server):
    """A server, and its data as an operator sees them."""

    def state(self) -> State:
        """Return every row of the ledger, and every file of the spool and the store with its length, in no order.

        Spool files of uploads that ended are left out: they are discarded behind the reply.
        """
        with closing(sqlite3.connect(f"file:{self.data / 'tusplyr.db'}?mode=ro", uri=True)) as database:
            rows = database.execute("SELECT * FROM uploads").fetchall()
        ended = {row[0] for row in rows if row[1] in {"stored", "gone"}}
        files = [*(file for file in self.spooled() if file.name not in ended), *self.stored()]
        return {*rows, *((file.name, file.stat().st_size) for file in files)}


class FullService(Service):
    """A server that is never ready, for want of space."""

    def _ready(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def spell(client: Client, method: str, path: str, *lines: str) -> bytes:
    """Return the head of a request, in Latin-1, so that a test can write any byte."""
    host = () if any(line.lower().startswith("host:") for line in lines) else (f"Host: 127.0.0.1:{client.port}",)
    return "\r\n".join([f"{method} {path} HTTP/1.1", *host, *lines, "", ""]).encode("latin-1")


def ask(client: Client, method: str, path: str, *lines: str, body: bytes | None = None) -> Reply:
    """Send one request and return its reply. With a body, its Content-Length is added."""
    length = () if body is None else (f"Content-Length: {len(body)}",)
    client.send(spell(client, method, path, *lines, *length) + (body or b""))
    return client.reply(bodiless=method == "HEAD")


def patch(client: Client, path: str, offset: object, *lines: str, body: bytes = b"x") -> Reply:
    """Append, with whatever stands for the offset."""
    return ask(client, "PATCH", path, TUS, BODY, f"Upload-Offset: {offset}", *lines, body=body)


def post(client: Client, *lines: str, body: bytes | None = None) -> Reply:
    """Create."""
    return ask(client, "POST", "/files", TUS, *lines, body=body)


def finished(client: Client, content: bytes, name: str | bytes | None = None) -> str:
    """Upload a whole content in one request and return the path of the upload."""
    described = () if name is None else (f"Upload-Metadata: filename {encoded(name)}",)
    reply = post(client, f"Upload-Length: {len(content)}", BODY, *described, body=content)
    assert reply.status == 201, reply
    return path_of(reply.headers["location"])


def encoded(value: str | bytes) -> str:
    """Return a metadata value as it goes over the wire."""
    return base64.b64encode(value.encode() if isinstance(value, str) else value).decode()


def coded(*pieces: bytes) -> bytes:
    """Return pieces in chunked coding, without the end."""
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)


def check_standard(reply: Reply) -> None:
    """The headers of every response of an upload address (C-05)."""
    assert reply.headers["tus-resumable"] == "1.0.0", reply
    assert reply.headers["cache-control"] == "no-store", reply


def check_refusal(reply: Reply, status: int, *, offset: int | None = None) -> None:
    """What every refusal has and has not (the header matrix); only a 409 of PATCH has an offset."""
    assert reply.status == status, reply
    check_standard(reply)
    assert "location" not in reply.headers
    assert reply.headers.get("upload-offset") == (None if offset is None else str(offset))
    for secret in (b"Traceback", b"/src/", b".py", b"sqlite"):
        assert secret not in reply.body


def interim(client: Client, wait: float = 0.3) -> bytes:
    """Return what the server has said after `wait` seconds without more from us."""
    client.socket.settimeout(wait)
    try:
        return client.socket.recv(65_536, socket.MSG_PEEK)
    except TimeoutError:
        return b""
    finally:
        client.socket.settimeout(client.timeout)

"""A tus client on one blocking raw socket.

Owns how a request is spelled and how a reply is read. Must not know which server answers. Invariant:
it costs next to nothing beside the server: no copy of a body, one `sendall` per write, no HTTP library.
"""

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Self

from bench.payload import MIB, Payload

TIMEOUT = 120.0  # seconds without any progress on a socket
METADATA = "filename YmVuY2gud2F2,filetype YXVkaW8vd2F2"  # bench.wav and audio/wav; one peer needs both


class ClientError(Exception):
    """A server answered something else than a working upload needs."""


@dataclass(frozen=True, slots=True)
class Reply:
    """Status, headers (lower-case names), and the body where its length was told."""

    status: int
    headers: dict[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Sent:
    """One body and its reply; seconds from the first byte of the head, and from the last byte of the body."""

    reply: Reply
    seconds: float
    tail: float


def head(method: str, path: str, length: int, extra: str = "") -> bytes:
    """Return a request head. `extra` is whole header lines, each with its CRLF."""
    always = f"Host: 127.0.0.1\r\nTus-Resumable: 1.0.0\r\nContent-Length: {length}\r\n"
    return f"{method} {path} HTTP/1.1\r\n{always}{extra}\r\n".encode()


def create_head(path: str, length: int, extra: str = "") -> bytes:
    """Return the head of a creation. `extra` as for `head`."""
    return head("POST", path, 0, f"Upload-Length: {length}\r\nUpload-Metadata: {METADATA}\r\n{extra}")


def patch_head(path: str, offset: int, length: int, extra: str = "") -> bytes:
    """Return the head of an append of `length` bytes at `offset`. `extra` as for `head`."""
    always = f"Content-Type: application/offset+octet-stream\r\nUpload-Offset: {offset}\r\n"
    return head("PATCH", path, length, always + extra)


def parse_reply(data: bytes | bytearray, *, to_head: bool = False) -> Reply | None:
    """Return the reply if all of it is there, else None. Interim replies are skipped."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    first, *lines = bytes(data[:end]).decode("latin-1").split("\r\n")
    status = int(first.split(" ", 2)[1])
    if status < 200:
        return parse_reply(data[end + 4 :], to_head=to_head)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    reply = Reply(status, headers)
    if to_head or status in (204, 304):
        return reply
    if "content-length" in headers:
        stop = end + 4 + int(headers["content-length"])
        return Reply(status, headers, bytes(data[end + 4 : stop])) if len(data) >= stop else None
    if "chunked" in headers.get("transfer-encoding", ""):
        return reply if data.endswith(b"0\r\n\r\n") else None
    return reply


def location(reply: Reply) -> str:
    """Return the path of a new upload. Raises `ClientError` when there is none."""
    if reply.status != 201 or "location" not in reply.headers:
        raise ClientError(f"creation answered {reply.status}")
    where = reply.headers["location"]
    return "/" + where.split("/", 3)[3] if "://" in where else where


def paced(pieces: Iterable[memoryview], rate: float) -> Iterator[memoryview]:
    """Yield each piece when so many bytes a second allow it."""
    due = time.monotonic()
    for piece in pieces:
        time.sleep(max(0.0, due - time.monotonic()))
        yield piece
        due += len(piece) / rate


class Connection:
    """One keep-alive connection. A context manager; every call blocks at most `timeout` seconds without progress."""

    def __init__(self, port: int, *, timeout: float = TIMEOUT, send_buffer: int | None = None) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if send_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send_head(self, data: bytes) -> None:
        """Send a request head."""
        self.socket.sendall(data)

    def read_reply(self, *, to_head: bool = False) -> Reply:
        """Read one reply. Raises `ClientError` when the connection ends before it."""
        data = bytearray()
        while (reply := parse_reply(data, to_head=to_head)) is None:
            received = self.socket.recv(65536)
            if not received:
                raise ClientError("the connection ended before a reply")
            data += received
        return reply

    def create(self, path: str, length: int, *, extra: str = "") -> str:
        """Create an upload of `length` bytes; return its path. `extra` as for `head`."""
        self.socket.sendall(create_head(path, length, extra))
        return location(self.read_reply())

    def concatenate(self, path: str, partials: list[str]) -> str:
        """Ask for the final upload of these; return its path."""
        extra = f"Upload-Concat: final;{' '.join(partials)}\r\nUpload-Metadata: {METADATA}\r\n"
        self.socket.sendall(head("POST", path, 0, extra))
        return location(self.read_reply())

    def extensions(self, path: str) -> set[str]:
        """Ask what the server offers."""
        self.socket.sendall(head("OPTIONS", path, 0))
        return set(self.read_reply().headers.get("tus-extension", "").split(","))

    def delete(self, path: str) -> Reply:
        """Terminate an upload."""
        self.socket.sendall(head("DELETE", path, 0))
        return self.read_reply()

    def offset(self, path: str) -> Reply:
        """Ask for the state of an upload."""
        self.socket.sendall(head("HEAD", path, 0))
        return self.read_reply(to_head=True)

    def status(self, path: str) -> str:
        """Ask what has become of an upload."""
        self.socket.sendall(head("GET", f"{path}/status", 0))
        return str(json.loads(self.read_reply().body)["status"])

    def patch(
        self,
        path: str,
        body: Payload,
        start: int,
        stop: int,
        write: int = MIB,
        *,
        extra: str = "",
        rate: float | None = None,
        meter: Callable[[], None] | None = None,
    ) -> Sent:
        """Append the bytes from `start` to `stop`, in writes of `write` bytes.

        `extra` as for `head`; `rate` is bytes a second, None as fast as it goes; `meter` is called after it.
        """
        begun = time.perf_counter()
        with contextlib.suppress(ConnectionError):  # a refusal that came early is still there to be read
            self.socket.sendall(patch_head(path, start, stop - start, extra))
            pieces = body.pieces(start, stop, write)
            for view in paced(pieces, rate) if rate else pieces:
                self.socket.sendall(view)
        if meter:
            meter()
        last = time.perf_counter()
        reply = self.read_reply()
        done = time.perf_counter()
        return Sent(reply, done - begun, done - last)

    def begin_patch(self, path: str, body: Payload, stop: int, sent: int) -> None:
        """Announce the bytes up to `stop`, send the first `sent` of them, and leave it there."""
        self.socket.sendall(patch_head(path, 0, stop))
        for view in body.pieces(0, sent, MIB):
            self.socket.sendall(view)

    def append(
        self,
        path: str,
        body: Payload,
        start: int,
        stop: int,
        write: int = MIB,
        *,
        extra: str = "",
        rate: float | None = None,
        meter: Callable[[], None] | None = None,
    ) -> Sent:
        """As `patch`. Raises `ClientError` unless the server took every byte."""
        sent = self.patch(path, body, start, stop, write, extra=extra, rate=rate, meter=meter)
        if sent.reply.status != 204 or sent.reply.headers.get("upload-offset") != str(stop):
            offset = sent.reply.headers.get("upload-offset")
            raise ClientError(f"PATCH of {start}-{stop} answered {sent.reply.status}, offset {offset}")
        return sent

"""A tus client on a raw socket, for tests that must decide what goes over the wire and when.

Owns one connection and the bytes on it. Must not be clever: it sends exactly what a test says,
never retries and never repairs. Invariant: a reply is returned whole, or `ConnectionError` says
that the server went away first.
"""

import base64
import socket
import struct
from typing import NamedTuple, Self

VERSION = {"Tus-Resumable": "1.0.0"}
APPEND = VERSION | {"Content-Type": "application/offset+octet-stream"}


class Reply(NamedTuple):
    """What the server said.

    Attributes:
        status: the status code.
        headers: by lower-case name; of a repeated name, the last.
        body: whole.
    """

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def offset(self) -> int:
        return int(self.headers["upload-offset"])


class Client:
    """One connection to a server on loopback. Reconnects only when told to by `connect`."""

    def __init__(self, port: int, *, timeout: float = 20.0) -> None:
        self.port = port
        self.timeout = timeout
        self.socket = self._dial()
        self._left = b""

    def connect(self) -> None:
        """Drop the connection, if any, and make a new one."""
        self.close()
        self.socket = self._dial()
        self._left = b""

    def _dial(self) -> socket.socket:
        dialled = socket.create_connection(("127.0.0.1", self.port), timeout=self.timeout)
        dialled.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return dialled

    def close(self) -> None:
        """End the connection with a FIN."""
        self.socket.close()

    def reset(self) -> None:
        """End the connection with an RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send raw bytes."""
        self.socket.sendall(data)

    def head_of(self, method: str, path: str, headers: dict[str, str]) -> None:
        """Send the head of a request and nothing of its body."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def request(self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b"") -> Reply:
        """Send one whole request and return the reply."""
        length = {"Content-Length": str(len(body))} if body or method in {"POST", "PATCH"} else {}
        self.head_of(method, path, length | (headers or {}))
        self.send(body)
        return self.reply(bodiless=method == "HEAD")

    def create(self, length: int, name: str | None = None, body: bytes | None = None, sha256: str | None = None) -> str:
        """Create an upload and return its path. With a body, its first bytes come along."""
        headers = VERSION | {"Upload-Length": str(length)}
        said = {key: value for key, value in (("filename", name), ("sha256", sha256)) if value is not None}
        if said:
            pairs = (f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in said.items())
            headers["Upload-Metadata"] = ",".join(pairs)
        if body is not None:
            headers |= APPEND
        reply = self.request("POST", "/files", headers, body or b"")
        if reply.status != 201:
            raise AssertionError(f"creation answered {reply}")
        return path_of(reply.headers["location"])

    def begin(self, path: str, offset: int, length: int) -> None:
        """Send the head of a PATCH whose body of `length` bytes follows through `send`."""
        self.head_of("PATCH", path, APPEND | {"Upload-Offset": str(offset), "Content-Length": str(length)})

    def patch(self, path: str, offset: int, body: bytes) -> Reply:
        """Send a whole PATCH."""
        self.begin(path, offset, len(body))
        self.send(body)
        return self.reply()

    def head(self, path: str) -> Reply:
        """Ask for the offset."""
        return self.request("HEAD", path, VERSION)

    def delete(self, path: str) -> Reply:
        """Terminate an upload."""
        return self.request("DELETE", path, VERSION)

    def reply(self, *, bodiless: bool = False) -> Reply:
        """Read one reply. Raises `ConnectionError` when the server goes away before its end."""
        head = self._until(b"\r\n\r\n").decode("latin-1")
        first, *lines = head.split("\r\n")
        status = int(first.split(" ")[1])
        if status < 200:
            return self.reply(bodiless=bodiless)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if bodiless or status in {204, 304}:
            return Reply(status, headers, b"")
        if headers.get("transfer-encoding") == "chunked":
            return Reply(status, headers, self._coded())
        return Reply(status, headers, self._exactly(int(headers.get("content-length", "0"))))

    def _coded(self) -> bytes:
        body = b""
        while count := int(self._until(b"\r\n").split(b";")[0], 16):
            body += self._exactly(count)
            self._until(b"\r\n")
        self._until(b"\r\n")
        return body

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._left:
            self._fill()
        head, _, self._left = self._left.partition(mark)
        return head

    def _exactly(self, count: int) -> bytes:
        while len(self._left) < count:
            self._fill()
        body, self._left = self._left[:count], self._left[count:]
        return body

    def _fill(self) -> None:
        more = self.socket.recv(1 << 16)
        if not more:
            raise ConnectionResetError("the server closed the connection before the end of its reply")
        self._left += more

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_rest: object) -> None:
        self.close()


def path_of(location: str) -> str:
    """Return the path of an absolute or relative ``Location``."""
    return "/" + location.split("/", 3)[3] if "://" in location else location

"""A TCP proxy that cuts connections in the middle of PATCH bodies, as bad networks do.

Owns the forwarding, the count of body bytes and the cuts. Must not know tus: it reads request
heads only as far as it needs to tell where a body begins and ends. Invariant: a cut is counted
only when some but not all bytes of a PATCH body were forwarded; the same seed cuts at the same
byte counts.
"""

import contextlib
import random
import socket
import struct
import threading
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Self

READ = 1 << 16
HOLD = 0.3  # seconds for which a stalled body is silent before the client loses its connection too


class Kind(StrEnum):
    """How a connection ends."""

    FIN = "fin"  # the server sees an orderly end of the stream, in the middle of a body
    RST = "rst"  # the server sees a reset
    STALL = "stall"  # the server sees nothing at all: the old request hangs while the client comes back


class Sized:
    """A body that ends after as many bytes as its head promised."""

    def __init__(self, length: int) -> None:
        self._left = length

    @property
    def over(self) -> bool:
        return not self._left

    def take(self, data: bytes) -> int:
        """Follow the body through these bytes; return how many of them belong to it."""
        count = min(self._left, len(data))
        self._left -= count
        return count


class Coded:
    """A body in chunked coding: sizes, line ends and trailers are bytes of it as well."""

    def __init__(self) -> None:
        self.over = False
        self._line = b""  # of a size or of a trailer, as far as it came
        self._data = 0  # bytes of the chunk that are still to come, its line end included
        self._last = False  # the chunk of no bytes was seen: trailers, then an empty line

    def take(self, data: bytes) -> int:
        """Follow the body through these bytes; return how many of them belong to it."""
        at = 0
        while at < len(data) and not self.over:
            if self._data:
                count = min(self._data, len(data) - at)
                self._data -= count
            else:
                count = self._take_line(data[at:])
            at += count
        return at

    def _take_line(self, data: bytes) -> int:
        line, mark, _ = data.partition(b"\n")
        self._line += line
        if mark:
            self._end_line(self._line.strip())
            self._line = b""
        return len(line) + len(mark)

    def _end_line(self, line: bytes) -> None:
        if self._last:
            self.over = not line
        elif size := int(line.partition(b";")[0], 16):
            self._data = size + len(b"\r\n")
        else:
            self._last = True


class Request:
    """Where one connection is: in a head, or so many bytes into a body."""

    def __init__(self) -> None:
        self.method = ""
        self.head = b""
        self.body: Sized | Coded = Sized(0)
        self.passed = 0

    def feed(self, data: bytes) -> bytes:
        """Take bytes of heads up to the next body; return what belongs to that body or behind it."""
        while data and self.body.over:
            self.head += data
            head, mark, data = self.head.partition(b"\r\n\r\n")
            if not mark:
                return b""
            self._read(head)
            self.head = b""
        return data

    def _read(self, head: bytes) -> None:
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self.method = headers.get("x-http-method-override", first.split(" ")[0])
        coded = "transfer-encoding" in headers
        self.body = Coded() if coded else Sized(int(headers.get("content-length", "0")))
        self.passed = 0


class Proxy:
    """Forwards one loopback port to another and cuts on the way; two threads a connection.

    Args:
        target: the port of the server.
        cuts: how many cuts inside PATCH bodies to make; after these it only forwards.
        span: least and most bytes of PATCH bodies to forward between two cuts.
        seed: of the byte counts.
        strike: called with the number of each cut (from 1), after its bytes were forwarded and
            before the connection ends: the place to kill the server.
    """

    def __init__(
        self,
        target: int,
        *,
        cuts: int = 0,
        span: tuple[int, int] = (1, 1 << 20),
        seed: int = 1,
        strike: Callable[[int], None] | None = None,
    ) -> None:
        self.made: list[tuple[Kind, int]] = []  # each cut: how, and after how many bytes of that body
        self._target = target
        self._wanted = cuts
        self._span = span
        self._strike = strike
        self._random = random.Random(seed)
        self._budget = self._random.randint(*span)
        self._lock = threading.Lock()  # of the counts above: connections may overlap
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    @property
    def cuts(self) -> int:
        """Cuts made so far, each inside a PATCH body."""
        return len(self.made)

    def __enter__(self) -> Self:
        self._spawn(self._accept)
        return self

    def __exit__(self, *_rest: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        for one in self._sockets:
            shut(one, socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for one in [*self._sockets, self._listener]:
            one.close()

    def _spawn(self, target: Callable[..., None], *arguments: object) -> threading.Thread:
        thread = threading.Thread(target=target, args=arguments, name="proxy")
        self._threads.append(thread)
        thread.start()
        return thread

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.append(client)
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                reset(client)  # the server is between two lives
                continue
            self._sockets.append(server)
            self._spawn(self._connection, client, server)

    def _connection(self, client: socket.socket, server: socket.socket) -> None:
        down = self._spawn(copy, server, client)
        try:
            kind = self._forward(client, server)
        except OSError:  # one of them left; a server that did so in the middle of a body may have answered it
            shut(server, socket.SHUT_WR)
            down.join()
            reset(client)
            return
        match kind:
            case None:
                shut(server, socket.SHUT_WR)
                return
            case Kind.FIN:
                shut(server, socket.SHUT_RDWR)
            case Kind.RST:
                shut(server, socket.SHUT_RD)  # ends the thread that reads it: a reset needs the last hold on a socket
            case Kind.STALL:
                time.sleep(HOLD)
                reset(client)
                return
        down.join()
        if kind is Kind.RST:
            reset(server)
        reset(client)

    def _forward(self, client: socket.socket, server: socket.socket) -> Kind | None:
        """Forward requests until the client ends the connection, or until it is to be cut in this way."""
        request = Request()
        while data := client.recv(READ):
            at = 0
            while at < len(data):
                body = request.feed(data[at:])
                count = request.body.take(body[: self._room(request)])
                end = len(data) - len(body) + count
                server.sendall(data[at:end])
                at = end
                if (kind := self._count(request, count)) is not None:
                    return kind
        return None

    def _room(self, request: Request) -> int | None:
        """Say how many bytes may pass before the next cut; None when none is due in this body."""
        return self._budget if request.method == "PATCH" and self.cuts < self._wanted else None

    def _count(self, request: Request, count: int) -> Kind | None:
        """Count body bytes that were forwarded; say how the connection ends here, None when it goes on."""
        with self._lock:
            request.passed += count
            if request.method != "PATCH":
                return None
            self._budget -= count
            if self._budget > 0 or self.cuts >= self._wanted:
                return None
            self._budget = self._random.randint(*self._span)
            if request.body.over:
                return None
            kind = list(Kind)[self.cuts % len(Kind)]
            self.made.append((kind, request.passed))
        if self._strike is not None:
            self._strike(self.cuts)
        return kind


def copy(source: socket.socket, sink: socket.socket) -> None:
    """Forward replies as they come, and the end of the stream."""
    with contextlib.suppress(OSError):
        while data := source.recv(READ):
            sink.sendall(data)
    shut(sink, socket.SHUT_WR)


def shut(one: socket.socket, how: int) -> None:
    """Shut a socket down; no error when the peer was faster."""
    with contextlib.suppress(OSError):
        one.shutdown(how)


def reset(one: socket.socket) -> None:
    """End a connection with an RST, at once."""
    with contextlib.suppress(OSError):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.close()

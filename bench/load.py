"""Many connections at once, from one thread.

Owns the small-upload load (create, then PATCH, again and again on each keep-alive connection) and the
crowds: all sending the same, all sending something else, all stalled. Must not know which server answers.
Invariant: one thread over a selector, no copy of a body, so that the load takes a small share of the machine
from the server.
"""

import contextlib
import selectors
import socket
import time
from collections.abc import Iterator
from typing import Self

from bench.client import ClientError, Connection, create_head, location, parse_reply, patch_head
from bench.payload import KIB, MARK, PERIOD, Payload, block, payload

SMALL = 64 * KIB
_SEND_BUFFER = 1024 * KIB  # a whole small request fits, so that one send is enough
_PATIENCE = 60.0  # seconds without any event


class _Lane:
    """One connection that uploads one small file after the other."""

    def __init__(self, port: int, path: str, timeout: float = 30.0) -> None:
        self._connection = Connection(port, timeout=timeout, send_buffer=_SEND_BUFFER)
        self.socket = self._connection.socket
        self.socket.setblocking(False)
        self._create = create_head(path, SMALL)
        self._received = bytearray()
        self._patching = False

    def begin(self) -> None:
        self._patching = False
        self._send([self._create], len(self._create))

    def advance(self) -> bool:
        """Take what has arrived and send what is next; True when an upload was completed."""
        data = self.socket.recv(65536)
        if not data:
            raise ClientError("the server closed a keep-alive connection")
        self._received += data
        reply = parse_reply(self._received)
        if reply is None:
            return False
        self._received.clear()
        if not self._patching:
            self._patch(location(reply))
            return False
        if reply.status != 204 or reply.headers.get("upload-offset") != str(SMALL):
            raise ClientError(f"a small PATCH answered {reply.status}")
        self.begin()
        return True

    def _patch(self, path: str) -> None:
        self._patching = True
        request = patch_head(path, 0, SMALL)
        self._send([request, block()[: SMALL - MARK], payload(SMALL).mark], len(request) + SMALL)

    def _send(self, views: list[bytes | memoryview], length: int) -> None:
        if self.socket.sendmsg(views) != length:
            raise ClientError("the send buffer is smaller than one small request")

    def close(self) -> None:
        self.socket.close()


class Lanes:
    """A number of connections under load. Use as a context manager; `run` may be called again and again."""

    def __init__(self, port: int, path: str, count: int) -> None:
        self._selector = selectors.DefaultSelector()
        self._lanes: list[_Lane] = []
        for _ in range(count):
            lane = _Lane(port, path)
            self._lanes.append(lane)
            self._selector.register(lane.socket, selectors.EVENT_READ, lane)
            lane.begin()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for lane in self._lanes:
            lane.close()
        self._selector.close()

    def run(self, seconds: float) -> tuple[int, float]:
        """Load the server for that long; return the uploads completed and the seconds it took."""
        completed = 0
        begun = time.perf_counter()
        while (now := time.perf_counter()) - begun < seconds:
            events = self._selector.select(_PATIENCE)
            if not events:
                raise ClientError(f"nothing happened for {_PATIENCE:.0f} s")
            for key, _ in events:
                completed += key.data.advance()
        return completed, now - begun


@contextlib.contextmanager
def _crowd(port: int, path: str, count: int, body: Payload) -> Iterator[list[Connection]]:
    with contextlib.ExitStack() as stack:
        connections = []
        for _ in range(count):
            connection = stack.enter_context(Connection(port))
            upload = connection.create(path, body.length)
            connection.send_head(patch_head(upload, 0, body.length))
            connections.append(connection)
        yield connections


def send_together(port: int, path: str, count: int, length: int) -> None:
    """Have `count` uploads of `length` bytes in flight at once, in writes of 64 KiB, until all are answered."""
    body = payload(length)
    with _crowd(port, path, count, body) as crowd, selectors.DefaultSelector() as selector:
        left = {each.socket: length for each in crowd}
        for each in left:
            each.setblocking(False)
            selector.register(each, selectors.EVENT_WRITE)
        while left:
            events = selector.select(_PATIENCE)
            if not events:
                raise ClientError(f"nothing happened for {_PATIENCE:.0f} s")
            for key, _ in events:
                sending = key.fileobj
                assert isinstance(sending, socket.socket)
                at = (length - left[sending]) % PERIOD
                left[sending] -= sending.send(block()[at : at + min(64 * KIB, left[sending])])
                if not left[sending]:
                    del left[sending]
                    selector.unregister(sending)
        for connection in crowd:
            connection.socket.settimeout(_PATIENCE)
            if (reply := connection.read_reply()).status != 204:
                raise ClientError(f"one of {count} uploads answered {reply.status}")


class _Sender:
    """One upload that is sent as fast as its connection takes it."""

    def __init__(self, connection: Connection, path: str, body: Payload, extra: str) -> None:
        upload = connection.create(path, body.length, extra=extra)
        connection.send_head(patch_head(upload, 0, body.length))
        self.connection = connection
        self.upload = upload
        self.socket = connection.socket
        self.socket.setblocking(False)
        self._pieces = body.pieces(0, body.length, 64 * KIB)
        self._view = next(self._pieces)

    def advance(self) -> bool:
        """Send what is taken; True when that was all."""
        self._view = self._view[self.socket.send(self._view) :]
        if not self._view:
            self._view = next(self._pieces, self._view)
        return not self._view


def send_different(port: int, path: str, bodies: dict[Payload, str]) -> list[str]:
    """Have uploads of different content in flight at once until all are answered; return their paths.

    `bodies` are contents, each with what is said at its creation beside the usual (`client.head`).
    """
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        senders = [_Sender(stack.enter_context(Connection(port)), path, *each) for each in bodies.items()]
        for sender in senders:
            selector.register(sender.socket, selectors.EVENT_WRITE, sender)
        while selector.get_map():
            events = selector.select(_PATIENCE)
            if not events:
                raise ClientError(f"nothing happened for {_PATIENCE:.0f} s")
            for key, _ in events:
                if key.data.advance():
                    selector.unregister(key.fileobj)
        for sender in senders:
            sender.socket.settimeout(_PATIENCE)
            if (reply := sender.connection.read_reply()).status != 204:
                raise ClientError(f"one of {len(senders)} uploads answered {reply.status}")
    return [sender.upload for sender in senders]


def stall_together(port: int, path: str, count: int, sent: int, seconds: float) -> None:
    """Have `count` uploads send `sent` bytes each and then nothing for that long; then vanish."""
    body = payload(16 * 1024 * KIB)
    with _crowd(port, path, count, body) as crowd:
        for connection in crowd:
            for view in body.pieces(0, sent, 64 * KIB):
                connection.socket.sendall(view)
        time.sleep(seconds)

"""A double of Cloudflare R2 on loopback, over TLS: it speaks S3, refuses what R2 refuses, and fails on request.

Owns the sockets, the record of every request and the faults. What they are is in `r2_faults`, what R2 refuses in
`r2_refusals`, its rules in `r2_state` and its operations in `r2_api`.
It must speak TLS, because clients sign and frame a body otherwise without it. Invariant: a request is recorded before
anything is done with it, and what a fault says happens to exactly the requests that it names.
"""

import contextlib
import shutil
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable, Sequence
from http.client import parse_headers
from io import BufferedReader
from pathlib import Path
from typing import Self
from uuid import uuid4

import trustme

from rig.proxy import reset
from rig.r2_api import Api
from rig.r2_faults import Cut, Fault, Pace, Seen
from rig.r2_refusals import refuse
from rig.r2_state import Bucket, Rules
from rig.s3_wire import READ, Blob, Ended, Refused, Reply, Request, pieces
from rig.sigv4 import UNSIGNED, verify

PATIENCE = 20.0  # seconds that `wait` waits


class R2:
    """The double, in threads of this process; a context manager.

    Args:
        buckets: their names; they are empty.
        rules: R2's limits.
        folder: where the bytes are kept; None for memory.
        rate: bytes a second of bodies that it reads, over all connections; may be changed meanwhile (`pace.rate`).
        tls: False for plain HTTP: then clients frame and sign otherwise than with R2.

    Attributes:
        url: the endpoint.
        ca: the certificate to trust, a file; None without TLS.
        seen: every request in the order in which they came.
        skew: seconds by which its clock is ahead.
    """

    access_key = "double-access-key"
    secret = "double-secret-key"
    region = "auto"

    def __init__(
        self,
        buckets: Sequence[str] = ("first", "second"),
        *,
        rules: Rules | None = None,
        folder: Path | None = None,
        rate: float | None = None,
        tls: bool = True,
    ) -> None:
        self.rules = rules or Rules()
        self.api = Api(self.rules, buckets)
        self.pace = Pace(rate)
        self.seen: list[Seen] = []
        self.skew = 0.0
        self._blobs = folder
        self._faults: list[tuple[Fault, list[Seen]]] = []
        self._change = threading.Condition()  # of `seen`, of statuses and of the faults
        self._over = threading.Event()
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._own = Path(tempfile.mkdtemp(prefix="r2-"))
        self.ca = self._own / "ca.pem" if tls else None
        self._context = self._certify(self.ca) if self.ca else None
        self._listener = self._listen(0)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"

    def _certify(self, place: Path) -> ssl.SSLContext:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(place))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
        return context

    def _listen(self, port: int) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", port), backlog=512)
        if self.pace.rate is not None:  # else the kernel takes in far more than the server reads
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        return listener

    def inject(self, fault: Fault) -> list[Seen]:
        """Let something go wrong from now on; return the list of the requests that match it, which grows."""
        matched: list[Seen] = []
        with self._change:
            self._faults.append((fault, matched))
        return matched

    def calm(self) -> None:
        """Let nothing go wrong any more."""
        with self._change:
            self._faults.clear()

    def requests(self, operation: str = "*", key: str = "*") -> list[Seen]:
        """Return what was asked so far, by patterns."""
        wanted = Fault(operation=operation, key=key)
        with self._change:
            return [one for one in self.seen if wanted.names(one)]

    def wait(self, operation: str = "*", key: str = "*", *, count: int = 1, answered: bool = False) -> list[Seen]:
        """Wait until so many requests came, or were answered; return them."""
        wanted = Fault(operation=operation, key=key)

        def found() -> list[Seen]:
            return [one for one in self.seen if wanted.names(one) and (one.status or not answered)]

        with self._change:
            assert self._change.wait_for(lambda: len(found()) >= count, PATIENCE), f"{operation}: {found()}"
            return found()

    def bucket(self, name: str = "first") -> Bucket:
        """Return what is in a bucket, for a look at it without a request."""
        return self.api.buckets[name]

    def content(self, key: str, bucket: str = "first") -> bytes:
        """Return the bytes of an object."""
        found = self.bucket(bucket).objects[key]
        return b"".join(found.read(0, found.length))

    def up(self) -> None:
        """Listen again on the same port, with everything that was there before."""
        self._over.clear()
        self._listener = self._listen(self.port)
        self._spawn(self._accept)

    def down(self) -> None:
        """Cut every connection and refuse new ones; what is in the buckets stays."""
        self._over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listener.close()
        for one in list(self._sockets):
            with contextlib.suppress(OSError):
                socket.socket.shutdown(one, socket.SHUT_RDWR)  # not that of TLS, whose state is its thread's
        for thread in self._threads:
            if thread is not threading.current_thread():  # a fault may call this
                thread.join()
        self._threads.clear()

    def __enter__(self) -> Self:
        self._spawn(self._accept)
        return self

    def __exit__(self, *_rest: object) -> None:
        if self._threads:
            self.down()
        shutil.rmtree(self._own)

    def _spawn(self, target: Callable[..., None], *arguments: object) -> None:
        self._threads = [one for one in self._threads if one.is_alive()]
        thread = threading.Thread(target=target, args=arguments, name="r2")
        thread.start()
        self._threads.append(thread)  # not sooner: who ends us joins them all

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._spawn(self._connection, client)

    def _connection(self, client: socket.socket) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line = client
        self._sockets.add(client)
        try:
            if self._context is not None:
                line = self._context.wrap_socket(client, server_side=True, do_handshake_on_connect=False)
                self._sockets.remove(client)
                self._sockets.add(line)
                line.do_handshake()
            with line.makefile("rb", READ) as reader:
                while not self._over.is_set() and self._exchange(line, reader):
                    pass
        except (OSError, Ended, ValueError):  # the client left, or is to believe that we did
            reset(line)
        finally:
            self._sockets.discard(line)
            line.close()

    def _exchange(self, line: socket.socket, reader: BufferedReader) -> bool:
        """Answer one request; False when the connection is over."""
        first = reader.readline(1 << 16)
        if not first.strip():
            return False
        headers = {name.lower(): value for name, value in parse_headers(reader).items()}
        request = Request.read(first.decode("latin-1").strip(), headers)
        seen, fault = self._record(request)
        moment = fault.moment if fault else ""
        if fault and moment == "head":
            self._strike(fault, seen)
        if self.rules.continues and "expect" in headers:
            line.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            self._read_body(request, reader, seen, fault)
        finally:
            request.body.close()
        if fault and moment == "before":
            self._strike(fault, seen)
        reply = fault.instead() if fault and fault.status and not fault.late else self._carry_out(request)
        if fault and moment == "after":
            if fault.cut is Cut.HALF:
                self._send(line, reply, request, Pace(fault.rate), half=True)
            self._strike(fault, seen)
            reply = fault.instead() if fault.status else reply
        if fault and fault.alter:
            reply = fault.alter(reply)
        with self._change:
            seen.status = reply.status
            self._change.notify_all()
        self._send(line, reply, request, Pace(fault.rate if fault else None))
        return headers.get("connection", "").lower() != "close"

    def _record(self, request: Request) -> tuple[Seen, Fault | None]:
        seen = Seen(
            operation=request.operation,
            bucket=request.bucket,
            key=request.key,
            part=request.part,
            method=request.method,
            query=request.query,
            headers=request.headers,
        )
        with self._change:
            self.seen.append(seen)
            for fault, matched in self._faults:
                if not fault.names(seen):
                    continue
                matched.append(seen)
                late = len(matched) - fault.nth
                if seen.fault is None and late >= 0 and (fault.times is None or late < fault.times):
                    seen.fault = fault
            self._change.notify_all()
        return seen, seen.fault

    def _strike(self, fault: Fault, seen: Seen) -> None:
        """Let a fault happen, here and now."""
        if fault.strike is not None:
            fault.strike(seen)
        while fault.gate is not None and not fault.gate.wait(0.05) and not self._over.is_set():
            pass
        self._over.wait(fault.hang)
        if fault.cut is not None:
            raise Ended

    def _read_body(self, request: Request, reader: BufferedReader, seen: Seen, fault: Fault | None) -> None:
        request.body = Blob(self._blobs / uuid4().hex if self._blobs and request.length else None)
        pause = fault.pause if fault else 0.0
        for data in pieces(request, reader, self.pace.piece):
            request.body.write(data)
            seen.length += len(data)
            if fault and fault.cut is Cut.MIDDLE and seen.length * 2 >= (request.length or 0):
                self._strike(fault, seen)
            if pause and seen.length * 2 >= (request.length or 0):
                self._over.wait(pause)
                pause = 0.0
            self.pace.wait(len(data), self._over)

    def _carry_out(self, request: Request) -> Reply:
        try:
            refuse(request)
            verify(request, {self.access_key: self.secret}, self.rules.clock() + self.skew)
            said = request.headers.get("x-amz-content-sha256", UNSIGNED)
            if said not in {UNSIGNED, request.body.sha256.hex()}:
                raise Refused(400, "XAmzContentSHA256Mismatch", "The x-amz-content-sha256 does not match the body.")
            return self.api.carry_out(request)
        except Refused as why:
            return why.reply()

    def _send(self, line: socket.socket, reply: Reply, request: Request, pace: Pace, *, half: bool = False) -> None:
        head = reply.head(now=self.rules.clock() + self.skew)
        if request.method == "HEAD":
            line.sendall(head)
            return
        if half:
            body = b"".join(reply.body)
            line.sendall(head + body[: len(body) // 2] if body else head[: len(head) // 2])
            return
        line.sendall(head)
        for data in reply.body:
            for at in range(0, len(data), pace.piece):
                pace.wait(min(pace.piece, len(data) - at), self._over)
                line.sendall(memoryview(data)[at : at + pace.piece])

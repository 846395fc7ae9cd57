"""A real uvicorn server on a loopback socket, a small application that reads bodies, and a raw client.

Owns nothing that is shipped. Must not know the engine: the application stands in its place and records what
a body did. Invariant: the server and its clients are gone when `serving` ends.
"""

import asyncio
import contextlib
import fcntl
import socket
import ssl
import struct
import termios
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path

import trustme
import uvloop
from uvicorn import Config, Server

from tusplyr.core.errors import Cut, Stopped
from tusplyr.web.direct import DirectBody
from tusplyr.web.exchange import DIRECT
from tusplyr.web.plain import PlainBody
from tusplyr.web.pool import Pool
from tusplyr.web.protocol import TusplyrProtocol

LOOPS = {"asyncio": asyncio.SelectorEventLoop, "uvloop": uvloop.new_event_loop}


def run(loop: str, main: Callable[[], Coroutine], patience: float = 20) -> None:
    """Run a test on that event loop."""
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(asyncio.wait_for(main(), patience))


class Seen:
    """What became of one request."""

    def __init__(self) -> None:
        self.way = ""
        self.body: DirectBody | PlainBody | None = None
        self.data = bytearray()
        self.pieces: list[int] = []
        self.error: BaseException | None = None
        self.taken = asyncio.Event()
        self.done = asyncio.Event()


class App:
    """Reads every body in one way, `direct` or `plain`, and does what the path says."""

    def __init__(self, way: str, *, pool: Pool | None = None, idle: float = 10) -> None:
        self.way = way
        self.pool = pool or Pool()
        self.idle = idle
        self.seen: list[Seen] = []
        self.go = asyncio.Event()
        self.pace = 0.0  # seconds that the application takes for each piece

    async def __call__(self, scope, receive, send) -> None:
        seen = Seen()
        self.seen.append(seen)
        path = scope["path"]
        try:
            if path == "/refuse":
                await reply(send, 413, b"no")
                return
            if path == "/hold":
                await self.go.wait()
            await self._read(seen, scope, receive, crash=path == "/crash")
            if isinstance(seen.error, Stopped):
                await reply(send, 503, b"stopped", (b"connection", b"close"))
            elif seen.error is None:
                await reply(send, 200, b"%d" % len(seen.data))
        finally:
            seen.done.set()

    async def _read(self, seen, scope, receive, *, crash) -> None:
        seen.body = body = self._open(seen, scope, receive)
        seen.taken.set()
        try:
            while (view := await body.next()) is not None:
                try:
                    if crash:
                        raise RuntimeError("the application is broken")
                    await asyncio.sleep(self.pace)
                    seen.data += view
                    seen.pieces.append(len(view))
                finally:
                    body.release(view)
        except (Cut, Stopped) as error:
            seen.error = error
        finally:
            await body.close()

    def _open(self, seen, scope, receive):
        body = scope["extensions"][DIRECT](self.pool, idle=self.idle) if self.way == "direct" else None
        if body is not None:
            seen.way = "direct"
            return body
        seen.way = "plain"
        lengths = [int(value) for name, value in scope["headers"] if name == b"content-length"]
        return PlainBody(receive, self.pool, length=lengths[0] if lengths else None, idle=self.idle)


async def reply(send, status, text, *headers) -> None:
    length = (b"content-length", b"%d" % len(text))
    await send({"type": "http.response.start", "status": status, "headers": [length, *headers]})
    await send({"type": "http.response.body", "body": text})


class Place:
    """Where the server is, and what it has inside."""

    def __init__(self, server: Server, sock: socket.socket, tls: ssl.SSLContext | None) -> None:
        self.server = server
        self.sock = sock
        self.port = sock.getsockname()[1]
        self.tls = tls

    async def connect(self) -> "Client":
        return Client(*await asyncio.open_connection("127.0.0.1", self.port, ssl=self.tls))

    async def empty(self) -> None:
        """Return when uvicorn knows of no connection any more."""
        while self.server.server_state.connections:  # noqa: ASYNC110 - uvicorn offers no event
            await asyncio.sleep(0.005)

    async def shutdown(self) -> None:
        """Stop the server as uvicorn does."""
        await self.server.shutdown(sockets=[self.sock])

    async def abandon(self) -> None:
        """Stop the server without uvicorn's pauses, which add up over many tests."""
        for listener in self.server.servers:
            listener.close()
        for connection in list(self.server.server_state.connections):
            connection.shutdown()
        await self.empty()
        while self.server.server_state.tasks:  # noqa: ASYNC110 - uvicorn offers no event
            await asyncio.sleep(0.005)


class Client:
    """One raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, *parts: bytes) -> None:
        self.writer.write(b"".join(parts))

    async def flush(self) -> None:
        """Return when the server's kernel has every byte."""
        await self.writer.drain()
        sock = self.writer.get_extra_info("socket")
        while (  # noqa: ASYNC110 - the kernel offers no event
            self.writer.transport.get_write_buffer_size()
            or struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0]
        ):
            await asyncio.sleep(0.002)

    async def reply(self) -> tuple[int, dict[str, str], bytes]:
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:-2])
        text = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return int(lines[0].split()[1]), headers, text

    async def fin(self) -> None:
        self.writer.write_eof()

    def reset(self) -> None:
        """Close with a reset, not with an end."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


def full(app):
    """Every buffer is back."""
    assert app.pool.free == app.pool.count, "a buffer was not given back"


async def ask(place, app, data, *, splits=()):
    """Send one body, with a pause at each split, and expect the reply of `/read`."""
    client = await place.connect()
    client.send(head("/read", len(data)))
    for start, stop in zip([0, *splits], [*splits, len(data)], strict=True):
        client.send(data[start:stop])
        await asyncio.sleep(0.001)
    status, _, text = await client.reply()
    await client.close()
    assert (status, text) == (200, b"%d" % len(data))


def head(path: str, length: int | None, *headers: str, method: str = "PATCH") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: test", *headers]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return "\r\n".join([*lines, "", ""]).encode()


@contextlib.asynccontextmanager
async def serving(app: App, *, protocol: type = TusplyrProtocol, cert: Path | None = None) -> AsyncIterator[Place]:
    """Run the application behind uvicorn, as the product does."""
    config = Config(
        app,
        http=protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=3,
        ssl_certfile=cert,
    )
    config.load()
    server = Server(config)
    server.lifespan = config.lifespan_class(config)
    sock = socket.create_server(("127.0.0.1", 0))
    await server.startup(sockets=[sock])
    place = Place(server, sock, _trusting() if cert else None)
    try:
        yield place
    finally:
        await place.abandon()


def _trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def certificate(folder: Path) -> Path:
    """Make a self-signed certificate and its key, in one file."""
    both = folder / "cert.pem"
    trustme.CA().issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(both))
    return both

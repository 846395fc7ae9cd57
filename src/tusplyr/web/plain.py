"""The body as any ASGI server gives it.

Owns a task that draws messages from `receive()` while the engine writes. Must not know the server.
Invariant: a body holds at most 64 KiB outside the pool and one message of the server's, and goes on
to 1 MiB only in a buffer of the pool; while it waits for either it draws nothing. This is the
reference that the direct body must agree with.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from tusplyr.core.errors import Cut, Silent, Stopped
from tusplyr.web.pool import SCRATCH, Pool
from tusplyr.web.tray import Tray

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class PlainBody:
    """A `ports.Body` over `receive`. Its owner closes it.

    `length` is the Content-Length where there is one; `idle` is in seconds.
    """

    def __init__(self, receive: Receive, pool: Pool, *, length: int | None, idle: float, at: int = 0) -> None:
        self._receive = receive
        self._pool = pool
        self._length = length
        self._idle = idle
        self._tray = Tray(pool, SCRATCH, at, self._make_room)
        self._space = asyncio.Event()
        self._rest = memoryview(b"")  # of the message that was drawn last
        self._pump: asyncio.Task[None] | None = None

    async def next(self) -> memoryview | None:
        """See `ports.Body.next`. The first call begins to draw, which is what sends `100 Continue`."""
        if self._pump is None and not self._tray.over:
            self._pump = asyncio.create_task(self._draw())
            self._pump.add_done_callback(self._drawn)
        return await self._tray.next()

    def release(self, view: memoryview) -> None:
        """See `ports.Body.release`."""
        self._tray.release(view)

    def stop(self, why: Stopped) -> None:
        """See `ports.Body.stop`."""
        if self._tray.over:
            return
        if self._rest:
            self._tray.add(self._rest)
        self._tray.finish(why)
        if self._pump is not None:
            self._pump.cancel()

    @property
    def ended(self) -> bool:
        """See `ports.Body.ended`."""
        return self._tray.ended

    async def close(self) -> None:
        """Draw no more, and give back what nobody took. Idempotent."""
        self._tray.finish(Cut("The body was closed."))
        self._pool.forget(self._served)
        try:
            if self._pump is not None:
                self._pump.cancel()
                await asyncio.wait([self._pump])
        finally:
            self._tray.clear()

    async def _draw(self) -> None:
        seen = 0
        more = True
        while more:
            try:
                async with asyncio.timeout(self._idle):
                    message = await self._receive()
            except TimeoutError:
                self._tray.finish(Silent())
                return
            if message["type"] == "http.disconnect":
                self._tray.finish(Cut("The connection ended before the body did."))
                return
            self._rest = memoryview(message.get("body", b""))
            seen += len(self._rest)
            more = message.get("more_body", False)
            while self._rest:
                await self._store()
        whole = self._length in (None, seen)
        self._tray.finish(None if whole else Cut("The body is not as long as its Content-Length."))

    def _drawn(self, pump: asyncio.Task[None]) -> None:
        error = Cut("The reading of the body was cancelled.") if pump.cancelled() else pump.exception()
        if error is not None:
            self._tray.finish(error)

    async def _store(self) -> None:
        room = self._room
        if room:
            piece, self._rest = self._rest[:room], self._rest[room:]
            self._tray.add(piece)
            return
        self._space.clear()
        if not self._tray.full:
            if self._pool.free:
                self._served()
                return
            self._pool.wait(self._served)
        await self._space.wait()

    @property
    def _room(self) -> int:
        return 0 if self._tray.full else self._tray.room

    def _served(self) -> None:
        """Go on in a buffer of the pool: one is free."""
        wanted = not self._tray.full and not self._tray.room
        buffer = self._pool.claim() if wanted else None
        if buffer is not None:
            self._tray.adopt(buffer)
        self._space.set()

    def _make_room(self) -> None:
        self._pool.forget(self._served)
        self._space.set()

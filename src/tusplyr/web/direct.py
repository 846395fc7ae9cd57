"""The body read from the transport straight into buffers of the pool.

Owns the connection for the length of one body, as an `asyncio.BufferedProtocol`. Must not know the HTTP
server: it sees a `Line`. Invariants: it never takes a byte behind the body; a buffer is claimed only in
the step that put bytes into it, is filled in place, and goes out when it is full or the tray's time for
gathering is over; an upload holds at most `SHARE` of them, and a few small reads are copied to a batch of
its own. Needs a loop that calls `get_buffer` and `buffer_updated` in one step: the selector loops and
uvloop do, Windows' proactor does not.
"""

import asyncio
from typing import Protocol

from tusplyr.core.errors import Cut, Silent, Stopped
from tusplyr.web.pool import SCRATCH, SMALL, Buffer, Pool
from tusplyr.web.tray import LARGE, Tray

SHARE = 4  # buffers of the pool for one body: three being written and hashed, one being filled


class Line(Protocol):
    """The connection that a body is read from, with the HTTP protocol that it belongs to."""

    def pause_reading(self) -> None:
        """Stop reading. Idempotent."""

    def resume_reading(self) -> None:
        """Read again. Idempotent."""

    def body_complete(self) -> None:
        """Take the connection back: the last byte of the body was read."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""

    def eof_received(self) -> bool | None:
        """The peer sends no more; true keeps the connection open."""

    def pause_writing(self) -> None:
        """The buffer of the reply is full."""

    def resume_writing(self) -> None:
        """The buffer of the reply has room."""


class DirectBody(asyncio.BufferedProtocol):  # not asyncio.Protocol too: uvloop would call data_received
    """A `ports.Body` that is itself the protocol of its transport. Its owner closes it.

    `first` is what had arrived with the head and `left` counts the bytes that had not; `idle` is in seconds.
    With `left` it must be on the transport, with reading paused, before `begin` is called.
    """

    def __init__(self, line: Line, pool: Pool, *, first: bytearray, left: int, idle: float, at: int = 0) -> None:
        self.left = left
        self._line = line
        self._pool = pool
        self._idle = idle
        self._tray = Tray(pool, SMALL, at, self._on_room)
        self._offered: Buffer | None = None
        self._live = False
        self._paused = False
        self._loop = asyncio.get_running_loop()
        self._heard = 0.0
        self._watch: asyncio.TimerHandle | None = None
        if first:
            self._tray.add(first)

    def begin(self) -> None:
        """Start to read; with nothing left the body has ended already."""
        if not self.left:
            self._tray.finish(None)
            return
        self._live = True
        wanted = self._tray.fill >= LARGE and self._tray.fits and not self._pool.scarce
        buffer = self._pool.claim() if wanted else None
        if buffer is not None:
            self._tray.adopt(buffer)
        self._resume()
        self._watch = self._loop.call_later(self._idle, self._check)

    async def next(self) -> memoryview | None:
        """See `ports.Body.next`."""
        return await self._tray.next()

    def release(self, view: memoryview) -> None:
        """See `ports.Body.release`."""
        self._tray.release(view)

    def stop(self, why: Stopped) -> None:
        """See `ports.Body.stop`."""
        self._end(why)

    @property
    def ended(self) -> bool:
        """See `ports.Body.ended`."""
        return self._tray.ended

    async def close(self) -> None:
        """Read no more, and give back what nobody took. Idempotent."""
        self.detach()
        self._tray.clear()

    def detach(self) -> None:
        """Leave the connection as it is and touch it no more."""
        self._end(Cut("The body was closed."))

    def cut(self) -> None:
        """The peer is gone, in the middle of its body."""
        self._end(Cut("The connection ended before the body did."))

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the hint knows less than the pool
        """Offer memory for the next read: never empty, never longer than what is left of the body."""
        tray, self._offered = self._tray, None
        if tray.pooled:
            return tray.place()[: self.left]
        if tray.held < SHARE and tray.fits:
            self._offered = self._pool.peek()  # only a look: uvloop asks more often than it fills
        memory = memoryview(self._pool.scratch) if self._offered is None else tray.place(self._offered)
        return memory[: self.left]

    def buffer_updated(self, nbytes: int) -> None:
        """Keep what was read: a lot of it in its buffer, a little in the batch."""
        tray, offered = self._tray, self._offered
        self.left -= nbytes
        self._heard = self._loop.time()
        if tray.pooled:
            tray.grow(nbytes)
        elif offered is None:
            tray.add(memoryview(self._pool.scratch)[:nbytes])
        elif tray.fill + nbytes >= LARGE and (self.left or nbytes >= LARGE):
            self._pool.claim()
            tray.adopt(offered, nbytes)
        else:
            tray.add(tray.place(offered)[:nbytes])
        if not self.left:
            self._complete()
        elif not tray.pooled and nbytes >= SCRATCH and self._pool.scarce:
            self._queue()
        elif self._sated:
            self._pause()

    def eof_received(self) -> bool | None:
        """The peer closed in the middle of its body."""
        self.cut()
        return self._line.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone; the HTTP protocol must know or the server never forgets it."""
        self.cut()
        self._line.connection_lost(exc)

    def pause_writing(self) -> None:
        """Pass it on."""
        self._line.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        self._line.resume_writing()

    @property
    def _sated(self) -> bool:
        return not self._tray.pooled and (self._tray.held >= SHARE or self._tray.fill >= SMALL)

    def _pause(self) -> None:
        self._paused = True
        self._line.pause_reading()
        self._tray.rush()

    def _resume(self) -> None:
        self._paused = self._tray.hurry = False
        self._heard = self._loop.time()
        self._line.resume_reading()

    def _queue(self) -> None:
        self._pause()
        self._pool.wait(self._served)

    def _served(self) -> None:
        if not self._sated:
            self._resume()

    def _on_room(self) -> None:
        """Go on after a pause of our own; who waits for the pool keeps its place there."""
        if not self._live or not self._paused or self._sated:
            return
        if self._pool.scarce:
            self._pool.wait(self._served)
        else:
            self._pool.forget(self._served)
            self._resume()

    def _check(self) -> None:
        quiet = 0.0 if self._paused else self._loop.time() - self._heard
        if quiet >= self._idle:
            self._end(Silent())
        else:
            self._watch = self._loop.call_later(self._idle - quiet, self._check)

    def _complete(self) -> None:
        self._retire()
        self._tray.finish(None)
        self._line.body_complete()

    def _end(self, error: BaseException) -> None:
        if self._live:
            self._retire()
            self._line.pause_reading()
            self._tray.finish(error)

    def _retire(self) -> None:
        self._live = False
        self._pool.forget(self._served)
        if self._watch is not None:
            self._watch.cancel()

"""The rest of a body that nobody wants.

Owns the connection between a reply and the end of a body that was not read: bytes are discarded without a
parser, so that the client can read the reply while it is still sending, and only up to a bound. Must not
know the HTTP server: it sees a `Line`. Invariant: it ends, by bytes or by time, and then either gives
the connection back, right behind the body, or closes it.
"""

import asyncio

from tusplyr.web.direct import Line
from tusplyr.web.pool import SCRATCH


class Drain(asyncio.BufferedProtocol):
    """Discard up to `limit` bytes within `lapse` seconds; then close, or go on with HTTP where `keep` is set."""

    def __init__(self, line: Line, transport: asyncio.Transport, *, limit: int, lapse: float, keep: bool) -> None:
        self._line = line
        self._transport = transport
        self._left = limit
        self._keep = keep
        self._memory = memoryview(bytearray(SCRATCH))
        self._timer = asyncio.get_running_loop().call_later(lapse, self.close)

    def close(self) -> None:
        """Close the connection now."""
        self._timer.cancel()
        self._transport.close()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - what is read is thrown away
        """Offer memory, never more than may be discarded."""
        return self._memory[: self._left]

    def buffer_updated(self, nbytes: int) -> None:
        """Discard it."""
        self._left -= nbytes
        if self._left:
            return
        if self._keep:
            self._timer.cancel()
            self._line.body_complete()
        else:
            self.close()

    def eof_received(self) -> bool | None:
        """The client has read what it wanted."""
        self.close()
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._timer.cancel()
        self._line.connection_lost(exc)

    def pause_writing(self) -> None:
        """Pass it on."""
        self._line.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        self._line.resume_writing()

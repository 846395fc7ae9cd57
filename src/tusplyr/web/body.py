"""Which way the bytes of a request come in.

Owns the choice between the direct and the plain body, made when the engine takes the first bytes and not
before, so that a refused request is never read. Must not know what is done with the bytes. Invariant: the
engine cannot tell the two apart.
"""

from msgspec import Struct

from tusplyr.core.errors import Stopped
from tusplyr.engine.tally import Tally
from tusplyr.web.direct import DirectBody
from tusplyr.web.edge import Receive, Scope
from tusplyr.web.exchange import DIRECT
from tusplyr.web.plain import PlainBody
from tusplyr.web.pool import Pool


class Bodies(Struct, frozen=True):
    """How this server reads bodies.

    Attributes:
        pool: the memory of all of them together.
        idle: seconds without a byte after which a body is ended.
        direct: take bytes from the socket where the server offers it.
        tally: counts which way each came in.
    """

    pool: Pool
    idle: float
    direct: bool
    tally: Tally


class RequestBody:
    """`ports.Body` of one request. `close` belongs to the owner, in a `finally`."""

    def __init__(self, scope: Scope, receive: Receive, bodies: Bodies, length: int | None) -> None:
        self._scope = scope
        self._receive = receive
        self._bodies = bodies
        self._length = length
        self._at = 0
        self._body: DirectBody | PlainBody | None = None
        self._why: Stopped | None = None

    @property
    def ended(self) -> bool:
        """See `ports.Body.ended`."""
        return self._length == 0 or (self._body is not None and self._body.ended)

    def place(self, at: int) -> None:
        """See `ports.Body.place`."""
        self._at = at

    async def next(self) -> memoryview | None:
        """See `ports.Body.next`. The first call takes the body; only from then on is the client told to go on."""
        if self._length == 0:
            return None
        if self._body is None:
            self._body = self._take()
            if self._why:
                self._body.stop(self._why)  # now, so that what has arrived is handed out first
        return await self._body.next()

    def release(self, view: memoryview) -> None:
        """See `ports.Body.release`."""
        if self._body is not None:
            self._body.release(view)

    def stop(self, why: Stopped) -> None:
        """See `ports.Body.stop`."""
        if self._body is not None:
            self._body.stop(why)
        else:
            self._why = self._why or why

    async def close(self) -> None:
        """Let go of the request. Idempotent."""
        if self._body is not None:
            await self._body.close()

    def _take(self) -> DirectBody | PlainBody:
        bodies = self._bodies
        offer = self._scope.get("extensions", {}).get(DIRECT) if bodies.direct else None
        direct: DirectBody | None = offer(bodies.pool, idle=bodies.idle, at=self._at) if offer else None
        if direct is not None:
            bodies.tally.direct += 1
            return direct
        bodies.tally.plain += 1
        return PlainBody(self._receive, bodies.pool, length=self._length, idle=bodies.idle, at=self._at)

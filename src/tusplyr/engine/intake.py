"""The hot path: one request body into the spool, the digest and the ledger.

Owns the order that everything hangs on: bytes, fdatasync, row; the reply follows when `receive` returns.
Must not know HTTP, SQL or files. Invariants: the row is never ahead of the bytes; every byte that the
body handed out before it was cut, stopped or refused by the disk is checkpointed; the row reaches the
promised length only once the end of the body has been seen.
"""

import asyncio

from msgspec import Struct

from tusplyr.core import decide
from tusplyr.core.errors import TooLarge
from tusplyr.core.model import Status, Upload
from tusplyr.engine.offload import Offload, joined
from tusplyr.engine.publish import Placement, Publisher
from tusplyr.engine.sink import Sink
from tusplyr.engine.trail import Trail
from tusplyr.engine.writing import LONG, Writing
from tusplyr.ports import Body, Ledger


class Pace(Struct, frozen=True):
    """How much may be unacknowledged.

    Attributes:
        span: bytes written since the last checkpoint that make the next one due.
        lapse: seconds since the first unacknowledged byte that do.
    """

    span: int = 16 * 1024 * 1024
    lapse: float = 2.0


class Intake:
    """Receives bodies. One object for all of them; what belongs to one body lives in its `_Reception`."""

    def __init__(self, ledger: Ledger, publisher: Publisher, offload: Offload, pace: Pace) -> None:
        self.ledger = ledger
        self.publisher = publisher
        self.offload = offload
        self.pace = pace

    async def receive(self, upload: Upload, body: Body, sink: Sink, *, end: int | None, news: bool = False) -> Upload:
        """Append a body to an upload that the caller holds; return the row as last committed.

        Args:
            upload: as it is to be received.
            body: not touched before.
            sink: opened by the first bytes; the caller closes it.
            end: offset that the body must not pass; None where there is no such thing.
            news: the length of `upload` is not in its row yet, and is to be, once the end of the body has been seen.

        Raises:
            TooLarge: the body passes its end; what was checkpointed is kept, the rest dropped.
            Cut, Stopped: the body ended early; everything that arrived is in the row all the same.
            BytesLost, NoSpace, SpoolDown, LedgerDown, Superseded: see `ports`.
        """
        body.place(sink.at)
        return await _Reception(self, upload, body, sink, end, news=news).run()


class _Reception:
    """One body on its way in."""

    def __init__(self, intake: Intake, upload: Upload, body: Body, sink: Sink, end: int | None, *, news: bool) -> None:
        self._upload = upload
        self._end = end
        self._news = news
        self._body = body
        self._sink = sink
        self._publisher = intake.publisher
        self._offload = intake.offload
        self._pace = intake.pace
        self._trail = Trail(upload, sink, intake.ledger, intake.offload)
        self._writing = Writing(sink, body, intake.offload)
        self._placement: Placement | None = None
        self._due: float | None = None  # when the first unacknowledged byte has waited long enough
        self._clock = asyncio.get_running_loop().time

    async def run(self) -> Upload:
        """Take the body to its end; return the row as last committed."""
        ended, keep = False, True
        try:
            while not ended:
                view = await self._next()
                ended = self._body.ended
                if view is not None:
                    await self._take(view, last=ended)
                    await self._keep_pace()
        except TooLarge:
            keep = False
            raise
        finally:
            row = await joined(self._settle(ended=ended) if keep else self._drop())
        return row

    async def _next(self) -> memoryview | None:
        """Return the next view, None at the end of the body or when a checkpoint was due before anything came."""
        try:
            async with asyncio.timeout_at(self._due):
                return await self._body.next()
        except TimeoutError:
            await self._writing.rest()
            await self._trail.checkpoint()
            self._due = None
            return None

    async def _take(self, view: memoryview, *, last: bool) -> None:
        """Write a view, and with a short one that ends the upload do all that follows in the same hop to a thread."""
        end = self._writing.end + view.nbytes
        begun = False
        try:
            decide.admit(end, self._end)
            if last:
                await self._trail.caught_up()
            if last and end == self._upload.length and view.nbytes < LONG:
                await self._writing.rest()
                self._placement = await self._offload.run(self._finish, view)
            else:
                begun = True
                await self._writing.begin(view, last=last and end != self._upload.length)
        finally:
            if not begun:
                self._body.release(view)

    async def _keep_pace(self) -> None:
        """Begin a checkpoint when it is due."""
        self._due = self._due or self._clock() + self._pace.lapse
        if self._sink.at - self._trail.offset >= self._pace.span or self._clock() >= self._due:
            await self._trail.checkpoint()
            # What is still being written was not part of it.
            self._due = None if self._trail.offset == self._writing.end else self._clock() + self._pace.lapse

    async def _settle(self, *, ended: bool) -> Upload:
        """Make the last checkpoint of a body; of a whole upload, the one that says so, after it was published."""
        failed = await self._writing.over()
        row = await self._trail.caught_up()
        if row.status is not Status.RECEIVING:
            return row  # whole since earlier: an empty body changes nothing
        if not ended or decide.settle(row, self._sink.at) is Status.RECEIVING:
            await self._trail.checkpoint(always=self._news and ended)
            row = await self._trail.caught_up()
            if failed:
                raise failed
            return row
        placement = self._placement
        if placement is None:
            placement = await self._offload.run(self._finish, None)
        return await self._publisher.complete(row, self._sink.mark.digest, placement)

    async def _drop(self) -> Upload:
        """Leave the row where it is."""
        await self._writing.over()
        return await self._trail.caught_up()

    def _finish(self, view: memoryview | None) -> Placement:
        """Write what is left, sync it, then publish it: one hop to a thread for the end of every upload."""
        self._sink.finish(view)
        return self._publisher.place(self._upload, self._sink.sha256())

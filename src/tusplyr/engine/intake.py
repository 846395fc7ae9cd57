"""The hot path: one request body into the spool, the digest and the ledger.

Owns the order that everything hangs on: bytes, fdatasync, row; the reply follows when `receive` returns.
Must not know HTTP, SQL or files. Invariants: the row is never ahead of the bytes; every byte that the
body handed out before it was cut, stopped or refused by the disk is checkpointed; the row reaches the
promised length only once the end of the body has been seen.
"""

import asyncio
from contextlib import suppress

from msgspec import Struct

from tusplyr.core import decide
from tusplyr.core.commands import Expected
from tusplyr.core.errors import ChecksumMismatch, TooLarge, TusplyrError
from tusplyr.core.lifecycle import OPEN
from tusplyr.core.model import Upload
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


class Terms(Struct, frozen=True):
    """What a body must keep to.

    Attributes:
        end: offset that it must not pass; None where there is no such thing.
        news: the length of the upload is not in its row yet, and is to be, once the end of the body has been seen.
        expected: returns the checksum of the body once its end has been seen. Such a body counts as a whole or not at
            all: nothing of it is acknowledged before it is verified.
    """

    end: int | None
    news: bool = False
    expected: Expected | None = None


class Intake:
    """Receives bodies. One object for all of them; what belongs to one body lives in its `_Reception`."""

    def __init__(self, ledger: Ledger, publisher: Publisher, offload: Offload, pace: Pace) -> None:
        self.ledger = ledger
        self.publisher = publisher
        self.offload = offload
        self.pace = pace

    async def receive(self, upload: Upload, body: Body, sink: Sink, terms: Terms) -> Upload:
        """Append a body to an upload that the caller holds; return the row as last committed.

        Args:
            upload: as it is to be received.
            body: not touched before.
            sink: opened by the first bytes; the caller closes it.
            terms: see there.

        Raises:
            TooLarge: the body passes its end; what was checkpointed is kept, the rest dropped.
            ChecksumMismatch, or what `terms.expected` raises: the body was not what it should be; none of it is kept.
            DigestMismatch: with it the upload is whole, and not what was declared; nothing is published.
            Cut, Stopped: the body ended early; everything that arrived is in the row all the same, unless a checksum
                was to come.
            BytesLost, NoSpace, SpoolDown, LedgerDown, Superseded: see `ports`.
        """
        body.place(sink.at)
        return await _Reception(self, upload, body, sink, terms).run()


class _Reception:
    """One body on its way in."""

    def __init__(self, intake: Intake, upload: Upload, body: Body, sink: Sink, terms: Terms) -> None:
        self._upload = upload
        self._terms = terms
        self._body = body
        self._sink = sink
        self._publisher = intake.publisher
        self._offload = intake.offload
        self._pace = intake.pace
        self._trail = Trail(upload, sink, intake.ledger, intake.offload, intake.publisher.overlap)
        self._writing = Writing(sink, body, intake.offload)
        self._placement: Placement | None = None
        self._due: float | None = None  # when the first unacknowledged byte has waited long enough
        self._clock = asyncio.get_running_loop().time

    async def run(self) -> Upload:
        """Take the body to its end; return the row as last committed."""
        ended, keep = False, self._terms.expected is None
        try:
            while not ended:
                view = await self._next()
                ended = self._body.ended
                if view is not None:
                    await self._take(view, last=ended)
                    await self._keep_pace()
            if not keep:
                await self._writing.rest()
                await self._offload.run(self._verify)
                keep = True
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
            decide.admit(end, self._terms.end)
            last = last and self._terms.expected is None  # what is not verified is neither synced nor published
            if last:
                await self._trail.caught_up()
            if last and end == self._upload.whole_at and view.nbytes < LONG:
                await self._writing.rest()
                self._placement = await self._offload.run(self._finish, view)
            else:
                begun = True
                await self._writing.begin(view, last=last and end != self._upload.whole_at)
        finally:
            if not begun:
                self._body.release(view)

    async def _keep_pace(self) -> None:
        """Begin a checkpoint when it is due."""
        if self._terms.expected is not None:
            # No row before it is verified; but the disk keeps up, and its reserve is seen.
            if self._sink.at - self._sink.synced >= self._pace.span:
                await self._offload.run(self._sink.sync)
            return
        self._due = self._due or self._clock() + self._pace.lapse
        if self._sink.at - self._trail.offset >= self._pace.span or self._clock() >= self._due:
            await self._trail.checkpoint()
            # What is still being written was not part of it.
            self._due = None if self._trail.offset == self._writing.end else self._clock() + self._pace.lapse

    async def _settle(self, *, ended: bool) -> Upload:
        """Make the last checkpoint of a body; of a whole upload, the one that says so, after it was published."""
        failed = await self._writing.over()
        row = await self._trail.caught_up()
        if row.status not in OPEN:
            return row  # whole since earlier: an empty body changes nothing
        if not ended or decide.settle(row, self._sink.at) in OPEN:
            await self._trail.checkpoint(ended=ended, always=self._terms.news and ended)
            row = await self._trail.caught_up()
            if failed:
                raise failed
            return row
        placement = self._placement
        if placement is None:
            placement = await self._offload.run(self._finish, None)
        return await self._publisher.complete(row, self._sink.mark.digest, placement)

    def _verify(self) -> None:
        """Hold the body against its checksum. Blocking."""
        assert self._terms.expected is not None  # noqa: S101 - the caller has looked
        expected = self._terms.expected()
        if self._sink.checksum(expected.algorithm) != expected.digest:
            raise ChecksumMismatch

    async def _drop(self) -> Upload:
        """Leave the row where it is."""
        await self._writing.over()
        row = await self._trail.caught_up()
        if self._terms.expected is not None and self._sink.at > row.offset:
            with suppress(TusplyrError):  # what stays behind the offset is cut off by the next append
                await self._offload.run(self._sink.drop, row.offset)
        return row

    def _finish(self, view: memoryview | None) -> Placement:
        """Write what is left, sync it, then publish it: one hop to a thread for the end of every upload."""
        self._sink.finish(view)
        sha256 = self._sink.sha256()
        decide.confirm(self._upload, sha256)
        return self._publisher.place(self._upload, sha256)

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
from tusplyr.engine.sink import Mark, Sink
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
    """Receives bodies. One object for all of them; what belongs to one body lives in one call."""

    def __init__(self, ledger: Ledger, publisher: Publisher, offload: Offload, pace: Pace) -> None:
        self._ledger = ledger
        self._publisher = publisher
        self._offload = offload
        self._pace = pace

    async def receive(self, upload: Upload, body: Body, sink: Sink) -> Upload:
        """Append a body to an upload that the caller holds; return the row as last committed.

        Raises:
            TooLarge: the body passes the promised length; what was checkpointed is kept, the rest dropped.
            Cut, Stopped: the body ended early; everything that arrived is in the row all the same.
            BytesLost, NoSpace, SpoolDown, LedgerDown, Superseded: see `ports`.
        """
        body.place(sink.at)
        trail = Trail(upload, sink, self._ledger, self._offload)
        writing = Writing(sink, body, self._offload)
        ended, keep = False, True
        due: float | None = None
        placement: Placement | None = None
        clock = asyncio.get_running_loop().time
        try:
            while not ended:
                view = None
                try:
                    async with asyncio.timeout_at(due):
                        view = await body.next()
                        ended = body.ended
                except TimeoutError:
                    await writing.rest()
                    await trail.checkpoint()
                    due = None
                if view is None:
                    continue
                end = writing.end + view.nbytes
                if end > upload.length or (ended and end == upload.length and view.nbytes < LONG):
                    try:
                        decide.admit(end, upload.length)
                        await writing.rest()
                        await trail.caught_up()
                        placement = await self._offload.run(self._finish, sink, upload, view)
                    finally:
                        body.release(view)
                else:
                    if ended:
                        await trail.caught_up()
                    await writing.begin(view, last=ended)
                due = due or clock() + self._pace.lapse
                if sink.at - trail.offset >= self._pace.span or clock() >= due:
                    await trail.checkpoint()
                    due = None if sink.at == writing.end else clock() + self._pace.lapse
        except TooLarge:
            keep = False
            raise
        finally:
            row = await joined(self._settle(trail, writing, sink, ended, placement, keep))
        return row

    async def _settle(
        self, trail: "Trail", writing: Writing, sink: Sink, ended: bool, placement: Placement | None, keep: bool
    ) -> Upload:
        """Make the last checkpoint of a body; of a whole upload, the one that says so, after it was published."""
        failed = await writing.over()
        row = await trail.caught_up()
        if not keep or row.status is not Status.RECEIVING:
            return row  # whole since earlier: an empty body changes nothing
        if not ended or decide.settle(row, sink.at) is Status.RECEIVING:
            await trail.checkpoint()
            row = await trail.caught_up()
            if failed:
                raise failed
            return row
        if placement is None:
            placement = await self._offload.run(self._finish, sink, row, None)
        return await self._publisher.complete(row, sink.mark.digest, placement)

    def _finish(self, sink: Sink, upload: Upload, view: memoryview | None) -> Placement:
        """Write what is left, sync it, then publish it: one hop to a thread for the end of every upload."""
        sink.finish(view)
        return self._publisher.place(upload, sink.sha256())


class Trail:
    """The row, following the bytes: one checkpoint at a time, made while the next bytes come in.

    Attributes:
        row: as last committed.
        offset: where the newest checkpoint that was begun will bring it.
    """

    def __init__(self, row: Upload, sink: Sink, ledger: Ledger, offload: Offload) -> None:
        self.row = row
        self.offset = row.offset
        self._sink = sink
        self._ledger = ledger
        self._offload = offload
        self._running: asyncio.Task[None] | None = None

    async def checkpoint(self) -> None:
        """Begin a checkpoint of everything written, once the one before has ended. Raises what that one met."""
        await self.caught_up()
        # The last byte may be here and the end of a chunked body still turn out broken: the row stays below the length.
        mark = self._sink.mark
        if mark.at not in {self.offset, self.row.length}:
            self.offset = mark.at
            self._running = asyncio.create_task(self._follow(mark))

    async def caught_up(self) -> Upload:
        """Wait for the checkpoint that is being made; return the row. Raises what it met."""
        if self._running is not None:
            running, self._running = self._running, None
            await joined(running)
        return self.row

    async def _follow(self, mark: Mark) -> None:
        """Sync the bytes, then move the row to them: the law."""
        if self._sink.synced < mark.at:
            await self._offload.run(self._sink.sync)
        self.row = await self._ledger.checkpoint(self.row, mark.at, mark.digest)

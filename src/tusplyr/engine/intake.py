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
        row, ended, keep = upload, False, True
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
                    row, due = await self._checkpoint(row, sink), None
                if view is None:
                    continue
                try:
                    end = sink.at + view.nbytes
                    decide.admit(end, upload.length)
                    if ended and end == upload.length:
                        placement = await self._offload.run(self._finish, sink, upload, view)
                    else:
                        await self._offload.run(sink.write, view)
                finally:
                    body.release(view)
                due = due or clock() + self._pace.lapse
                if sink.at - row.offset >= self._pace.span or clock() >= due:
                    row, due = await self._checkpoint(row, sink), None
        except TooLarge:
            keep = False
            raise
        finally:
            if keep:
                row = await joined(self._settle(row, sink, ended, placement))
        return row

    async def _checkpoint(self, row: Upload, sink: Sink) -> Upload:
        """Sync the bytes, then move the row to them: the law."""
        # The last byte may be here and the end of a chunked body still turn out broken: the row stays below the length.
        if sink.at in (row.offset, row.length):
            return row
        await self._offload.run(sink.sync)
        return await self._ledger.checkpoint(row, sink.at, sink.state())

    async def _settle(self, row: Upload, sink: Sink, ended: bool, placement: Placement | None) -> Upload:
        """Make the last checkpoint of a body; of a whole upload, the one that says so, after it was published."""
        if row.status is not Status.RECEIVING:
            return row  # whole since earlier: an empty body changes nothing
        if not ended or decide.settle(row, sink.at) is Status.RECEIVING:
            return await self._checkpoint(row, sink)
        if placement is None:
            placement = await self._offload.run(self._finish, sink, row, None)
        return await self._publisher.complete(row, sink.state(), placement)

    def _finish(self, sink: Sink, upload: Upload, view: memoryview | None) -> Placement:
        """Write what is left, sync it, then publish it: one hop to a thread for the end of every upload."""
        sink.finish(view)
        return self._publisher.place(upload, sink.sha256())

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

    def __init__(self, ledger: Ledger, offload: Offload, pace: Pace) -> None:
        self._ledger = ledger
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
        clock = asyncio.get_running_loop().time
        try:
            while not ended:
                view = None
                try:
                    async with asyncio.timeout_at(due):
                        view = await body.next()
                        ended = view is None
                except TimeoutError:
                    row, due = await self._checkpoint(row, sink), None
                if view is None:
                    continue
                try:
                    decide.admit(sink.at + view.nbytes, upload.length)
                    await self._offload.run(sink.write, view, body.ended)
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
                row = await joined(self._checkpoint(row, sink, ended=ended))
        return row

    async def _checkpoint(self, row: Upload, sink: Sink, *, ended: bool = False) -> Upload:
        """Sync the bytes, then move the row to them: the law."""
        if row.status is not Status.RECEIVING:
            return row  # complete since earlier: an empty body changes nothing
        complete = decide.settle(row, sink.at) is Status.RECEIVED
        if complete and not ended:
            return row  # a chunked body has brought the last byte, but its end may still turn out broken
        if sink.at > row.offset or complete:
            await self._offload.run(sink.sync)
            sha256 = sink.sha256() if complete else None
            return await self._ledger.checkpoint(row, sink.at, sink.state(), sha256)
        return row

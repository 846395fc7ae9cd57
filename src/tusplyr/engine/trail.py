"""The row, following the bytes.

Owns the checkpoints of one body: one at a time, made while the next bytes come in. Must not know bodies or files.
Invariant: a row moves only to a mark whose bytes were synced before, and to the promised length only once
the caller has seen the end of the body.
"""

import asyncio

from tusplyr.core.model import Upload
from tusplyr.engine.offload import Offload, joined
from tusplyr.engine.overlap import Overlap
from tusplyr.engine.sink import Mark, Sink
from tusplyr.ports import Ledger


class Trail:
    """The row of one upload and the checkpoint that is being made of it.

    Attributes:
        row: as last committed.
        offset: where the newest checkpoint that was begun will bring it.
    """

    def __init__(
        self, row: Upload, sink: Sink, ledger: Ledger, offload: Offload, overlap: Overlap | None = None
    ) -> None:
        self.row = row
        self.offset = row.offset
        self._sink = sink
        self._ledger = ledger
        self._offload = offload
        self._overlap = overlap
        self._running: asyncio.Task[None] | None = None

    async def checkpoint(self, *, ended: bool = False, always: bool = False) -> None:
        """Begin a checkpoint of everything written, once the one before has ended. Raises what that one met.

        Before the body has `ended` the row stays below the promised length: the last byte may be here, and the end of a
        chunked body still turn out broken. Where nothing was written since, it takes `always`.
        """
        await self.caught_up()
        mark = self._sink.mark
        if (ended or mark.at != self.row.length) and (always or mark.at != self.offset):
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
        before = self.row.offset
        self.row = await self._ledger.checkpoint(self.row, mark.at, mark.digest)
        if self._overlap:
            self._overlap.note(before, self.row)

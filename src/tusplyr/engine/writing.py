"""The pieces of one body on their way to the disk.

Owns which pieces are being written and when each is given back. Must not know what a checkpoint is. Invariant:
pieces are given to the sink in order, each with its place; a piece is released in the step that ends its writing,
so nobody's memory is held while the next one is awaited.
"""

import asyncio
from collections import deque

from tusplyr.engine.offload import Offload, joined
from tusplyr.engine.sink import Behind, Sink
from tusplyr.ports import Body

HANDS = 3  # pieces at once: while one is hashed others are written
LONG = 256 * 1024  # bytes of a piece that is worth a thread beside that of the piece before it


class Writing:
    """Hands pieces to the sink.

    Attributes:
        end: where the next piece goes.
    """

    def __init__(self, sink: Sink, body: Body, offload: Offload) -> None:
        self.end = sink.at
        self._sink = sink
        self._body = body
        self._offload = offload
        self._busy: deque[asyncio.Future[None]] = deque()

    async def begin(self, view: memoryview, *, last: bool) -> None:
        """Take over a piece, begin to write it, and return when the next may come. Raises what a piece met.

        The `last` one is synced, too; nobody else may be at that.
        """
        alone = last or view.nbytes < LONG
        try:
            job = self._offload.start(self._sink.write_last if last else self._sink.write, view, self.end)
        except BaseException:
            self._body.release(view)
            raise
        job.add_done_callback(lambda _: self._body.release(view))
        self.end += view.nbytes
        self._busy.append(job)
        await self._down_to(0 if alone else HANDS - 1)

    async def rest(self) -> None:
        """Wait until nothing is being written. Raises what a piece met."""
        await self._down_to(0)

    async def over(self) -> BaseException | None:
        """Wait until nothing is being written; return what a piece met that has not been told yet."""
        errors = await asyncio.gather(*self._busy, return_exceptions=True)
        self._busy.clear()
        return next((error for error in errors if error and not isinstance(error, Behind)), None)

    async def _down_to(self, count: int) -> None:
        while len(self._busy) > count:
            await joined(self._busy.popleft())

"""What the server does by itself: publishing what was received, assembling what was concatenated.

Owns the loop over the rows that wait. Must not know how either is done. Invariant: at start-up what a crash left, and
then whatever failed, is taken up again when it is due, for as long as it takes.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from tusplyr.core.errors import Superseded
from tusplyr.core.model import Status
from tusplyr.engine.assemble import Assembler
from tusplyr.engine.publish import Publisher
from tusplyr.ports import Claims, Ledger, Queue

log = logging.getLogger(__name__)

GLANCE = 5.0  # seconds between looks at the queue
BATCH = 16  # rows per look of each sort, beside those that are being assembled


class Worker:
    """Works through the queue."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        queue: Queue,
        claims: Claims,
        publisher: Publisher,
        assembler: Assembler,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ledger = ledger
        self._queue = queue
        self._claims = claims
        self._publisher = publisher
        self._assembler = assembler
        self._clock = clock

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            try:
                now = self._clock()
                for upload in await self._queue.due(Status.ASSEMBLING, now, BATCH + self._assembler.busy):
                    self._assembler.begin(upload.id)
                for upload in await self._queue.due(Status.RECEIVED, now, BATCH):
                    await self._publish(upload.id)
            except Exception:  # one of the two loops: nothing may end it
                log.exception("publishing from the queue failed; trying again in %g s", GLANCE)
            await asyncio.sleep(GLANCE)

    async def _publish(self, upload_id: str) -> None:
        if self._claims.held(upload_id):
            return  # a request is at it right now
        try:
            async with self._claims.hold(upload_id, lambda _: None):
                upload = await self._ledger.get(upload_id)
                if upload and upload.status is Status.RECEIVED:
                    await self._publisher.publish(upload)
        except Superseded:
            log.info("upload %s was changed while it was being published", upload_id)

"""What the server does by itself: publishing what was received, assembling what was concatenated.

Owns the loop over the rows that wait, and how many are published at once. Must not know how either is done. Invariants:
at start-up what a crash left, and then whatever failed, is taken up again when it is due, for as long as it takes; of
uploads with the same content only one is published at a time.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from functools import partial

from tusplyr.core.errors import Superseded, Suspended
from tusplyr.core.model import Status, Upload
from tusplyr.engine.assemble import Assembler
from tusplyr.engine.publish import Publisher
from tusplyr.ports import Claims, Ledger, Queue

log = logging.getLogger(__name__)

GLANCE = 5.0  # seconds between looks at the queue when nothing is announced
SOON = 0.05  # seconds after which an upload is looked at again whose request is about to let go of it
BATCH = 16  # rows per look, beside those that are being assembled
WIDER = 4  # times as many in the next look where none of them could be begun


class Worker:
    """Works through the queue.

    Args:
        slots: how many uploads are published at once.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        queue: Queue,
        claims: Claims,
        publisher: Publisher,
        assembler: Assembler,
        slots: int = 1,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ledger = ledger
        self._queue = queue
        self._claims = claims
        self._publisher = publisher
        self._assembler = assembler
        self._slots = slots
        self._clock = clock
        self._tasks: dict[str | None, asyncio.Task[bool]] = {}  # by content key

    async def run(self) -> None:
        """Work until cancelled; then end when what was begun has ended. Whoever wants that soon stops the holders."""
        try:
            while True:
                pause = GLANCE
                try:
                    pause = await self._look()
                except Exception:  # one of the two loops: nothing may end it
                    log.exception("publishing from the queue failed; trying again in %g s", GLANCE)
                await self._publisher.handover.rest(pause)
        finally:
            if self._tasks:
                await asyncio.wait([*self._tasks.values()])

    async def _look(self) -> float:
        """Begin what is due, as far as there is room; return the seconds until the next look."""
        now = self._clock()
        for upload in await self._queue.due(Status.ASSEMBLING, now, BATCH + self._assembler.busy):
            self._assembler.begin(upload)
        pause, limit, full = GLANCE, BATCH, True
        while full and len(self._tasks) < self._slots:
            uploads = await self._queue.due(Status.RECEIVED, now, limit)
            full = len(uploads) == limit
            limit *= WIDER  # what cannot be begun now keeps nothing from being begun that comes after it
            for upload in uploads:
                if upload.key in self._tasks:
                    continue  # it, or the same content
                if self._claims.held(upload.id):
                    pause = SOON
                elif len(self._tasks) < self._slots:
                    self._begin(upload)
        return pause

    def _begin(self, upload: Upload) -> None:
        task = self._tasks[upload.key] = asyncio.create_task(self._publish(upload.id))
        task.add_done_callback(partial(self._ended, upload))

    def _ended(self, upload: Upload, task: asyncio.Task[bool]) -> None:
        del self._tasks[upload.key]
        if task.cancelled():
            return
        if error := task.exception():
            log.error("upload %s could not be published; it stays in the queue", upload.id, exc_info=error)
        elif task.result():
            self._publisher.handover.announce()  # there is room for another

    async def _publish(self, upload_id: str) -> bool:
        """Publish one upload, whoever else wants to hold it goes first; return whether anything was changed."""
        if self._claims.held(upload_id):
            return True  # a request has come in between; it is looked at again
        halt = threading.Event()
        try:
            async with self._claims.hold(upload_id, lambda _: halt.set()):
                upload = await self._ledger.get(upload_id)
                if upload and upload.status is Status.RECEIVED:
                    await self._publisher.publish(upload, halt.is_set)
                    return True
        except Suspended:
            log.info("upload %s: publishing was interrupted and will be gone on with", upload_id)
        except Superseded:
            log.info("upload %s was changed while it was being published", upload_id)
        return False

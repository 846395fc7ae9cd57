"""What the server does by itself: publishing what was received, assembling what was concatenated.

Owns the loop over the rows that wait, and how many are published at once. Must not know how either is done. Invariants:
at start-up what a crash left, and then whatever failed, is taken up again when it is due, for as long as it takes; what
fails, in whatever way, keeps nothing waiting that comes after it, and a bucket that hangs nothing that goes to another;
of uploads with the same content only one is published at a time.
"""

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from tusplyr.core.errors import Superseded, Suspended
from tusplyr.core.model import Status, Upload
from tusplyr.engine.assemble import Assembler
from tusplyr.engine.publish import Publisher
from tusplyr.engine.setbacks import Setbacks
from tusplyr.ports import Claims, Ledger, Queue

log = logging.getLogger(__name__)

GLANCE = 5.0  # seconds between looks at the queue when nothing is announced
SOON = 0.05  # seconds after which an upload is looked at again whose request is about to let go of it
BATCH = 16  # rows that are read at once, beside those that are being assembled


class Worker:
    """Works through the queue.

    Args:
        slots: how many uploads are published at once to each folder of the store, which may be a bucket of its own.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        queue: Queue,
        claims: Claims,
        publisher: Publisher,
        setbacks: Setbacks,
        assembler: Assembler,
        slots: int = 1,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ledger = ledger
        self._queue = queue
        self._claims = claims
        self._publisher = publisher
        self._setbacks = setbacks
        self._assembler = assembler
        self._slots = slots
        self._clock = clock
        self._tasks: dict[str, asyncio.Task[bool]] = {}  # by content key

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
        pause, begun = GLANCE, True
        while begun:  # what cannot be begun now is left out of the next batch
            begun = False
            apart = self._setbacks.resting | set(self._tasks) | self._full
            for upload in await self._queue.due(Status.RECEIVED, now, BATCH, apart):
                if self._claims.held(upload.id):
                    pause = SOON
                elif upload.key and {upload.key, f"{upload.media.folder}/"}.isdisjoint({*self._tasks, *self._full}):
                    self._begin(upload, upload.key)
                    begun = True
        return pause

    @property
    def _full(self) -> set[str]:
        """The folders (``audio/``) to which as many are being published as may be."""
        busy = Counter(key.partition("/")[0] for key in self._tasks)
        return {f"{folder}/" for folder, count in busy.items() if count >= self._slots}

    def _begin(self, upload: Upload, key: str) -> None:
        task = self._tasks[key] = asyncio.create_task(self._publish(upload))
        task.add_done_callback(partial(self._ended, upload.id, key))

    def _ended(self, upload_id: str, key: str, task: asyncio.Task[bool]) -> None:
        del self._tasks[key]
        if task.cancelled():
            return
        if error := task.exception():
            log.error("upload %s could not be published; it stays in the queue", upload_id, exc_info=error)
            self._setbacks.rest(key, GLANCE)  # its row says that it is due, for as long as nothing can be written
        if error or task.result():
            self._publisher.handover.announce()  # there is room for another

    async def _publish(self, upload: Upload) -> bool:
        """Publish one upload, whoever else wants to hold it goes first; return whether to look for another at once.

        This is a part of the loop: whatever goes wrong is counted as an attempt that failed. Raises what keeps that
        from being written down.
        """
        if self._claims.held(upload.id):
            return True  # a request has come in between; it is looked at again
        halt = threading.Event()
        try:
            async with self._claims.hold(upload.id, lambda _: halt.set()):
                row = await self._ledger.get(upload.id)
                if row and row.status is Status.RECEIVED:
                    await self._publisher.publish(row, halt.is_set)
        except Suspended:
            log.info("upload %s: publishing was interrupted and will be gone on with", upload.id)
            return False  # whoever has interrupted it announces what is to be done
        except Superseded:
            log.info("upload %s was changed while it was being published", upload.id)
        except Exception as error:  # noqa: BLE001 - part of the loop: nothing may end it, nor be tried without a pause
            with suppress(Superseded):  # it was changed meanwhile
                await self._setbacks.postpone(upload, error)
        return True

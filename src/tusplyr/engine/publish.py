"""From `received` to `stored`.

Owns publishing: at once, in the request that brought the last byte, and again from the queue for as long
as it fails. Must not know where objects are kept. Invariants: nobody reads `stored` before the object is
durable under its key; a `received` upload stays in the queue however often publishing fails; the
spool is discarded only after the row says `stored`.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable

from tusplyr.core.errors import BytesLost, Conflict, NoSpace, SpoolDown, StoreDown, Superseded, TusplyrError
from tusplyr.core.model import Content, Reason, Status, Upload
from tusplyr.engine.offload import Offload
from tusplyr.engine.tally import Tally
from tusplyr.ports import Claims, Ledger, Queue, Spool, Store

log = logging.getLogger(__name__)

FIRST_DELAY = 1.0  # seconds before the second attempt
LAST_DELAY = 300.0  # seconds between attempts once it has failed often
STUCK_AFTER = 10  # attempts after which a person is told at every further one
GLANCE = 5.0  # seconds between looks at the queue
BATCH = 16  # rows per look


class Publisher:
    """Publishes what was received."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        queue: Queue,
        spool: Spool,
        store: Store,
        claims: Claims,
        offload: Offload,
        tally: Tally,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ledger = ledger
        self._queue = queue
        self._spool = spool
        self._store = store
        self._claims = claims
        self._offload = offload
        self._tally = tally
        self._clock = clock

    async def publish(self, upload: Upload) -> Upload:
        """Publish a `received` upload that the caller holds; return its row, `received` still when it failed.

        A failure is logged and left to the queue: the bytes are durable, so it is never the client's problem.
        """
        try:
            stored = await self._publish(upload)
        except BytesLost:
            log.exception("upload %s was received whole and its spool file is gone: its bytes are lost", upload.id)
            self._tally.lost += 1
            return await self._ledger.move(upload, Status.GONE, reason=Reason.LOST)
        except (StoreDown, SpoolDown, NoSpace, Conflict) as error:
            return await self._postpone(upload, error)
        self._tally.stored += 1
        return stored

    async def run(self) -> None:
        """Work through the queue until cancelled: at start-up what a crash left, then whatever failed."""
        while True:
            try:
                for upload in await self._queue.due(self._clock(), BATCH):
                    await self._retry(upload.id)
            except Exception:  # one of the two loops: nothing may end it
                log.exception("publishing from the queue failed; trying again in %g s", GLANCE)
            await asyncio.sleep(GLANCE)

    async def _retry(self, upload_id: str) -> None:
        if self._claims.held(upload_id):
            return  # a request is at it right now
        try:
            async with self._claims.hold(upload_id, lambda _: None):
                upload = await self._ledger.get(upload_id)
                if upload and upload.status is Status.RECEIVED:
                    await self.publish(upload)
        except Superseded:
            log.info("upload %s was changed while it was being published", upload_id)

    async def _publish(self, upload: Upload) -> Upload:
        content = _content(upload)
        if not await self._offload.run(self._place, upload.id, content, False):
            known = await self._ledger.content(content.key)
            if known is None or known.sha256 != content.sha256:
                await self._offload.run(self._place, upload.id, content, True)
        stored = await self._ledger.move(upload, Status.STORED, content=content)
        self._offload.later(self._spool.discard, upload.id)
        return stored

    def _place(self, upload_id: str, content: Content, compare: bool) -> bool:
        """Publish and return True; without `compare` only if the key is free, so that nothing has to be read."""
        if not compare and self._store.stat(content.key) == content.length:
            return False
        with self._spool.read(upload_id) as source:
            self._store.publish(content, source)
        return True

    async def _postpone(self, upload: Upload, error: TusplyrError) -> Upload:
        self._tally.postponed += 1
        attempts = upload.attempts + 1
        delay = min(LAST_DELAY, FIRST_DELAY * 2 ** min(attempts - 1, 16)) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        level = logging.ERROR if attempts >= STUCK_AFTER or isinstance(error, Conflict) else logging.WARNING
        log.log(level, "upload %s is not published (attempt %d): %s; next in %.0f s", upload.id, attempts, error, delay)
        return await self._queue.postpone(upload, self._clock() + delay, str(error))


def _content(upload: Upload) -> Content:
    if upload.key is None or upload.sha256 is None:
        raise StoreDown(f"upload {upload.id} is not received yet")
    return Content(upload.key, upload.sha256, upload.length)

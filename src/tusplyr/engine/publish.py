"""From the last byte to `stored`.

Owns publishing: at once, in the request that brought the last byte, where the store is prompt; otherwise, and whenever
that failed, when the queue asks for it. Must not know where objects are kept. Invariants: nobody reads `stored` before
the object is durable under its key; a `received` upload stays in the queue however often publishing fails; the spool is
discarded only after the row says `stored`. (A crash between publishing and the row leaves a spool file that is the
object: `Spool.open` never lets it be written again.)
"""

import logging
import random
import time
from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from tusplyr.core.errors import BytesLost, Conflict, NoSpace, SpoolDown, StoreDown, Suspended, TusplyrError
from tusplyr.core.model import STUCK_AFTER, Content, Reason, Status, Upload
from tusplyr.engine.handover import Handover
from tusplyr.engine.offload import Offload
from tusplyr.engine.overlap import Overlap
from tusplyr.engine.tally import Tally
from tusplyr.ports import Halted, Ledger, Queue, Spool, Store, never

log = logging.getLogger(__name__)

FIRST_DELAY = 1.0  # seconds before the second attempt
LAST_DELAY = 300.0  # seconds between attempts once it has failed often
LONGEST_DELAY = 3600.0  # seconds that a store may ask for

REFUSALS = (Conflict, NoSpace, SpoolDown, StoreDown)  # after which the bytes are still here, and it is tried again


class Placement(Struct, frozen=True):
    """What came of an attempt to publish.

    Attributes:
        content: what was to be published.
        done: it is; otherwise something was under the key already, or there is an `error`.
        kept: it is the queue's to publish it; until then the bytes and their name are durable in the spool.
        error: what the store or the spool said.
    """

    content: Content
    done: bool = False
    kept: bool = False
    error: TusplyrError | None = None


class Publisher:
    """Publishes what was received.

    Args:
        offload: runs what is done on disk.
        transfers: runs what a store that is not prompt does; that takes its time, so it has threads of its own.
        overlap: has shipped some of it ahead, where uploads are.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        queue: Queue,
        spool: Spool,
        store: Store,
        offload: Offload,
        tally: Tally,
        transfers: Offload | None = None,
        handover: Handover | None = None,
        overlap: Overlap | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.handover = handover or Handover()
        self.overlap = overlap
        self._transfers = transfers or offload
        self._ledger = ledger
        self._queue = queue
        self._spool = spool
        self._store = store
        self._offload = offload
        self._tally = tally
        self._clock = clock

    def place(self, upload: Upload, sha256: str) -> Placement:
        """Put synced bytes under their key unless it is taken. Blocking; what the queue can mend is not raised.

        Where the store is not prompt they are kept instead; raises as `Spool.keep`.
        """
        content = _content(replace(upload, sha256=sha256))
        if not self._store.prompt:
            self._spool.keep(upload.id)
            return Placement(content, kept=True)
        try:
            return Placement(content, done=self._store.publish(content, self._spool.staged(upload.id), compare=False))
        except REFUSALS as error:
            return Placement(content, error=error)

    async def complete(self, upload: Upload, digest: bytes | None, placement: Placement) -> Upload:
        """Write that an upload is whole, and that it is published, as one change of its row: `stored`.

        Where publishing fails the row is `received`, and the queue goes on: it is never the client's problem. The
        caller holds the upload. Raises as `Ledger.checkpoint`.
        """
        content = placement.content
        if placement.kept:
            received = await self._ledger.checkpoint(upload, content.length, digest, content.sha256)
            self.handover.announce()
            return received
        try:
            if placement.error:
                raise placement.error
            if not placement.done:
                await self._put(upload.id, content, never)
            stored = await self._ledger.checkpoint(upload, content.length, digest, content.sha256, content)
        except REFUSALS as error:
            await self._offload.run(self._spool.keep, upload.id)
            received = await self._ledger.checkpoint(upload, content.length, digest, content.sha256)
            return await self._postpone(received, error)
        return self._finished(stored)

    async def begin(self, upload: Upload) -> Upload:
        """Publish an upload that is new and `received` where that takes no time; otherwise it is the queue's.

        The caller holds it. Returns its row.
        """
        return await self.publish(upload) if self._store.prompt else upload

    async def publish(self, upload: Upload, halted: Halted = never) -> Upload:
        """Publish a `received` upload that the caller holds; return its row, `received` still when it failed.

        Raises:
            Suspended: it was `halted`; the row is as it was, and what has been done so far is not lost.
        """
        content = _content(upload)
        try:
            await self._put(upload.id, content, halted)
            return self._finished(await self._ledger.move(upload, Status.STORED, content=content))
        except REFUSALS as error:
            return await self._postpone(upload, error)
        except BytesLost:
            log.exception("upload %s was received whole and its spool file is gone: its bytes are lost", upload.id)
            self._tally.lost += 1
            return await self._ledger.move(upload, Status.GONE, reason=Reason.LOST)

    async def _put(self, upload_id: str, content: Content, halted: Halted) -> None:
        """Bring the bytes under their key, unless the same are there. Only known content is believed unread."""
        if self.overlap:
            self.overlap.end(upload_id)
        known = await self._ledger.content(content.key)
        same = known is not None and known.sha256 == content.sha256
        if halted():
            raise Suspended
        if not same or not await self._transfers.run(self._there, content):
            await self._transfers.run(self._publish, upload_id, content, halted)

    def _there(self, content: Content) -> bool:
        return self._store.stat(content.key) == content.length

    def _publish(self, upload_id: str, content: Content, halted: Halted) -> None:
        self._store.publish(content, self._spool.staged(upload_id), halted=halted)

    def _finished(self, stored: Upload) -> Upload:
        self._tally.stored += 1
        self.handover.settle(stored)
        attempts = "1 attempt" if stored.attempts == 1 else f"{stored.attempts} attempts"
        after = f" after {attempts} that failed" if stored.attempts else ""
        log.info("upload %s: stored as %s, %d bytes%s", stored.id, stored.key, stored.offset, after)
        self._offload.later(self._spool.discard, stored.id)
        return stored

    async def _postpone(self, upload: Upload, error: TusplyrError) -> Upload:
        self._tally.postponed += 1
        attempts = upload.attempts + 1
        asked = error.retry_after if isinstance(error, StoreDown) else None
        wait = max(delay(upload.attempts), min(asked or 0.0, LONGEST_DELAY))
        level = logging.ERROR if attempts >= STUCK_AFTER or isinstance(error, Conflict) else logging.WARNING
        log.log(level, "upload %s is not published (attempt %d): %s; next in %.0f s", upload.id, attempts, error, wait)
        return await self._queue.postpone(upload, self._clock() + wait, str(error))


def delay(attempts: int) -> float:
    """Return the seconds until the next attempt after so many that failed before this one."""
    return min(LAST_DELAY, FIRST_DELAY * 2.0 ** min(attempts, 16)) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter


def _content(upload: Upload) -> Content:
    if upload.key is None or upload.sha256 is None or upload.length is None:
        raise StoreDown(f"upload {upload.id} is not received yet")
    return Content(upload.key, upload.sha256, upload.length)

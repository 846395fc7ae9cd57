"""From the last byte to `stored`.

Owns publishing: at once, in the request that brought the last byte, where the store is prompt; otherwise, and whenever
that failed, when the queue asks for it. Must not know where objects are kept. Invariants: nobody reads `stored` before
the object is durable under its key; a `received` upload stays in the queue however often publishing fails; the spool is
discarded only after the row says `stored`. (A crash between publishing and the row leaves a spool file that is the
object: `Spool.open` never lets it be written again.)
"""

import logging

from msgspec import Struct
from msgspec.structs import replace

from tusplyr.core.errors import BytesLost, Conflict, NoSpace, SpoolDown, StoreDown, Suspended, TusplyrError
from tusplyr.core.model import Content, Status, Upload
from tusplyr.engine.endings import Endings
from tusplyr.engine.handover import Handover
from tusplyr.engine.offload import Offload
from tusplyr.engine.overlap import Overlap
from tusplyr.engine.setbacks import Setbacks
from tusplyr.engine.tally import Tally
from tusplyr.ports import Halted, Ledger, Spool, Store, never

log = logging.getLogger(__name__)

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
        spool: Spool,
        store: Store,
        offload: Offload,
        tally: Tally,
        handover: Handover,
        setbacks: Setbacks,
        endings: Endings,
        transfers: Offload | None = None,
        overlap: Overlap | None = None,
    ) -> None:
        self.handover = handover
        self.overlap = overlap
        self._transfers = transfers or offload
        self._ledger = ledger
        self._spool = spool
        self._store = store
        self._offload = offload
        self._tally = tally
        self._setbacks = setbacks
        self._endings = endings

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
            return await self._setbacks.postpone(received, error)
        return self._finished(stored)

    async def begin(self, upload: Upload) -> Upload:
        """Publish an upload that is new and `received` where that takes no time; otherwise it is the queue's.

        The caller holds it. Returns its row.
        """
        if not self._store.prompt:
            return upload
        try:
            return await self.publish(upload)
        except REFUSALS as error:
            return await self._setbacks.postpone(upload, error)

    async def publish(self, upload: Upload, halted: Halted = never) -> Upload:
        """Publish a `received` upload that the caller holds; return its row: `stored`, or `gone` if it is lost.

        Raises:
            Suspended: it was `halted`; the row is as it was, and what has been done so far is not lost.
            Conflict, NoSpace, SpoolDown, StoreDown, LedgerDown: so is the row; the caller postpones it.
        """
        content = _content(upload)
        try:
            await self._put(upload.id, content, halted)
        except BytesLost as error:
            return await self._endings.lost(upload, error)
        stored = self._finished(await self._ledger.move(upload, Status.STORED, content=content))
        await self._setbacks.overcome(upload)
        return stored

    async def _put(self, upload_id: str, content: Content, halted: Halted) -> None:
        """Bring the bytes under their key, unless the same are there. Only known content is believed unread."""
        if self.overlap:
            self.overlap.end(upload_id)
        known = await self._ledger.content(content.key)
        same = known is not None and known.sha256 == content.sha256
        if halted():
            raise Suspended
        if not same or not await self._transfers.run(self._store.has, content):
            await self._transfers.run(self._publish, upload_id, content, halted)

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


def _content(upload: Upload) -> Content:
    if upload.key is None or upload.sha256 is None or upload.length is None:
        raise StoreDown(f"upload {upload.id} is not received yet")
    return Content(upload.key, upload.sha256, upload.length)

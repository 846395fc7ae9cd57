"""How an upload comes to be gone.

Owns the steps of that, whoever finds that it is to be. Must not know why. Invariants: the bytes go after the row has
said so; whoever waits for the upload is told.
"""

import logging

from tusplyr.core.errors import BytesLost
from tusplyr.core.model import Reason, Status, Upload
from tusplyr.engine.handover import Handover
from tusplyr.engine.offload import Offload
from tusplyr.engine.tally import Tally
from tusplyr.ports import Ledger, Spool

log = logging.getLogger(__name__)


class Endings:
    """Ends uploads that the caller holds. Each returns the row, and raises as `Ledger.move` and `Spool.discard`."""

    def __init__(self, ledger: Ledger, spool: Spool, offload: Offload, tally: Tally, handover: Handover) -> None:
        self._ledger = ledger
        self._spool = spool
        self._offload = offload
        self._tally = tally
        self._handover = handover

    async def lost(self, upload: Upload, error: BytesLost) -> Upload:
        """Bytes of it that were acknowledged are not there any more."""
        gone = await self._end(upload, Reason.LOST)
        log.error("upload %s: %s; it is lost", upload.id, error)
        self._tally.lost += 1
        return gone

    async def invalid(self, upload: Upload) -> Upload:
        """It does not have the digest that was declared."""
        log.warning("upload %s does not have the digest that was declared, %s", upload.id, upload.declared)
        return await self._end(upload, Reason.INVALID)

    async def terminated(self, upload: Upload) -> Upload:
        """Somebody does not want it any more."""
        gone = await self._end(upload, Reason.TERMINATED)
        self._tally.terminated += 1
        return gone

    async def _end(self, upload: Upload, reason: Reason) -> Upload:
        gone = await self._ledger.move(upload, Status.GONE, reason=reason)
        self._handover.settle(gone)
        await self._offload.run(self._spool.discard, upload.id)
        return gone

"""Shipping what has arrived of an upload while the rest is still coming.

Owns which uploads are shipped ahead of their end, and when. Must not know how a store sends. Invariants: what is
shipped is durable and in the row, so no crash takes it back; nothing more is begun for an upload once its publishing
has; no request waits for any of it, and an upload is published just the same where nothing was shipped.
"""

import asyncio
import logging
from contextlib import suppress
from functools import partial

from tusplyr.core.errors import BytesLost, LedgerDown, NoSpace, SpoolDown, StoreDown, Suspended
from tusplyr.core.model import Content, Upload
from tusplyr.engine.offload import Offload
from tusplyr.engine.setbacks import Setbacks
from tusplyr.ports import Ledger, Shipper, Spool

log = logging.getLogger(__name__)

REST = 5.0  # seconds until it is tried again where something was in the way


class Overlap:
    """Belongs to one event loop.

    Args:
        shipper: takes what is shipped.
        offload: threads for that: so many uploads are shipped at once.
        setbacks: says what is to be left alone.
    """

    def __init__(self, *, shipper: Shipper, ledger: Ledger, spool: Spool, offload: Offload, setbacks: Setbacks) -> None:
        self._shipper = shipper
        self._ledger = ledger
        self._spool = spool
        self._offload = offload
        self._setbacks = setbacks
        self._stopped = asyncio.Event()
        self._shipments: dict[str, _Shipment] = {}  # by upload id, while something of them is under way

    def note(self, before: int, upload: Upload) -> None:
        """Hear that a checkpoint has moved a row on from the offset `before`."""
        content = promised(upload)
        stride = self._shipper.stride(content.length) if content else None
        if content is None or stride is None or self._stopped.is_set() or before // stride == upload.offset // stride:
            return
        if shipment := self._shipments.get(upload.id):
            shipment.upto = upload.offset
            return
        shipment = self._shipments[upload.id] = _Shipment(upload, content)
        shipment.task = asyncio.create_task(self._run(shipment))
        shipment.task.add_done_callback(partial(self._done, shipment))

    def end(self, upload_id: str) -> None:
        """Begin nothing more of an upload: it is about to be published. What is under way comes to its end."""
        if shipment := self._shipments.get(upload_id):
            shipment.ended.set()

    def stop(self) -> None:
        """Ship nothing any more, and break off what is under way."""
        self._stopped.set()
        for shipment in self._shipments.values():
            shipment.ended.set()

    async def rest(self) -> None:
        """Wait until nothing is under way."""
        if tasks := [shipment.task for shipment in self._shipments.values() if shipment.task]:
            await asyncio.wait(tasks)

    async def _run(self, shipment: "_Shipment") -> None:
        """Ship what has arrived, and what arrives meanwhile."""
        shipped = 0
        while shipped < shipment.upto and not shipment.ended.is_set():
            if await self._ledger.content(shipment.content.key):
                return  # it is there already, or something else is: nothing will be sent
            if f"{shipment.folder}/" in self._setbacks.resting:
                await shipment.rest()
                continue
            upto = shipment.upto
            try:
                await self._offload.run(self._ship, shipment, upto)
                shipped = upto
            except BytesLost:
                return  # the upload has ended in another way
            except Suspended:
                await shipment.rest()
            except (StoreDown, SpoolDown, LedgerDown, NoSpace) as error:
                log.warning("upload %s: nothing of it is shipped ahead for now: %s", shipment.id, error)
                self._setbacks.heed(shipment.folder, error)
                await shipment.rest()

    def _ship(self, shipment: "_Shipment", upto: int) -> None:
        source, ended = self._spool.staged(shipment.id), shipment.ended.is_set
        self._shipper.ship(shipment.content, source, upto, enough=ended, halted=self._stopped.is_set)

    def _done(self, shipment: "_Shipment", task: asyncio.Task[None]) -> None:
        del self._shipments[shipment.id]
        if not task.cancelled() and (error := task.exception()):
            log.error(
                "upload %s could not be shipped ahead; it will be published all the same", shipment.id, exc_info=error
            )


class _Shipment:
    """An upload on its way out while it comes in.

    Attributes:
        upto: bytes that are durable.
        ended: begin nothing more of it.
    """

    def __init__(self, upload: Upload, content: Content) -> None:
        self.id = upload.id
        self.folder = upload.media.folder
        self.content = content
        self.upto = upload.offset
        self.ended = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    async def rest(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(REST):
                await self.ended.wait()


def promised(upload: Upload) -> Content | None:
    """Return what an upload that is being received will be if its client keeps its word; None where it gave none."""
    if upload.declared is None or upload.whole_at is None:
        return None
    return Content(upload.media.key(upload.declared[:16]), upload.declared, upload.whole_at)

"""From complete partial uploads to a final one.

Owns the assembling of final uploads: an append like any other, whose body is what the partial ones have staged. Must
not know requests. Invariants: the row follows the bytes, so a crash or a stop costs what it costs an append; one
short and one long upload are assembled at a time, in a fixed number of buffers; the uploads that they are made of stay
as they are.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from tusplyr.core.digest import Provider
from tusplyr.core.errors import Busy, BytesLost, DigestMismatch, NoSpace, Stopped, Superseded
from tusplyr.core.model import Status, Upload
from tusplyr.engine.endings import Endings
from tusplyr.engine.intake import Intake, Terms
from tusplyr.engine.offload import Offload, joined
from tusplyr.engine.partials import PartialsBody
from tusplyr.engine.setbacks import Setbacks
from tusplyr.engine.sink import Sink
from tusplyr.ports import Claims, Ledger, Spool

log = logging.getLogger(__name__)

GRAFT = 64 * 1024 * 1024  # bytes that are copied in one go, between two looks at whether to stop
SHORT = 64 * 1024 * 1024  # bytes of what need not wait behind longer ones
CROWD = 256  # uploads that are being assembled or wait for it
WORTH = 1024 * 1024  # bytes of a first upload that are worth a commit of their own


class Assembler:
    """Assembles final uploads in the background."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        spool: Spool,
        claims: Claims,
        offload: Offload,
        intake: Intake,
        provider: Provider,
        setbacks: Setbacks,
        endings: Endings,
    ) -> None:
        self._ledger = ledger
        self._spool = spool
        self._claims = claims
        self._offload = offload
        self._intake = intake
        self._provider = provider
        self._setbacks = setbacks
        self._endings = endings
        self._lanes = {short: asyncio.Semaphore(1) for short in (False, True)}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._wanting: dict[str, int] = {}  # bytes still to be written, by id

    @property
    def busy(self) -> int:
        """How many uploads are being assembled, or wait for their turn."""
        return len(self._tasks)

    @property
    def wanting(self) -> int:
        """Bytes that all of them will still take, those that wait for room included."""
        return sum(self._wanting.values())

    @property
    def crowded(self) -> bool:
        """No more of them should be asked for."""
        return len(self._wanting) >= CROWD

    def begin(self, upload: Upload) -> asyncio.Task[None]:
        """Assemble an upload, unless that is under way; return the task, which raises nothing that is expected."""
        task = self._tasks.get(upload.id)
        if task is None:
            self._wanting[upload.id] = (upload.length or 0) - upload.offset
            task = self._tasks[upload.id] = asyncio.create_task(self._attempt(upload))
            task.add_done_callback(partial(self._ended, upload.id))
        return task

    async def rest(self) -> None:
        """Wait for everything that was begun. Whoever wants that soon stops the holders of claims first."""
        if self._tasks:
            await asyncio.wait([*self._tasks.values()])

    def _ended(self, upload_id: str, task: asyncio.Task[None]) -> None:
        del self._tasks[upload_id]
        if not task.cancelled() and (error := task.exception()):
            log.error("upload %s could not be assembled; it stays in the queue", upload_id, exc_info=error)

    async def _attempt(self, upload: Upload) -> None:
        """Go on with an upload. A part of the worker's loop: whatever goes wrong is counted, as in `Worker`."""
        async with self._lanes[(upload.length or 0) < SHORT]:
            try:
                await self._go_on(upload.id)
            except (Stopped, Superseded, Busy) as error:  # somebody else wants it, or the server ends
                log.info("upload %s: assembling ended early and will be gone on with: %s", upload.id, error)
            except Exception as error:  # noqa: BLE001 - part of the loop
                with suppress(Superseded):  # it was changed meanwhile
                    await self._setbacks.postpone(upload, error)
            else:
                row = await self._ledger.get(upload.id)
                if row is None or row.status is not Status.ASSEMBLING:
                    self._wanting.pop(upload.id, None)

    async def _go_on(self, upload_id: str) -> None:
        body = PartialsBody(self._spool, self._offload)
        try:
            async with self._claims.hold(upload_id, body.stop):
                upload = await self._ledger.get(upload_id)
                if upload is not None and upload.status is Status.ASSEMBLING:
                    rows = {each: await self._ledger.get(each) for each in dict.fromkeys(upload.partials)}
                    await self._assemble(upload, [row for each in upload.partials if (row := rows[each])], body)
        finally:
            await body.close()

    async def _assemble(self, upload: Upload, partials: Sequence[Upload], body: PartialsBody) -> None:
        log.info("upload %s: assembling %s bytes from %d", upload.id, upload.length, upload.offset)
        try:
            if len(partials) < len(upload.partials):
                raise BytesLost("an upload that it is made of is not there any more")
            body.take(partials)
            await self._take_all(await self._graft(upload, partials[0], body), body)
        except DigestMismatch:
            await self._endings.invalid(upload)
        except BytesLost as error:
            await self._endings.lost(upload, error)
        except NoSpace as error:
            await self._setbacks.postpone(upload, error, restart=True)
            # What was written would only keep the room from everybody, for as long as the rest does not fit.
            await self._offload.run(self._spool.discard, upload.id)

    async def _graft(self, upload: Upload, first: Upload, body: PartialsBody) -> Upload:
        """Let the kernel copy the first upload: its digest is known, so nobody has to read it."""
        if upload.offset or first.offset < WORTH or first.digest is None:
            return upload
        for at in range(0, first.offset, GRAFT):
            if body.why is not None:
                raise body.why
            await self._offload.run(self._spool.graft, upload.id, first.id, at, min(GRAFT, first.offset - at))
        return await self._ledger.checkpoint(upload, first.offset, first.digest)

    async def _take_all(self, upload: Upload, body: PartialsBody) -> None:
        sink = Sink(self._spool, self._provider, upload)
        try:
            await self._intake.receive(upload, body, sink, Terms(upload.length))
        finally:
            if sink.opened:
                await joined(self._offload.run(sink.close))  # before the claim is released

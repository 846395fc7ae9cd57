"""Clearing up after crashes and after time.

Owns what is removed and when. Must not know directories or SQL. Invariants: nothing that an upload still
needs is removed; nothing in the store is ever removed but copies that were never published.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from msgspec import Struct, structs

from tusplyr.core.errors import StoreDown, Superseded, Unavailable
from tusplyr.core.lifecycle import NEEDED
from tusplyr.core.model import Reason, Status
from tusplyr.engine.offload import Offload
from tusplyr.engine.tally import Tally
from tusplyr.ports import Claims, Ledger, Spool, Store

log = logging.getLogger(__name__)

GRACE = 3600.0  # seconds that a spool file or copy without a row is left alone: its request may be under way


class SweepReport(Struct, frozen=True):
    """What one sweep did.

    Attributes:
        expired: uploads that nobody has gone on with for too long.
        discarded: spool files that no upload needed any more.
        unfinished: copies into the store that never became an object.
        purged: rows of uploads that ended longer ago than they are retained.
    """

    expired: int
    discarded: int
    unfinished: int
    purged: int

    def __str__(self) -> str:
        """What was done, without what was not; empty where nothing was."""
        words = ("uploads expired", "spool files removed", "unfinished copies removed", "rows purged")
        return ", ".join(f"{word}: {count}" for word, count in zip(words, structs.astuple(self), strict=True) if count)


class Sweeper:
    """Ends what has expired, and removes leftovers.

    Args:
        reading: threads that speak to the store.
        retain: seconds that rows of finished uploads answer.
        expire_after: seconds without progress after which an unfinished upload expires; None for never.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        spool: Spool,
        store: Store,
        claims: Claims,
        offload: Offload,
        reading: Offload,
        tally: Tally,
        retain: float,
        expire_after: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ledger = ledger
        self._spool = spool
        self._store = store
        self._claims = claims
        self._tally = tally
        self._expire_after = expire_after
        self._offload = offload
        self._reading = reading
        self._retain = retain
        self._clock = clock

    async def sweep(self, grace: float = GRACE, *, everywhere: bool = True) -> SweepReport:
        """Sweep once. Safe beside a running server with the grace that is the default; raises as the ports do.

        Args:
            grace: seconds that a file without a row is left alone; zero where no server can be running.
            everywhere: in a store that is not prompt, too, which may be away and keep us waiting.
        """
        now = self._clock()
        expired = 0 if self._expire_after is None else await self._expire(now - self._expire_after)
        discarded = 0
        for upload_id, written_at in await self._offload.run(lambda: list(self._spool.files())):
            upload = await self._ledger.get(upload_id)
            if upload.status not in NEEDED if upload else written_at <= now - grace:
                await self._offload.run(self._spool.discard, upload_id)
                discarded += 1
        unfinished = await self._unfinished(now - grace) if everywhere or self._store.prompt else 0
        report = SweepReport(expired, discarded, unfinished, await self._ledger.purge(now - self._retain))
        if any(structs.astuple(report)):
            log.info("swept; %s", report)
        return report

    async def _unfinished(self, before: float) -> int:
        """Have the store remove what it left unfinished."""
        try:
            return await self._reading.run(self._store.sweep, before)
        except StoreDown as error:
            if self._store.prompt:
                raise
            log.warning("what was left unfinished in the store stays there until the next sweep: %s", error)
            return 0

    async def _expire(self, before: float) -> int:
        """End uploads that were last changed before that time; their bytes go with the files that are discarded."""
        expired = 0
        async for upload in self._ledger.idle(before):
            if self._claims.held(upload.id):
                continue  # somebody is sending more of it
            try:
                async with self._claims.hold(upload.id, lambda _: None):
                    await self._ledger.move(upload, Status.GONE, reason=Reason.EXPIRED)
            except (Superseded, Unavailable):
                continue  # or has begun to
            log.info("upload %s has expired at byte %d", upload.id, upload.offset)
            expired += 1
        self._tally.expired += expired
        return expired

    async def run(self, interval: float) -> None:
        """Sweep every `interval` seconds until cancelled."""
        while True:
            await asyncio.sleep(interval)
            try:
                await self.sweep()
            except Exception:  # one of the two loops: nothing may end it
                log.exception("sweeping failed; trying again in %g s", interval)

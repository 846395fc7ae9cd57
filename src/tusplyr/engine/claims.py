"""Who may append to an upload, inside one process.

Owns the table of holders. Must not know what they do. Invariant: one holder per upload, always the
newest request that asked: whoever comes after asks the holder to stop and waits for its last checkpoint.
Claims give speed; safety is the ledger's, whose updates are conditional.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tusplyr.core.errors import Busy, Interrupted, Stopped
from tusplyr.ports import Stop


class _Claim:
    """One upload's lock, and how to ask its present holder to stop."""

    __slots__ = ("lock", "stop", "waiting")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.stop: Stop | None = None
        self.waiting = 0


class LocalClaims:
    """`ports.Claims` for one process.

    Args:
        patience: seconds that a newcomer waits for the holder before it is answered `Busy`.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._claims: dict[str, _Claim] = {}
        self._ending: Stopped | None = None

    def held(self, upload_id: str) -> bool:
        """See `ports.Claims.held`."""
        return upload_id in self._claims

    @asynccontextmanager
    async def hold(self, upload_id: str, stop: Stop) -> AsyncIterator[None]:
        """See `ports.Claims.hold`."""
        claim = self._claims.setdefault(upload_id, _Claim())
        claim.waiting += 1
        try:
            await self._acquire(claim)
        finally:
            claim.waiting -= 1
            self._forget(upload_id, claim)
        claim.stop = stop
        try:
            if self._ending:
                stop(self._ending)
            elif claim.waiting:
                stop(Interrupted())
            yield
        finally:
            claim.stop = None
            claim.lock.release()
            self._forget(upload_id, claim)

    def stop_all(self, why: Stopped) -> None:
        """See `ports.Claims.stop_all`."""
        self._ending = why
        for claim in self._claims.values():
            if claim.stop:
                claim.stop(why)

    async def _acquire(self, claim: _Claim) -> None:
        if claim.stop:
            claim.stop(Interrupted())
        try:
            async with asyncio.timeout(self._patience):
                await claim.lock.acquire()
        except TimeoutError:
            raise Busy from None

    def _forget(self, upload_id: str, claim: _Claim) -> None:
        if not claim.waiting and not claim.lock.locked():
            self._claims.pop(upload_id, None)

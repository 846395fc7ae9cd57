"""The word between a request that received the last byte and the worker that publishes.

Owns who waits for whom. Must not know what publishing is. Invariant: nothing depends on a word that is passed here, but
how soon it happens: the queue is in the ledger.
"""

import asyncio
from contextlib import suppress

from tusplyr.core.model import Status, Upload


class Handover:
    """Belongs to one event loop.

    Args:
        patience: seconds that a request whose upload is received waits for it to be stored.
    """

    def __init__(self, patience: float = 0.0) -> None:
        self._patience = patience
        self._bell = asyncio.Event()
        self._followed: dict[str, set[asyncio.Future[Upload]]] = {}

    def announce(self) -> None:
        """Say that there may be something to do."""
        self._bell.set()

    async def rest(self, seconds: float) -> None:
        """Return once something was announced since the last time, or so much time has passed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._bell.wait()
        self._bell.clear()

    async def follow(self, upload: Upload) -> Upload:
        """Return the row of an upload that nobody holds any more: as given, or `stored` or `gone` by now."""
        if upload.status is not Status.RECEIVED:
            return upload
        self.announce()
        if not self._patience:
            return upload
        future: asyncio.Future[Upload] = asyncio.get_running_loop().create_future()
        followed = self._followed.setdefault(upload.id, set())
        followed.add(future)
        try:
            await asyncio.wait({future}, timeout=self._patience)
        finally:
            followed.discard(future)
            if not followed:
                self._followed.pop(upload.id, None)
        return future.result() if future.done() and not future.cancelled() else upload

    def settle(self, upload: Upload) -> None:
        """Say that an upload is `stored`, or `gone`: there is nothing to wait for any more."""
        for future in self._followed.pop(upload.id, ()):
            future.set_result(upload)

    def end(self) -> None:
        """Let nobody wait, now and from now on."""
        self._patience = 0.0
        for futures in self._followed.values():
            for future in futures:
                future.cancel()
        self._followed.clear()

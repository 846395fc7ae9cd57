"""What has failed, and when it is tried again.

Owns how much later an attempt is repeated, how loud that is told, and of what nothing is begun until then. Must not
know what was attempted. Invariants: whatever it was that failed is counted, so that a person is told in the end; what a
store asks for holds for everything that goes to the same folder of it.
"""

import logging
import random
import time
from collections.abc import Callable

from tusplyr.core.errors import Conflict, StoreDown, TusplyrError
from tusplyr.core.model import STUCK_AFTER, Status, Upload
from tusplyr.engine.tally import Tally
from tusplyr.ports import Queue

log = logging.getLogger(__name__)

FIRST_DELAY = 1.0  # seconds before the second attempt
LAST_DELAY = 300.0  # seconds between attempts once it has failed often
LONGEST_DELAY = 3600.0  # seconds that a store may ask for
MANY = 1000  # uploads that are made due at once

WANTED = {Status.RECEIVED: "published", Status.ASSEMBLING: "assembled"}


class Setbacks:
    """Belongs to one event loop."""

    def __init__(self, queue: Queue, tally: Tally, clock: Callable[[], float] = time.time) -> None:
        self._queue = queue
        self._tally = tally
        self._clock = clock
        self._until: dict[str, float] = {}  # Unix seconds, by content key or folder

    async def postpone(self, upload: Upload, error: Exception, *, restart: bool = False) -> Upload:
        """Count an attempt that failed, and say when the next is due; return the row. What nobody expected is an error.

        Raises as `Queue.postpone`, and then nothing was counted.
        """
        attempts = upload.attempts + 1
        wait = max(delay(upload.attempts), self.heed(upload.media.folder, error))
        expected = isinstance(error, TusplyrError)
        said = f"{error.code if isinstance(error, TusplyrError) else type(error).__name__}: {error}"
        row = await self._queue.postpone(upload, self._clock() + wait, said, restart=restart)
        loud = attempts >= STUCK_AFTER or isinstance(error, Conflict) or not expected
        text = "upload %s is not %s (attempt %d): %s; next in %.0f s"
        facts = upload.id, WANTED[upload.status], attempts, error if expected else said, wait
        log.log(logging.ERROR if loud else logging.WARNING, text, *facts, exc_info=None if expected else error)
        self._tally.postponed += 1
        return row

    async def overcome(self, upload: Upload) -> None:
        """Hear that what has failed before has succeeded now: what waits for the same store is due, too.

        Raises as `Queue.hasten_all`.
        """
        if (upload.error or "").startswith(f"{StoreDown.code}: "):
            folder = upload.media.folder
            if count := await self._queue.hasten_all(folder, StoreDown.code, self._clock(), MANY):
                log.info("the store takes %s/ again; uploads that are due now: %d", folder, count)

    def heed(self, folder: str, error: Exception) -> float:
        """Let a folder of the store rest for as long as it asks for; return the seconds."""
        wait = min((error.retry_after if isinstance(error, StoreDown) else None) or 0.0, LONGEST_DELAY)
        if wait:
            self.rest(f"{folder}/", wait)
        return wait

    def rest(self, place: str, seconds: float) -> None:
        """Let nothing be begun for so long under a content key, or in a folder (``audio/``)."""
        self._until[place] = max(self._until.get(place, 0.0), self._clock() + seconds)

    @property
    def resting(self) -> set[str]:
        """The content keys and folders of which nothing is to be begun now."""
        now = self._clock()
        self._until = {place: until for place, until in self._until.items() if until > now}
        return set(self._until)


def delay(attempts: int) -> float:
    """Return the seconds until the next attempt after so many that failed before this one."""
    return min(LAST_DELAY, FIRST_DELAY * 2.0 ** min(attempts, 16)) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter

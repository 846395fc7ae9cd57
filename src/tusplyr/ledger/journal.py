"""The journal of transfers in the same database, for the threads that make them.

Owns the way from a blocking call in a worker thread to the one committer, which belongs to the event loop. Must not
know what a store does with it. Invariant: a call that returns is durable; one that raises may be durable too (the loop
was too slow to say so), which costs a store no more than a crash at that moment would.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import CancelledError
from itertools import groupby
from operator import itemgetter
from typing import Any, TypeVar

from tusplyr.core.errors import LedgerDown, Superseded
from tusplyr.ledger.committer import Step
from tusplyr.ledger.sql import SqlLedger
from tusplyr.ports import Multipart

LIMIT = 30.0  # seconds that a thread waits for the loop; longer than the database may be busy

Result = TypeVar("Result")


class LedgerJournal:
    """`Journal` over an open ledger. Made on the event loop of the ledger, used from any other thread."""

    def __init__(self, ledger: SqlLedger, clock: Callable[[], float] = time.time) -> None:
        self._ledger = ledger
        self._sql = ledger.sql
        self._clock = clock
        self._loop = asyncio.get_running_loop()

    def intend(self, key: str, sha256: str, source: str, part_size: int) -> None:
        """See `Journal.intend`."""
        transfer = {"key": key, "sha256": sha256, "source": source, "part_size": part_size, "id": None}
        transfer["begun_at"] = self._clock()
        self._commit(Step(self._sql.unland, {"key": key}), Step(self._sql.intend, transfer))

    def begin(self, key: str, multipart_id: str) -> None:
        """See `Journal.begin`."""
        self._commit(Step(self._sql.begin, {"was_key": key, "new_id": multipart_id}, Superseded))

    def land(self, key: str, number: int, etag: str) -> None:
        """See `Journal.land`."""
        self._commit(Step(self._sql.land, {"key": key, "number": number, "etag": etag}, Superseded))

    def find(self, key: str) -> Multipart | None:
        """See `Journal.find`."""
        return next(_transfers(self._wait(self._ledger.read(self._sql.transfer, {"key": key}))), None)

    def forget(self, key: str) -> None:
        """See `Journal.forget`."""
        self._commit(Step(self._sql.unland, {"key": key}), Step(self._sql.forget, {"key": key}))

    def abandoned(self) -> list[Multipart]:
        """See `Journal.abandoned`."""
        return list(_transfers(self._wait(self._ledger.read(self._sql.abandoned, {}))))

    def _commit(self, *steps: Step) -> None:
        self._wait(self._ledger.committer.commit(*steps))

    def _wait(self, work: Coroutine[Any, Any, Result]) -> Result:
        try:
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError as error:  # the loop is closed
            work.close()
            raise LedgerDown("the ledger is closed") from error
        try:
            return future.result(LIMIT)
        except TimeoutError as error:
            future.cancel()
            raise LedgerDown(f"the ledger did not answer within {LIMIT:.0f} s") from error
        except CancelledError as error:  # the loop is about to end
            raise LedgerDown("the ledger is closed") from error


def _transfers(rows: Iterable[Any]) -> Iterator[Multipart]:
    """Yield what is written down, made of rows that are the same but for one part each."""
    for (key, sha256, source, part_size, multipart_id, begun_at), group in groupby(rows, itemgetter(*range(6))):
        parts = {number: etag for *_, number, etag in group if number is not None}
        yield Multipart(
            key=key,
            sha256=sha256,
            source=source,
            part_size=part_size,
            id=multipart_id,
            parts=parts,
            begun_at=begun_at,
        )

"""The ledger and the journal in memory, for tests and commands: the same contracts over dictionaries.

Must not know SQL. Invariant: a change looks at the stored row and replaces it without an await in
between, so changes happen one after the other.
"""

import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence

from msgspec.structs import replace

from tusplyr.core.errors import Busy, Conflict, Superseded
from tusplyr.core.lifecycle import WAITING
from tusplyr.core.model import FAILING_AFTER, STUCK_AFTER, Backlog, Content, Reason, Status, Upload
from tusplyr.ledger.changes import Changes, checkpointed, hastened, moved, postponed, touched
from tusplyr.ports import Multipart


class MemoryLedger:
    """`Ledger` and `Queue` over dictionaries. Forgets everything with the process.

    Args:
        clock: returns Unix seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._rows: dict[str, Upload] = {}
        self._contents: dict[str, Content] = {}

    async def create(self, upload: Upload, partials: Sequence[Upload] = ()) -> None:
        """See `Ledger.create`."""
        rows = [self._unchanged(partial) for partial in partials]
        if upload.id in self._rows or [row.offset for row in rows] != [partial.offset for partial in partials]:
            raise Superseded
        for row in rows:
            self._rows[row.id] = replace(row, **touched(row, upload.created_at))
        self._rows[upload.id] = upload

    async def get(self, upload_id: str) -> Upload | None:
        """See `Ledger.get`."""
        return self._rows.get(upload_id)

    async def checkpoint(
        self,
        upload: Upload,
        offset: int,
        digest: bytes | None,
        sha256: str | None = None,
        content: Content | None = None,
    ) -> Upload:
        """See `Ledger.checkpoint`."""
        changes = checkpointed(upload, offset, digest, sha256, content, now=self._clock())
        row = self._unchanged(upload)
        if row.offset != upload.offset or row.length not in {None, upload.length}:
            raise Superseded
        self._remember(content)
        return self._apply(upload, row, changes)

    async def move(
        self, upload: Upload, status: Status, *, reason: Reason | None = None, content: Content | None = None
    ) -> Upload:
        """See `Ledger.move`."""
        changes = moved(upload, status, reason, self._clock())
        if status is Status.GONE and self._needed(upload.id):
            raise Busy
        row = self._unchanged(upload)
        if reason is Reason.EXPIRED and row.updated_at != upload.updated_at:
            raise Superseded
        self._remember(content)
        return self._apply(upload, row, changes)

    async def content(self, key: str) -> Content | None:
        """See `Ledger.content`."""
        return self._contents.get(key)

    async def idle(self, before: float) -> AsyncIterator[Upload]:
        """See `Ledger.idle`."""
        for row in list(self._rows.values()):
            if row.status is Status.RECEIVING and row.updated_at <= before:
                yield row

    async def purge(self, before: float) -> int:
        """See `Ledger.purge`."""
        ended = (Status.STORED, Status.GONE)
        old = [row.id for row in self._rows.values() if row.status in ended and row.updated_at < before]
        for upload_id in old:
            del self._rows[upload_id]
        return len(old)

    async def postpone(self, upload: Upload, due_at: float, error: str, *, restart: bool = False) -> Upload:
        """See `Queue.postpone`."""
        changes = postponed(upload, due_at, error, self._clock(), restart=restart)
        row = self._unchanged(upload)
        if row.attempts != upload.attempts:
            raise Superseded
        return self._apply(upload, row, changes)

    async def hasten(self, upload: Upload, due_at: float) -> Upload:
        """See `Queue.hasten`."""
        changes = hastened(upload, due_at)
        return self._apply(upload, self._unchanged(upload), changes)

    async def backlog(self) -> Backlog:
        """See `Queue.backlog`."""
        rows = [row for row in self._rows.values() if row.status in WAITING]
        stuck, failing = (sum(row.attempts >= times for row in rows) for times in (STUCK_AFTER, FAILING_AFTER))
        return Backlog(len(rows), stuck, min((row.created_at for row in rows), default=None), failing)

    async def hasten_all(self, folder: str, code: str, due_at: float, limit: int) -> int:
        """See `Queue.hasten_all`."""
        rows = [
            row
            for row in self._rows.values()
            if row.status is Status.RECEIVED
            and (row.media.folder, row.due_at > due_at) == (folder, True)
            and (row.error or "").startswith(f"{code}: ")
        ]
        some = sorted(rows, key=lambda row: row.due_at)[:limit]
        self._rows |= {row.id: replace(row, due_at=due_at) for row in some}
        return len(some)

    async def due(
        self, status: Status, now: float, limit: int, apart_from: Collection[str] = frozenset()
    ) -> list[Upload]:
        """See `Queue.due`."""
        waiting = [
            row
            for row in self._rows.values()
            if row.status is status and row.due_at <= now and {row.key, f"{row.media.folder}/"}.isdisjoint(apart_from)
        ]
        return sorted(waiting, key=lambda row: row.due_at)[:limit]

    def _remember(self, content: Content | None) -> None:
        if content is None:
            return
        known = self._contents.setdefault(content.key, content)
        if known.sha256 != content.sha256:
            raise Conflict("Other content is stored under the same key.")

    def _needed(self, upload_id: str) -> bool:
        return any(row.status is Status.ASSEMBLING and upload_id in row.partials for row in self._rows.values())

    def _unchanged(self, upload: Upload) -> Upload:
        row = self._rows.get(upload.id)
        if row is None or (row.epoch, row.status) != (upload.epoch, upload.status):
            raise Superseded
        return row

    def _apply(self, upload: Upload, row: Upload, changes: Changes) -> Upload:
        self._rows[upload.id] = replace(row, **changes)
        return replace(upload, **changes)


class MemoryJournal:
    """`Journal` over a dictionary. Forgets everything with the process.

    Args:
        clock: returns Unix seconds.
        needed: says of an upload that it may still be published.
    """

    def __init__(self, clock: Callable[[], float] = time.time, needed: Callable[[str], bool] = lambda _: False) -> None:
        self._clock = clock
        self._needed = needed
        self._transfers: dict[str, Multipart] = {}
        self._lock = threading.Lock()

    def intend(self, key: str, sha256: str, source: str, part_size: int) -> None:
        """See `Journal.intend`."""
        transfer = Multipart(key=key, sha256=sha256, source=source, part_size=part_size, begun_at=self._clock())
        with self._lock:
            self._transfers[key] = transfer

    def begin(self, key: str, multipart_id: str) -> None:
        """See `Journal.begin`."""
        with self._lock:
            self._transfers[key] = replace(self._known(key), id=multipart_id)

    def land(self, key: str, number: int, etag: str) -> None:
        """See `Journal.land`."""
        with self._lock:
            known = self._known(key)
            if known.id is None:
                raise Superseded
            self._transfers[key] = replace(known, parts=known.parts | {number: etag})

    def find(self, key: str) -> Multipart | None:
        """See `Journal.find`."""
        return self._transfers.get(key)

    def forget(self, key: str) -> None:
        """See `Journal.forget`."""
        with self._lock:
            self._transfers.pop(key, None)

    def abandoned(self) -> list[Multipart]:
        """See `Journal.abandoned`."""
        with self._lock:
            transfers = [self._transfers[key] for key in sorted(self._transfers)]
        return [transfer for transfer in transfers if not self._needed(transfer.source)]

    def _known(self, key: str) -> Multipart:
        if key not in self._transfers:
            raise Superseded
        return self._transfers[key]

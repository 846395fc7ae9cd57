"""The spool in memory, for tests of the engine: the same contract, with an explicit mark for what is synced.

Owns byte arrays. Must not know a disk. Invariant: `crash` leaves exactly what a loss of power may leave:
what was synced, and whatever part of the rest the test asks for.
"""

import io
import time
from collections.abc import Iterator

from tusplyr.core.errors import BytesLost
from tusplyr.ports import Staged


class MemorySpool:
    """`ports.Spool` over a dict."""

    def __init__(self) -> None:
        self._files: dict[str, bytearray] = {}
        self._synced: dict[str, int] = {}
        self._named: set[str] = set()
        self._written_at: dict[str, float] = {}

    def admit(self, count: int = 0) -> None:
        """See `ports.Spool.admit`."""

    def open(self, upload_id: str, offset: int) -> "MemoryWriter":
        """See `ports.Spool.open`."""
        if not offset:
            self._make(upload_id)
        file = self._file(upload_id)
        if len(file) < offset:
            raise BytesLost(f"{upload_id} has {len(file)} bytes; {offset} were acknowledged")
        del file[offset:]
        self._synced[upload_id] = min(self._synced[upload_id], offset)
        return MemoryWriter(self, upload_id, file)

    def keep(self, upload_id: str) -> None:
        """See `ports.Spool.keep`."""
        self._make(upload_id)
        self._named.add(upload_id)

    def staged(self, upload_id: str) -> Staged:
        """See `ports.Spool.staged`."""
        return Staged(upload_id, lambda: io.BytesIO(bytes(self._file(upload_id))))

    def graft(self, upload_id: str, source_id: str, at: int, count: int) -> None:
        """See `ports.Spool.graft`."""
        source = self._file(source_id)
        if len(source) < at + count:
            raise BytesLost(f"{source_id} has {len(source)} bytes; {at + count} were acknowledged")
        self._make(upload_id)
        self._files[upload_id][at:] = source[at : at + count]
        self.mark_synced(upload_id, name=True)

    def discard(self, upload_id: str) -> None:
        """See `ports.Spool.discard`."""
        self._files.pop(upload_id, None)
        self._named.discard(upload_id)

    def files(self) -> Iterator[tuple[str, float]]:
        """See `ports.Spool.files`."""
        for upload_id in list(self._files):  # a copy: another thread may discard
            yield upload_id, self._written_at[upload_id]

    def crash(self, *, keep: int = 0) -> None:
        """Lose what was not synced, names too; with `keep` only the bytes behind the first so many of them."""
        if not keep:
            self._files = {upload_id: file for upload_id, file in self._files.items() if upload_id in self._named}
        for upload_id, file in self._files.items():
            del file[self._synced[upload_id] + keep :]

    def mark_synced(self, upload_id: str, *, name: bool) -> None:
        """Count everything written so far as durable; with `name`, the name too."""
        if name:
            self._named.add(upload_id)
        self._synced[upload_id] = len(self._files.get(upload_id, b""))
        self._written_at[upload_id] = time.time()

    def _make(self, upload_id: str) -> None:
        if upload_id not in self._files:
            self._files[upload_id] = bytearray()
            self._synced[upload_id] = 0
            self._written_at[upload_id] = time.time()

    def _file(self, upload_id: str) -> bytearray:
        if upload_id not in self._files:
            raise BytesLost(f"{upload_id} is missing")
        return self._files[upload_id]


class MemoryWriter:
    """`ports.Writer` over a byte array."""

    def __init__(self, spool: MemorySpool, upload_id: str, file: bytearray) -> None:
        self._spool = spool
        self._upload_id = upload_id
        self._file = file

    def write(self, view: memoryview, at: int) -> None:
        """See `ports.Writer.write`."""
        if len(self._file) < at:  # another thread has not written what belongs there yet
            self._file += bytes(at - len(self._file))
        self._file[at : at + view.nbytes] = view

    def sync(self, *, name: bool = True) -> None:
        """See `ports.Writer.sync`."""
        self._spool.mark_synced(self._upload_id, name=name)

    def close(self) -> None:
        """See `ports.Writer.close`."""

"""The bytes of uploads that others are made of, as a body.

Owns the buffers and the open file of one concatenation. Must not know what becomes of the bytes. Invariant: memory is
`BUFFERS` of a MiB each, whatever the number and the lengths of the uploads; a read that was begun is never lost.
"""

import asyncio
import mmap
from collections import deque
from collections.abc import Sequence
from typing import BinaryIO

from tusplyr.core.errors import BytesLost, SpoolDown, Stopped
from tusplyr.core.model import Upload
from tusplyr.engine.offload import Offload, joined
from tusplyr.engine.writing import HANDS
from tusplyr.ports import ALIGN, Spool

MIB = 1024 * 1024
BUFFERS = HANDS + 1  # as many as are being written, and the one that is being read


class PartialsBody:
    """`ports.Body` over complete uploads, from an offset in their concatenation on. Its owner closes it.

    Attributes:
        why: why it was stopped, if it was.
    """

    def __init__(self, spool: Spool, offload: Offload) -> None:
        self.why: Stopped | None = None
        self._spool = spool
        self._offload = offload
        self._files: deque[Upload] = deque()
        self._at = 0  # in the concatenation
        self._skip = 0  # bytes that are not wanted
        self._left = 0
        self._file: BinaryIO | None = None
        self._file_left = 0
        self._free: asyncio.Queue[mmap.mmap] = asyncio.Queue()
        self._lent: dict[int, mmap.mmap] = {}
        self._reading: asyncio.Task[memoryview] | None = None
        for _ in range(BUFFERS):
            self._free.put_nowait(mmap.mmap(-1, MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))

    def take(self, partials: Sequence[Upload]) -> None:
        """Say what it is made of, once and first."""
        self._files.extend(upload for upload in partials if upload.offset)
        self._left = sum(upload.offset for upload in partials)

    @property
    def ended(self) -> bool:
        """See `ports.Body.ended`."""
        return not self._left

    def place(self, at: int) -> None:
        """See `ports.Body.place`. Whatever is before it is not handed out."""
        self._at = self._skip = at
        self._left -= at

    async def next(self) -> memoryview | None:
        """See `ports.Body.next`."""
        if self._reading is None:
            if self.why is not None:
                raise self.why
            if not self._left:
                return None
            self._reading = asyncio.create_task(self._read())
        view = await asyncio.shield(self._reading)  # cancelled or not, it is there for the next call
        self._reading = None
        self._at += view.nbytes
        self._left -= view.nbytes
        return view

    def release(self, view: memoryview) -> None:
        """See `ports.Body.release`."""
        buffer = self._lent.pop(id(view))
        view.release()
        self._free.put_nowait(buffer)

    def stop(self, why: Stopped) -> None:
        """See `ports.Body.stop`."""
        self.why = self.why or why

    async def close(self) -> None:
        """Let go of the files. Idempotent."""
        if self._reading is not None:
            reading, self._reading = self._reading, None
            await joined(asyncio.wait({reading}))
            reading.exception()  # retrieved: nobody wants the bytes any more
        if self._file is not None:
            await joined(self._offload.run(self._file.close))
            self._file = None

    async def _read(self) -> memoryview:
        buffer = await self._free.get()
        try:
            view = await self._offload.run(self._fill, buffer)
        except OSError as error:
            raise SpoolDown(f"a partial upload cannot be read: {error}") from error
        self._lent[id(view)] = buffer
        return view

    def _fill(self, buffer: mmap.mmap) -> memoryview:
        """Read on into a buffer, congruent with the file that is written: up to its end, or to that of an upload."""
        if not self._file_left:
            self._open_next()
        assert self._file is not None  # noqa: S101 - _open_next() has just set it
        start = self._at % ALIGN
        view = memoryview(buffer)[start : start + self._file_left]
        count: int = self._file.readinto(view)  # type: ignore[attr-defined]  # raw files and BytesIO have it
        if not count:
            raise BytesLost("the spool file of a partial upload became shorter")
        self._file_left -= count
        return view[:count]

    def _open_next(self) -> None:
        while self._skip >= self._files[0].offset:
            self._skip -= self._files.popleft().offset
        upload = self._files.popleft()
        if self._file is not None:
            self._file.close()
        self._file = self._spool.staged(upload.id).open()
        self._file.seek(self._skip)
        self._file_left, self._skip = upload.offset - self._skip, 0

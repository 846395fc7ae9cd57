"""Bytes on their way from the reader of one body to its consumer.

Owns what has arrived and was not handed out, what was handed out and not given back, and the end of the
body. Must not know where bytes come from. Invariant: bytes leave in the order in which they came, all of
them before the end or the error; nothing is lost when the consumer's wait is cancelled, since bytes leave
in the very step that returns them. Small reads are gathered in a batch, so that they cost few thread hops.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from tusplyr.ports import ALIGN
from tusplyr.web.pool import Buffer, Pool

LARGE = 128 * 1024  # a read from here on is worth a thread hop of its own
GATHER = 0.05  # seconds that the first byte of a batch waits for company

_Entry = tuple[memoryview, Buffer | None]  # a view, and the pool's buffer under it if there is one


class Tray:
    """One reader puts bytes in, one consumer takes them out. Both on the event loop.

    Args:
        pool: lends buffers to the batch.
        enough: bytes of a batch outside the pool that are worth a thread hop, and all that it may hold.
        at: where the first byte belongs in the upload; bytes in buffers lie as `ports.ALIGN` says.
        on_room: called when there may be room again.
    """

    def __init__(self, pool: Pool, enough: int, at: int, on_room: Callable[[], None]) -> None:
        self.held = 0  # buffers of the pool in here or with the consumer
        self.fill = 0  # bytes in the batch
        self.over = False
        self.hurry = False  # the reader waits: gathering more would only lose time
        self._pool = pool
        self._enough = enough
        self._start = at % ALIGN  # of the batch, in its buffer
        self._on_room = on_room
        self._error: BaseException | None = None
        self._ready: deque[_Entry] = deque()
        self._lent: dict[int, _Entry] = {}
        self._small = bytearray()  # the batch, unless it lies in a buffer
        self._buffer: Buffer | None = None
        self._since = 0.0
        self._bell = asyncio.Event()

    @property
    def room(self) -> int:
        """Bytes that the batch can still take without a buffer more."""
        return (self._enough if self._buffer is None else self._pool.size - self._start) - self.fill

    @property
    def fits(self) -> bool:
        """The batch can be moved to a buffer of the pool, and more put behind it."""
        return self._start + self.fill < self._pool.size

    @property
    def pooled(self) -> bool:
        """The batch lies in a buffer of the pool."""
        return self._buffer is not None

    @property
    def full(self) -> bool:
        """A buffer was filled to its end, and the consumer has not come for it."""
        return bool(self._ready)

    @property
    def ended(self) -> bool:
        """The end was seen and everything was handed out."""
        return self.over and self._error is None and not self._ready and not self.fill

    def place(self, buffer: Buffer | None = None) -> memoryview:
        """Return where in its buffer the batch goes on: in the one that it has, or in one that it may `adopt`."""
        lies = self._buffer or buffer
        assert lies is not None  # noqa: S101 - a batch outside the pool has no place of its own
        return memoryview(lies)[self._start + self.fill :]

    def add(self, data: memoryview | bytearray) -> None:
        """Copy a few bytes to the batch, or to the next one if there is no `room` for all of them."""
        if self._buffer is not None and len(data) > self.room:
            self._ready.append(self._seal())
        if self._buffer is None:
            self._small += data
        else:
            self.place()[: len(data)] = data
        self.grow(len(data))

    def adopt(self, buffer: Buffer, count: int = 0) -> None:
        """Move the batch into a buffer of the pool, whose `place` holds the next `count` bytes already."""
        memoryview(buffer)[self._start : self._start + self.fill] = self._small
        self._small = bytearray()
        self._buffer = buffer
        self.held += 1
        self.grow(count)

    def grow(self, count: int) -> None:
        """Count bytes that were put where the batch goes on."""
        if not self.fill and count:
            self._since = asyncio.get_running_loop().time()
            self._bell.set()
        self.fill += count
        if self._buffer is not None and not self.room:
            self._ready.append(self._seal())
        if self._ready or self._pressing:
            self._bell.set()

    def rush(self) -> None:
        """Hand the batch out without gathering, until `hurry` is cleared."""
        self.hurry = True
        self._bell.set()

    def finish(self, error: BaseException | None) -> None:
        """Nothing more comes; `error` says why unless the end was seen. The first call counts."""
        if not self.over:
            self.over = True
            self._error = error
            self._bell.set()

    def clear(self) -> None:
        """Forget what was not handed out. What the consumer still has comes back by `release`."""
        if self.fill:
            self._ready.append(self._seal())
        while self._ready:
            self._give(self._ready.popleft())

    async def next(self) -> memoryview | None:
        """See `ports.Body.next`."""
        while True:
            if self._ready or (self.fill and self._due() <= 0):
                return self._lend()
            if self.over:
                if self._error is not None:
                    raise self._error
                return None
            await self._news()

    def release(self, view: memoryview) -> None:
        """See `ports.Body.release`."""
        self._give(self._lent.pop(id(view)))
        self._on_room()

    @property
    def _pressing(self) -> bool:
        """Gathering more is not worth it, or would keep a buffer that others need."""
        return self._pool.scarce if self._buffer is not None else self.fill >= self._enough

    def _due(self) -> float:
        """Seconds until the batch goes out as it is."""
        if self.over or self.hurry or self._pressing:
            return 0
        return self._since + GATHER - asyncio.get_running_loop().time()

    def _lend(self) -> memoryview:
        entry = self._ready.popleft() if self._ready else self._seal()
        self._lent[id(entry[0])] = entry
        self._on_room()
        return entry[0]

    def _seal(self) -> _Entry:
        buffer, start, end = self._buffer, self._start, self._start + self.fill
        view = memoryview(self._small) if buffer is None else memoryview(buffer)[start:end]
        self._small, self._buffer, self.fill, self._start = bytearray(), None, 0, end % ALIGN
        return view, buffer

    def _give(self, entry: _Entry) -> None:
        if entry[1] is not None:
            self.held -= 1
            self._pool.give(entry[1])

    async def _news(self) -> None:
        self._bell.clear()
        timer = asyncio.get_running_loop().call_later(self._due(), self._bell.set) if self.fill else None
        try:
            await self._bell.wait()
        finally:
            if timer is not None:
                timer.cancel()

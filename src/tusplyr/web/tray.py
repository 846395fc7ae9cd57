"""Bytes on their way from the reader of one body to its consumer.

Owns what has arrived and was not handed out, what was handed out and not given back, and the end of the
body. Must not know where bytes come from. Invariant: bytes leave in the order in which they came, all of
them before the end or the error; nothing is lost when the consumer's wait is cancelled, since bytes leave
in the very step that returns them. Small reads are gathered in a batch, so that they cost few thread hops.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from tusplyr.web.pool import Pool

LARGE = 128 * 1024  # a read from here on is worth a thread hop of its own
GATHER = 0.05  # seconds that the first byte of a batch waits for company

_Entry = tuple[memoryview, bytearray | None]  # a view, and the pool's buffer under it if there is one


class Tray:
    """One reader puts bytes in, one consumer takes them out. Both on the event loop."""

    def __init__(self, pool: Pool, enough: int, on_room: Callable[[], None]) -> None:
        self.held = 0  # buffers of the pool in here or with the consumer
        self.over = False
        self.hurry = False  # the reader waits: gathering more would only lose time
        self._pool = pool
        self._enough = enough  # bytes that are worth a thread hop, and all that is gathered outside the pool
        self._on_room = on_room
        self._error: BaseException | None = None
        self._ready: deque[_Entry] = deque()
        self._lent: dict[int, _Entry] = {}
        self._batch = bytearray()
        self._pooled = False
        self.fill = 0  # bytes in the batch
        self._since = 0.0
        self._bell = asyncio.Event()

    @property
    def room(self) -> int:
        """Bytes that the batch can still take without a buffer more."""
        return (self._pool.size if self._pooled else self._enough) - self.fill

    @property
    def pooled(self) -> bool:
        """The batch lies in a buffer of the pool."""
        return self._pooled

    @property
    def ended(self) -> bool:
        """The end was seen and everything was handed out."""
        return self.over and self._error is None and not self._ready and not self.fill

    def add(self, data: memoryview | bytearray) -> None:
        """Copy a few bytes to the batch."""
        if self._pooled and len(data) > self.room:
            self._ready.append(self._seal())
        if not self.fill:
            self._since = asyncio.get_running_loop().time()
            self._bell.set()
        fill = self.fill + len(data)
        if self._pooled:
            memoryview(self._batch)[self.fill : fill] = data
        else:
            self._batch += data
        self.fill = fill
        if fill >= self._enough:
            self._bell.set()

    def put(self, buffer: bytearray, count: int) -> None:
        """Take over a buffer of the pool whose first `count` bytes are filled."""
        if self.fill:
            self._ready.append(self._seal())
        self._ready.append((memoryview(buffer)[:count], buffer))
        self.held += 1
        self._bell.set()

    def widen(self, buffer: bytearray) -> None:
        """Move the batch into a buffer of the pool, which is larger."""
        memoryview(buffer)[: self.fill] = self._batch
        self._batch = buffer
        self._pooled = True
        self.held += 1

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

    def _due(self) -> float:
        """Seconds until the batch goes out as it is."""
        if self.over or self.hurry or self.fill >= self._enough:
            return 0
        return self._since + GATHER - asyncio.get_running_loop().time()

    def _lend(self) -> memoryview:
        entry = self._ready.popleft() if self._ready else self._seal()
        self._lent[id(entry[0])] = entry
        self._on_room()
        return entry[0]

    def _seal(self) -> _Entry:
        view = memoryview(self._batch)[: self.fill]
        buffer = self._batch if self._pooled else None
        self._batch, self.fill, self._pooled = bytearray(), 0, False
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

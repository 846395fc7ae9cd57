"""The memory of all request bodies.

Owns a fixed number of large buffers and the order in which readers that found none are served. Must
not know sockets or HTTP. Invariant: there are never more than `count` buffers of `size` bytes, however
many bodies there are, so `count * size` is the bound. Buffers are made when first needed and then kept.
"""

import asyncio
import mmap
from collections.abc import Callable

MIB = 1024 * 1024
SMALL = 128 * 1024  # bytes that one body may gather outside the pool
SCRATCH = 64 * 1024
LEAST = 4 * SMALL  # bytes of a buffer: what was gathered outside the pool, or came with the head, leaves room in it
_PATIENCE = 0.002  # seconds that a reader which was woken has to take its buffer before the next is woken too

Buffer = mmap.mmap  # begins at the border of a page, which a bytearray does not: see `ports.ALIGN`
Wake = Callable[[], None]


class Pool:
    """At most `count` buffers of `size` bytes, shared by every body. Used on the event loop only.

    Raises:
        ValueError: there would be no buffer, or too small a one (`LEAST`).
    """

    def __init__(self, count: int = 16, size: int = MIB) -> None:
        if count < 1 or size < LEAST:
            raise ValueError(f"A pool needs a buffer, and {LEAST} bytes in each.")
        self.count = count
        self.size = size
        self._free: list[Buffer] = []
        self._made = 0
        self._scratch: bytearray | None = None
        self._waiting: dict[Wake, None] = {}  # in the order of asking
        self._timer: asyncio.TimerHandle | None = None

    @property
    def free(self) -> int:
        """Buffers that nobody holds, made or not."""
        return self.count - self._made + len(self._free)

    @property
    def scarce(self) -> bool:
        """No buffer is free, or those that are free were promised to who waits."""
        return self.free <= len(self._waiting)

    @property
    def scratch(self) -> bytearray:
        """64 KiB that hold bytes between a read and the copy in the same step of the loop, never longer."""
        if self._scratch is None:
            self._scratch = bytearray(SCRATCH)
        return self._scratch

    def peek(self) -> Buffer | None:
        """Return the buffer that `claim` would return now, None when all are held."""
        if not self._free and self._made < self.count:
            self._free.append(mmap.mmap(-1, self.size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
            self._made += 1
        return self._free[-1] if self._free else None

    def claim(self) -> Buffer | None:
        """Take a buffer, None when all are held. It goes back by `give`, exactly once."""
        return self._free.pop() if self.peek() is not None else None

    def give(self, buffer: Buffer) -> None:
        """Give a buffer back, and wake who waits longest."""
        self._free.append(buffer)
        if self._waiting and self._timer is None:
            self._serve()

    def wait(self, wake: Wake) -> None:
        """Have `wake` called once when a buffer is free, after all who asked before. It may claim at once."""
        self._waiting[wake] = None

    def forget(self, wake: Wake) -> None:
        """Wait no longer. No error when it does not wait."""
        self._waiting.pop(wake, None)

    def _serve(self) -> None:
        self._timer = None
        for _ in range(min(self.free, len(self._waiting))):
            wake = next(iter(self._waiting))
            del self._waiting[wake]
            wake()
        if self._waiting and self.free:
            # Who was woken may have nothing to read: nobody behind it may starve for that.
            self._timer = asyncio.get_running_loop().call_later(_PATIENCE, self._serve)

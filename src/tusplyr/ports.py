"""The contracts between the engine and the world.

Owns the protocols that adapters fulfil; their docstrings are what the contract suites test. Must not
know any implementation. Invariant: colour belongs to the port, not to the method: `Ledger`, `Body`
and `Claims` are async; `Spool`, `Writer` and `Store` block and are run through `engine.offload`.
"""

from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import BinaryIO, Protocol, runtime_checkable

from msgspec import Struct

from tusplyr.core.errors import Stopped
from tusplyr.core.model import Backlog, Content, Reason, Status, Upload

ALIGN = 4096  # bytes; where memory and file are congruent by it, a disk can take the bytes without a copy

Stop = Callable[[Stopped], None]
Halted = Callable[[], bool]


def never() -> bool:
    """Halt nothing."""
    return False


class Ledger(Protocol):
    """The rows: what has been acknowledged. Every change is durable when the call returns.

    Every change is conditional on the row's epoch and on the value that it replaces; one that finds
    the row changed raises `Superseded` and changes nothing. Raises `LedgerDown` when the database
    cannot answer, `NoSpace` when it cannot grow.
    """

    async def create(self, upload: Upload, partials: Sequence[Upload] = ()) -> None:
        """Add a row. Called once per id, after the spool has room for its bytes.

        Those that it is made of must be as they were, and are in use: they count as changed now, and cannot become
        `gone` while the new one is `assembling`.
        """

    async def get(self, upload_id: str) -> Upload | None:
        """Return the row as last committed, None when there is none. Whoever goes on to change it holds its claim."""

    async def checkpoint(
        self,
        upload: Upload,
        offset: int,
        digest: bytes | None,
        sha256: str | None = None,
        content: Content | None = None,
    ) -> Upload:
        """Move the offset forward from `upload.offset`, after a sync of the bytes; return the new row.

        With `sha256` the upload is complete: the offset, the digest and the move to `received` are one unit. With
        `content`, which was published already, the move is to `stored`, and the content is remembered as in `move`.
        Raises `ValueError` for an offset that goes back, passes the length, or ends without `sha256`.
        """

    async def move(
        self, upload: Upload, status: Status, *, reason: Reason | None = None, content: Content | None = None
    ) -> Upload:
        """Change the status as `core.lifecycle` allows from `upload.status`; return the new row, its epoch one higher.

        With `content`, what was published is remembered in the same unit. Raises `Conflict` when other content is
        remembered under its key, and `ValueError` for a change that the lifecycle does not know. What is to expire
        must not have been changed since `upload` was read, else it is `Superseded`. What is in use by one that is
        `assembling` cannot become `gone`: `Busy`.
        """

    async def content(self, key: str) -> Content | None:
        """Return what was published under a key, whether or not the row of its upload is still there."""

    def idle(self, before: float) -> AsyncIterator[Upload]:
        """Yield `receiving` rows that were last changed at that time (Unix seconds) or earlier; not all at once."""

    async def purge(self, before: float) -> int:
        """Delete rows that ended (`stored`, `gone`) and were last changed before that time; count them."""


class Queue(Protocol):
    """The rows that wait for the server: `received` to be published, `assembling` to be assembled.

    The same adapter as the `Ledger`.
    """

    async def postpone(self, upload: Upload, due_at: float, error: str, *, restart: bool = False) -> Upload:
        """Record a failed attempt and when the next is due (Unix seconds); return the new row.

        With `restart` what is `assembling` begins at its first byte again; its bytes may be discarded then.
        """

    async def hasten(self, upload: Upload, due_at: float) -> Upload:
        """Set when the next attempt is due (Unix seconds), and nothing else; return the new row."""

    async def hasten_all(self, folder: str, code: str, due_at: float, limit: int) -> int:
        """Make as many that are `received` and would be due later due at that time (Unix seconds); count them.

        Those of a folder of the store whose last error begins with that code and a colon, the next to be due first.
        """

    async def due(
        self, status: Status, now: float, limit: int, apart_from: Collection[str] = frozenset()
    ) -> list[Upload]:
        """Return rows of that status that are due, the longest waiting first.

        Without those of some content keys, and of folders of the store, which end with a slash.
        """

    async def backlog(self) -> Backlog:
        """Count the rows, whether due or not."""


class Body(Protocol):
    """The bytes of one request, in order. One consumer."""

    def place(self, at: int) -> None:
        """Say where in the upload the body begins (bytes), before the first `next`.

        A body with large buffers puts the byte for offset `n` at an address that is `n` modulo `ALIGN`.
        """

    async def next(self) -> memoryview | None:
        """Return the next bytes (never none of them), or None once the end of the body has been seen.

        The view is writable memory that stays valid until `release`. Cancelling the call loses nothing.
        Whatever ended the body early, everything that had arrived is handed out first.

        Raises:
            Cut: the peer is gone, or its framing broke.
            Stopped: the server ended it, see `stop`; `Silent` when nothing arrived for the idle timeout.
        """

    def release(self, view: memoryview) -> None:
        """Give back a view that `next` returned. Exactly once each, and only when no thread uses it any more."""

    def stop(self, why: Stopped) -> None:
        """End the body: read no more of it. Idempotent; the first reason counts. Called on the event loop."""

    @property
    def ended(self) -> bool:
        """The end was seen and everything was handed out: the next `next` returns None without waiting."""


class Writer(Protocol):
    """The right to write to one spool file. Threads may write at once, each its own bytes, and one sync meanwhile."""

    def write(self, view: memoryview, at: int) -> None:
        """Write all of a view at an offset, or raise `NoSpace` or `SpoolDown`. Nothing counts before a `sync`."""

    def sync(self, *, name: bool = True) -> None:
        """Make everything that was written durable, or raise `NoSpace` or `SpoolDown`.

        Without `name` the name of a new file may still get lost: for bytes that are published before they count,
        or are kept (`Spool.keep`).
        """

    def close(self) -> None:
        """Let go of the file. Idempotent; makes nothing durable."""


class Staged(Struct, frozen=True):
    """The staged bytes of an upload, for whoever reads or publishes them.

    Attributes:
        id: of the upload.
        open: opens them for reading from the start; the caller closes. Raises `BytesLost` when they are missing.
        path: the file that they are, for a store that can link it; None where there is none.
    """

    id: str
    open: Callable[[], BinaryIO]
    path: str | None = None


class Spool(Protocol):
    """Staged bytes, by upload id. Blocking. Raises `SpoolDown` for what the disk refuses, `NoSpace` when it is full."""

    def admit(self, count: int = 0) -> None:
        """Return if there is room for one more upload; refuse with `NoSpace` below the reserve and `count` bytes."""

    def open(self, upload_id: str, offset: int) -> Writer:
        """Return a writer at `offset`, after cutting off whatever lies behind it.

        A file that is missing is made where nothing was acknowledged (`offset` zero). One that has been published
        since is left alone: the writer gets a copy of the first `offset` bytes.

        Raises:
            BytesLost: the file is missing or shorter than `offset`.
        """

    def keep(self, upload_id: str) -> None:
        """See that there is a file, if need be an empty one, and that its name is durable."""

    def staged(self, upload_id: str) -> Staged:
        """Return how the bytes can be had. Touches nothing."""

    def graft(self, upload_id: str, source_id: str, at: int, count: int) -> None:
        """Make bytes `at` to `at + count` of one upload those of another, durably and without reading them here.

        What lies behind them is cut off. A volume that can share them does.

        Raises:
            BytesLost: the source is missing or shorter.
        """

    def discard(self, upload_id: str) -> None:
        """Forget the bytes. No error when there are none."""

    def files(self) -> Iterator[tuple[str, float]]:
        """Yield the id of every file and when it was last written (Unix seconds)."""


class Store(Protocol):
    """Published objects, by content key. Blocking. Raises `StoreDown`, or `NoSpace` when it is full."""

    @property
    def prompt(self) -> bool:
        """Publishing takes as long for a long content as for a short one, so a reply may wait for it."""

    def publish(self, content: Content, source: Staged, *, compare: bool = True, halted: Halted = never) -> bool:
        """Make the bytes of `source` readable under `content.key`, durable and whole, or not at all.

        `halted` is asked often and from several threads; once it returns true, the call ends soon with `Suspended`, and
        can be gone on with.

        `source` is synced, and its SHA-256 is `content.sha256`. Idempotent: the same content under the key again is a
        success, whoever brought it. Return True; without `compare`, False where something is under the key already,
        which is then not read.

        Raises:
            Conflict: other content is under the key. It stays as it was.
            BytesLost: the source is missing or too short.
            SpoolDown: the source cannot be read.
        """

    def address(self, key: str) -> str | None:
        """Return a URL at which a reader gets the object, None where the reader has to be served from here."""

    def open(self, key: str) -> BinaryIO | None:
        """Open an object for reading, None when there is none. Seekable; the caller closes it."""

    def has(self, content: Content) -> bool:
        """Say whether a content is under its key, by what can be known of the object there without reading it.

        Its length at least. Where False comes back, `publish` finds out what is there.
        """

    def keys(self) -> Iterator[str]:
        """Yield every content key, for a check of the whole store."""

    def sweep(self, older_than: float) -> int:
        """Remove what publishing that never finished left behind before that time (Unix seconds); count it.

        What an upload that is still to be published can go on with stays.
        """

    def close(self) -> None:
        """Let go of connections. Nothing else is called afterwards."""


@runtime_checkable
class Shipper(Protocol):
    """A store that can take the beginning of a content before its end is known. The same adapter as the `Store`."""

    def stride(self, length: int) -> int | None:
        """Return how many bytes of a content that long can be shipped at a time; None where it goes in one."""

    def ship(
        self, content: Content, source: Staged, upto: int, *, enough: Halted = never, halted: Halted = never
    ) -> None:
        """Bring what is whole of the first `upto` bytes, which are durable, to where `publish` goes on with it.

        The content is what the bytes will be if the client keeps its word. Nothing can be read under its key by this,
        and only a `publish` from the same upload goes on with it. Once `enough` is true nothing more is begun, and what
        is under way is brought to its end; `halted` is as in `Store.publish`, and goes first where both want to send.

        Raises:
            Suspended: some of it is left for a later call.
            BytesLost, SpoolDown, StoreDown, LedgerDown, NoSpace: the same, for that reason.
        """


class Multipart(Struct, frozen=True, kw_only=True):
    """A multipart transfer into a store that has begun, as it has been written down.

    Attributes:
        key: content key.
        sha256: hex digest of the content; what is under way for another content with this key is not gone on with.
        source: id of the upload whose bytes they are. It may have begun before all of them were here, so nobody else
            knows that they are what they should be.
        part_size: bytes of every part but the last.
        id: the store's name for it; None where only the intent was written down, and the store may know of it or not.
        parts: ETags as the store answered them, by part number from 1.
        begun_at: Unix seconds at which the intent was written down.
    """

    key: str
    sha256: str
    source: str
    part_size: int
    id: str | None = None
    parts: dict[int, str] = {}
    begun_at: float = 0.0


class Journal(Protocol):
    """What a store has begun elsewhere, so that another process can go on with it. Blocking; used in worker threads.

    Everything is durable when a call returns. Raises `LedgerDown` or `NoSpace` when it cannot be. Only one transfer at
    a time goes on under a key.
    """

    def intend(self, key: str, sha256: str, source: str, part_size: int) -> None:
        """Write down that a transfer of this content under this key is about to begin. Replaces what was there."""

    def begin(self, key: str, multipart_id: str) -> None:
        """Write down the store's name for the transfer that was intended; `Superseded` where none was."""

    def land(self, key: str, number: int, etag: str) -> None:
        """Write down that a part has arrived; `Superseded` where nothing has begun under the key."""

    def find(self, key: str) -> Multipart | None:
        """Return what is written down for a key."""

    def forget(self, key: str) -> None:
        """Strike it out: it was completed or aborted. No error when there is nothing."""

    def abandoned(self) -> list[Multipart]:
        """Return the transfers from uploads that will not be published any more."""


class Claims(Protocol):
    """The right to append to an upload: one holder at a time."""

    def held(self, upload_id: str) -> bool:
        """Somebody holds it right now."""

    def hold(self, upload_id: str, stop: Stop) -> AbstractAsyncContextManager[None]:
        """Hold it for the length of a block.

        A present holder is asked to stop (`Interrupted`) and waited for: it makes its last checkpoint before it
        lets go. `stop` is called in the same way when somebody comes after, at once if they are here already.

        Raises:
            Busy: the holder did not let go in time.
        """

    def stop_all(self, why: Stopped) -> None:
        """Ask every holder, now and from now on, to stop."""

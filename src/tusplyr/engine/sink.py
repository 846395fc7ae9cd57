"""Where the bytes of one append go: the spool file and the running digest, fed together.

Owns one writer and one digest, and opens them when the first bytes are there. Must not know requests or
rows. Runs in worker threads: those that write, another that syncs. Invariant: the `mark` stands behind exactly the
bytes that were both written and hashed, without a gap, and `synced` counts those of them that are durable.
"""

import threading
from collections.abc import Iterator

from msgspec import Struct

from tusplyr.core.checksum import running
from tusplyr.core.digest import Provider, RunningDigest, StateMismatch
from tusplyr.core.errors import NoSpace, SpoolDown
from tusplyr.core.model import MAX_INTEGER, Upload
from tusplyr.ports import Spool, Writer

REREAD = 1024 * 1024  # bytes per read when a saved digest cannot be used, or a checksum comes last
SHA256 = "sha256"


class Mark(Struct, frozen=True):
    """How far a sink is.

    Attributes:
        at: offset behind the last byte that was written and hashed.
        digest: saved state of the digest there; None when it was never needed.
    """

    at: int
    digest: bytes | None


class Behind(SpoolDown):
    """A view was not counted, since one before it could not be written; that one's error is what counts."""


class Sink:
    """Takes the bytes of one append behind the acknowledged offset of an upload.

    With the `algorithm` of a checksum, that is computed in passing.
    """

    def __init__(self, spool: Spool, provider: Provider, upload: Upload, algorithm: str | None = None) -> None:
        self._spool = spool
        self._provider = provider
        self._upload = upload
        self._writer: Writer | None = None
        self._digest: RunningDigest | None = None
        own = algorithm == SHA256 and not upload.offset  # from byte 0 on the digest itself is the checksum
        self._check = None if algorithm is None or own else running(algorithm)
        self._failed: NoSpace | SpoolDown | None = None
        self._broken_at = MAX_INTEGER + 1  # where a view begins that could not be written: a gap
        self._closed = False
        self._opening = threading.Lock()
        self._turn = threading.Condition()
        self.mark = Mark(upload.offset, upload.digest)
        self.synced = upload.offset

    @property
    def at(self) -> int:
        """Offset behind the last byte that was written and hashed."""
        return self.mark.at

    @property
    def opened(self) -> bool:
        """There is a file to close."""
        return self._writer is not None

    def open(self) -> None:
        """Cut off the unacknowledged tail and bring the digest to the offset. Idempotent; raises as `Spool.open`."""
        with self._opening:
            if self._closed:
                raise SpoolDown(f"the spool file of upload {self._upload.id} is closed already")
            if self._writer is None:
                self._writer = self._spool.open(self._upload.id, self.at)
            if self._digest is None:
                self._digest = self._restore()

    def write(self, view: memoryview, at: int) -> None:
        """Write a view at its offset and hash it once all before it are; it counts as a whole or not at all.

        Other threads may write the next views meanwhile. Once one has failed, those after it are `Behind`. Raises as
        `Spool.open` and `Writer.write`, too.
        """
        try:
            self.open()
            assert self._writer is not None and self._digest is not None  # noqa: S101, PT018 - open() has just set both
            self._writer.write(view, at)
            self._await_turn(at)
            self._digest.update(view)
            if self._check is not None:
                self._check.update(view)
            self._pass_turn(Mark(at + view.nbytes, self._digest.save()))
        except BaseException:
            self._break(at)
            raise

    def write_last(self, view: memoryview, at: int) -> None:
        """Write the last view of an append and make all of it durable: one hop to a thread. Raises as both do."""
        self.write(view, at)
        self.sync()

    def sync(self, *, name: bool = True) -> None:
        """Make everything written durable; more may be written meanwhile. Raises as `Writer.sync`, and for good."""
        at = self.at
        if at == self.synced:
            return
        if self._failed:
            # After a failed sync the kernel may call the pages clean: a second one would report a false success.
            raise self._failed
        assert self._writer is not None  # noqa: S101 - what is not synced has been written, so it is open
        try:
            self._writer.sync(name=name)
        except (NoSpace, SpoolDown) as error:
            self._failed = error
            raise
        self.synced = at

    def finish(self, view: memoryview | None = None) -> None:
        """Write the last view, make everything durable but the name, and let go: what follows is publishing."""
        if self._digest is None:  # an upload may turn out to be whole without a byte more
            self.open()
        if view is not None:
            self.write(view, self.at)
        self.sync(name=False)
        self.close()

    def sha256(self) -> str:
        """Return the hex digest of everything up to `at`, some of which this append has written. Does not block."""
        if self._digest is None:
            raise SpoolDown(f"upload {self._upload.id} has no digest, although its last byte was just written")
        return self._digest.hexdigest()

    def checksum(self, algorithm: str) -> bytes:
        """Return the raw checksum of what this append has taken.

        Blocking: where another algorithm was expected than it turns out to be, the bytes are read again. Raises as
        `Spool.staged`.
        """
        if self._check is not None and self._check.name == algorithm:
            return self._check.digest()
        if self._digest is not None and algorithm == SHA256 and not self._upload.offset:
            return bytes.fromhex(self._digest.hexdigest())
        check = running(algorithm)
        if self.at > self._upload.offset:
            for view in self._staged(self._upload.offset):
                check.update(view)
        return check.digest()

    def close(self) -> None:
        """Let go of the file, for good. Idempotent."""
        self._closed = True
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def drop(self, offset: int) -> None:
        """Let go, and give back the room of what is behind an offset. Raises as `Spool.open`."""
        self.close()
        self.synced = offset
        if offset:
            self._spool.open(self._upload.id, offset).close()
        else:
            self._spool.discard(self._upload.id)

    def _await_turn(self, at: int) -> None:
        with self._turn:
            self._turn.wait_for(lambda: self.at == at or self._broken_at < at)
            if self._broken_at < at:
                raise Behind(f"the bytes of upload {self._upload.id} before {at} could not be written")

    def _pass_turn(self, mark: Mark) -> None:
        with self._turn:
            self.mark = mark
            self._turn.notify_all()

    def _break(self, at: int) -> None:
        with self._turn:
            self._broken_at = min(self._broken_at, at)
            self._turn.notify_all()

    def _restore(self) -> RunningDigest:
        if not self.at:
            return self._provider.new()
        if self._upload.digest is not None:
            try:
                return self._provider.restore(self._upload.digest, self.at)
            except StateMismatch:
                pass  # another provider or version, or not of this offset: the bytes themselves are here
        return self._reread()

    def _reread(self) -> RunningDigest:
        digest = self._provider.new()
        for view in self._staged(0):
            digest.update(view)
        return digest

    def _staged(self, start: int) -> Iterator[memoryview]:
        """Yield the staged bytes from `start` to where the sink is, each time in the same buffer."""
        buffer = memoryview(bytearray(REREAD))
        left = self.at - start
        with self._spool.staged(self._upload.id).open() as file:
            file.seek(start)
            while left and (count := file.readinto(buffer[:left])):  # type: ignore[attr-defined]  # raw files and BytesIO have it
                left -= count
                yield buffer[:count]

"""Where the bytes of one append go: the spool file and the running digest, fed together.

Owns one writer and one digest, and opens them when the first bytes are there. Must not know requests or
rows. Runs in worker threads: one that writes, another that syncs. Invariant: `at` counts exactly the bytes
that were both written and hashed, and `synced` those of them that are durable.
"""

from tusplyr.core.digest import Provider, RunningDigest, StateMismatch
from tusplyr.core.errors import NoSpace, SpoolDown
from tusplyr.core.model import Upload
from tusplyr.ports import Spool, Writer

REREAD = 1024 * 1024  # bytes per read when a saved digest cannot be used


class Sink:
    """Takes the bytes of one append behind the acknowledged offset of an upload."""

    def __init__(self, spool: Spool, provider: Provider, upload: Upload) -> None:
        self._spool = spool
        self._provider = provider
        self._upload = upload
        self._writer: Writer | None = None
        self._digest: RunningDigest | None = None
        self._failed: NoSpace | SpoolDown | None = None
        self.at = self.synced = upload.offset

    @property
    def opened(self) -> bool:
        """There is a file to close."""
        return self._writer is not None

    def open(self) -> None:
        """Cut off the unacknowledged tail and bring the digest to the offset. Idempotent; raises as `Spool.open`."""
        if self._writer is None:
            self._writer = self._spool.open(self._upload.id, self.at)
        if self._digest is None:
            self._digest = self._restore()

    def write(self, view: memoryview) -> None:
        """Write and hash a view, which counts as a whole or not at all. Raises as `Spool.open` and `Writer.write`."""
        self.open()
        assert self._writer is not None and self._digest is not None  # noqa: S101, PT018 - open() has just set both
        self._writer.write(view)
        self._digest.update(view)
        self.at += view.nbytes

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
        if view is not None:
            self.write(view)
        self.sync(name=False)
        self.close()

    def state(self) -> bytes | None:
        """Return the saved state of the digest at `at`, None when it was never needed."""
        return self._digest.save() if self._digest else self._upload.digest

    def sha256(self) -> str:
        """Return the hex digest of everything up to `at`, some of which this append has written. Does not block."""
        if self._digest is None:
            raise SpoolDown(f"upload {self._upload.id} has no digest, although its last byte was just written")
        return self._digest.hexdigest()

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

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
        buffer = memoryview(bytearray(REREAD))
        with self._spool.read(self._upload.id) as file:
            while (left := self.at - digest.count) and (count := file.readinto(buffer[:left])):  # type: ignore[attr-defined]  # raw files and BytesIO have it
                digest.update(buffer[:count])
        return digest

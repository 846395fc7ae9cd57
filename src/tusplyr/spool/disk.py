"""The spool on a local disk: one file per upload, named by its id.

Owns staged bytes: writing at the offset, syncing, cutting off what was never acknowledged. Must not
know offsets other than those it is told, the ledger or the store. Invariant: bytes are written at an
offset, never appended, so what a crash left behind the acknowledged offset cannot shift them.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from tusplyr.core.errors import BytesLost, NoSpace, SpoolDown
from tusplyr.durable import free_bytes, sync_directory, sync_file

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class DiskSpool:
    """`ports.Spool` over a directory that exists.

    Args:
        root: the directory; on the volume of the filesystem store publishing is a link.
        reserve: bytes of the volume that uploads may not use, so that the ledger can still commit.
    """

    def __init__(self, root: Path, *, reserve: int = 0) -> None:
        self._root = root
        self._reserve = reserve

    def create(self, upload_id: str) -> None:
        """See `ports.Spool.create`."""
        with _translated(upload_id):
            if free_bytes(self._root) < self._reserve:
                raise NoSpace
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
            os.close(os.open(self._root / upload_id, flags, 0o644))
            sync_directory(self._root)

    def open(self, upload_id: str, offset: int) -> "DiskWriter":
        """See `ports.Spool.open`."""
        with _translated(upload_id):
            descriptor = os.open(self._root / upload_id, os.O_WRONLY | os.O_CLOEXEC)
            try:
                length = os.fstat(descriptor).st_size
                if length < offset:
                    raise BytesLost(f"spool file of {upload_id} has {length} bytes; {offset} were acknowledged")
                if length > offset:
                    os.ftruncate(descriptor, offset)
            except BaseException:
                os.close(descriptor)
                raise
            return DiskWriter(descriptor, upload_id, offset, self._root, self._reserve)

    def read(self, upload_id: str) -> BinaryIO:
        """See `ports.Spool.read`."""
        with _translated(upload_id):
            return (self._root / upload_id).open("rb", buffering=0)

    def discard(self, upload_id: str) -> None:
        """See `ports.Spool.discard`."""
        with _translated(upload_id):
            (self._root / upload_id).unlink(missing_ok=True)

    def files(self) -> Iterator[tuple[str, float]]:
        """See `ports.Spool.files`."""
        try:
            with os.scandir(self._root) as entries:
                for entry in entries:
                    try:
                        yield entry.name, entry.stat(follow_symlinks=False).st_mtime
                    except FileNotFoundError:
                        continue  # discarded since the directory was read
        except OSError as error:
            raise SpoolDown(f"the directory of the spool: {error}") from error


class DiskWriter:
    """`ports.Writer` over an open file."""

    def __init__(self, descriptor: int, upload_id: str, offset: int, root: Path, reserve: int) -> None:
        self._descriptor = descriptor
        self._upload_id = upload_id
        self._at = offset
        self._root = root
        self._reserve = reserve
        self._full = False

    def write(self, view: memoryview) -> None:
        """See `ports.Writer.write`. What a failed write left behind is overwritten or cut off later."""
        if self._full:
            raise NoSpace
        at = self._at
        with _translated(self._upload_id):
            while view:
                written = os.pwrite(self._descriptor, view, at)
                at += written
                view = view[written:]
        self._at = at

    def sync(self) -> None:
        """See `ports.Writer.sync`. At the reserve what was written stays, and no more comes."""
        with _translated(self._upload_id):
            sync_file(self._descriptor)
            self._full = free_bytes(self._root) < self._reserve

    def close(self) -> None:
        """See `ports.Writer.close`."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


@contextmanager
def _translated(upload_id: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise BytesLost(f"spool file of {upload_id} is missing") from error
    except OSError as error:
        if error.errno in FULL:
            raise NoSpace from error
        raise SpoolDown(f"spool file of {upload_id}: {error}") from error

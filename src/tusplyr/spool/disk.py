"""The spool on a local disk: one file per upload, named by its id.

Owns staged bytes: writing at the offset, syncing, cutting off what was never acknowledged. Must not
know offsets other than those it is told, the ledger or the store. Invariant: bytes are written at an
offset, never appended, so what a crash left behind the acknowledged offset cannot shift them.
"""

import ctypes
import errno
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from tusplyr.core.errors import BytesLost, NoSpace, SpoolDown
from tusplyr.durable import FULL, UNCACHED, free_bytes, sync_directory, sync_file
from tusplyr.ports import ALIGN, Staged

log = logging.getLogger(__name__)

UNCACHED_LEAST = 128 * 1024  # bytes; the cache takes less than that faster, and a sync writes it in one go
LOOK_BYTES = 256 * 1024  # after which the volume is looked at again
LOOK_SECONDS = 0.25  # likewise
# No copies in the kernel here, or none that it allows; some file systems say that in odd words.
NOT_THERE = frozenset({errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EIO})
COPY = 1024 * 1024  # bytes per read when a file has to be copied


class Reserve:
    """The bytes of a volume that uploads may not use. Any thread may ask. The log tells when that begins and ends.

    Args:
        root: a directory on the volume.
        size: bytes.
    """

    def __init__(self, root: Path, size: int) -> None:
        self._root = root
        self._size = size
        self._reached = False
        self._telling = threading.Lock()
        self._look_at = 0.0
        self._spent = 0

    def reached(self, count: int = 0) -> bool:
        """Look, and return whether less is free than the reserve and so many bytes."""
        self._look_at, self._spent = time.monotonic() + LOOK_SECONDS, 0
        free = free_bytes(self._root)
        if self._reached is not (free < self._size):
            self._turn(free)
        return free < self._size + count

    def near(self, written: int) -> bool:
        """Return the same; that there is room, from a look that may be a moment or a few bytes old.

        Args:
            written: bytes that came since the caller asked last.
        """
        self._spent += written
        return (self._reached or self._spent >= LOOK_BYTES or time.monotonic() >= self._look_at) and self.reached()

    def _turn(self, free: int) -> None:
        with self._telling:
            if self._reached is (free < self._size):
                return  # another thread has told it
            self._reached = free < self._size
        if self._reached:
            text = "only %d bytes are free, less than RESERVE (%d): creations and bodies get 507"
            log.warning(text, free, self._size)
        else:
            log.info("%d bytes are free, RESERVE (%d) is kept again: uploads are taken", free, self._size)


class DiskSpool:
    """`ports.Spool` over a directory that exists.

    Args:
        root: the directory; on the volume of the filesystem store publishing is a link.
        reserve: bytes of the volume that uploads may not use, so that the ledger can still commit.
    """

    def __init__(self, root: Path, *, reserve: int = 0) -> None:
        self._root = root
        self._reserve = Reserve(root, reserve)

    def admit(self, count: int = 0) -> None:
        """See `ports.Spool.admit`."""
        with _translated("the next upload"), _making():
            if self._reserve.reached(count):
                raise NoSpace

    def open(self, upload_id: str, offset: int) -> "DiskWriter":
        """See `ports.Spool.open`."""
        with _translated(upload_id):
            full = self._reserve.near(0)
            descriptor = self._make(upload_id) if offset == 0 else None
            if descriptor is None:
                descriptor = self._reopen(upload_id, offset)
            return DiskWriter(descriptor, self._path(upload_id), self._root, self._reserve, full=full, named=offset > 0)

    def keep(self, upload_id: str) -> None:
        """See `ports.Spool.keep`."""
        with _translated(upload_id), _making():
            os.close(os.open(self._root / upload_id, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
            sync_directory(self._root)

    def staged(self, upload_id: str) -> Staged:
        """See `ports.Spool.staged`."""
        path = self._path(upload_id)

        def read() -> BinaryIO:
            with _translated(upload_id):
                return Path(path).open("rb", buffering=0)

        return Staged(upload_id, read, path)

    def graft(self, upload_id: str, source_id: str, at: int, count: int) -> None:
        """See `ports.Spool.graft`."""
        with _translated(upload_id):
            if self._reserve.reached(count):
                raise NoSpace
        with _translated(source_id), Path(self._path(source_id)).open("rb", buffering=0) as source:
            if os.fstat(source.fileno()).st_size < at + count:
                raise BytesLost(f"its spool file has less than {at + count} bytes")
            if not at:  # a new file: what a crash has left there may be a published object by now
                Path(self._path(upload_id)).unlink(missing_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            target = os.open(self._path(upload_id), flags, 0o644)
            try:
                os.ftruncate(target, at)
                _copy_range(source.fileno(), target, at, count)
                sync_file(target)
            finally:
                os.close(target)
            if not at:
                sync_directory(self._root)

    def discard(self, upload_id: str) -> None:
        """See `ports.Spool.discard`."""
        with _translated(upload_id):
            (self._root / upload_id).unlink(missing_ok=True)

    def files(self) -> Iterator[tuple[str, float]]:
        """See `ports.Spool.files`."""
        try:
            with os.scandir(self._root) as entries:
                for entry in entries:
                    with suppress(FileNotFoundError):  # discarded since the directory was read
                        if entry.is_file(follow_symlinks=False):  # a volume of its own has a lost+found
                            yield entry.name, entry.stat(follow_symlinks=False).st_mtime
        except OSError as error:
            raise SpoolDown(f"the directory of the spool: {error}") from error

    def _path(self, upload_id: str) -> str:
        return f"{self._root}/{upload_id}"

    def _make(self, upload_id: str) -> int | None:
        """Make the file; None where an append that was not acknowledged has left one."""
        try:
            with _making():
                return os.open(self._path(upload_id), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            return None

    def _reopen(self, upload_id: str, offset: int) -> int:
        descriptor = os.open(self._path(upload_id), os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            found = os.fstat(descriptor)
            if found.st_size < offset:
                raise BytesLost(f"its spool file has {found.st_size} bytes; {offset} were acknowledged")
            if found.st_nlink > 1:
                self._unshare(descriptor, upload_id, offset)
            elif found.st_size > offset:
                os.ftruncate(descriptor, offset)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _unshare(self, descriptor: int, upload_id: str, offset: int) -> None:
        """Put a copy of the acknowledged bytes in the place of a file that is a published object by now.

        A crash came between publishing and the row: the client will send the rest again, and not one byte of it
        may reach the object. The descriptor is the copy's afterwards.
        """
        own = self._root / f"{upload_id}.own"
        with open(descriptor, "rb", closefd=False) as published, own.open("wb") as copy:
            while (left := offset - copy.tell()) and (data := published.read(min(left, COPY))):
                copy.write(data)
            copy.flush()
            sync_file(copy.fileno())
            own.rename(self._root / upload_id)
            sync_directory(self._root)
            os.dup2(copy.fileno(), descriptor, inheritable=False)


class DiskWriter:
    """`ports.Writer` over an open file.

    Long views whose memory is congruent with the file (`ports.ALIGN`) go past the page cache: no copy, no pages to
    find and to write back, and a sync has little left to do. Everything else, and all of it where the volume does not
    offer that, goes through the cache. The kernel keeps the two in step.
    """

    def __init__(self, descriptor: int, path: str, root: Path, reserve: Reserve, *, full: bool, named: bool) -> None:
        self._descriptor = descriptor
        self._path = path
        self._name = path.rpartition("/")[2]
        self._uncached = -1  # a second descriptor of the file, once it is wanted
        self._cached_only = not UNCACHED
        self._opening = threading.Lock()
        self._root = root
        self._reserve = reserve
        self._full = full
        self._named = named

    def write(self, view: memoryview, at: int) -> None:
        """See `ports.Writer.write`. What a failed write left behind is overwritten or cut off later."""
        if self._full:
            raise NoSpace
        with _translated(self._name):
            if self._reserve.near(view.nbytes):  # many bodies may be written at once, and none of them synced for long
                raise NoSpace
            while view:
                written = self._put(view, at)
                at += written
                view = view[written:]

    def _put(self, view: memoryview, at: int) -> int:
        """Write what can go in one call; return how much that was."""
        if view.nbytes < UNCACHED_LEAST or (address_of(view) - at) % ALIGN or not self._open_uncached():
            return os.pwrite(self._descriptor, view, at)
        if before := -at % ALIGN:
            return os.pwrite(self._descriptor, view[:before], at)
        try:
            return os.pwrite(self._uncached, view[: view.nbytes // ALIGN * ALIGN], at)
        except OSError as error:
            if error.errno != errno.EINVAL:  # the volume wants a coarser alignment than ours
                raise
            self._cached_only = True  # and stays open: another thread may be about to use it
            return 0

    def sync(self, *, name: bool = True) -> None:
        """See `ports.Writer.sync`. At the reserve what was written stays, and no more comes."""
        with _translated(self._name):
            sync_file(self._descriptor)
            if name and not self._named:
                sync_directory(self._root)
                self._named = True
            self._full = self._reserve.near(0)

    def close(self) -> None:
        """See `ports.Writer.close`."""
        both, self._descriptor, self._uncached = (self._descriptor, self._uncached), -1, -1
        with _translated(self._name):
            try:
                _close(both[0])
            finally:
                _close(both[1])

    def _open_uncached(self) -> bool:
        """Open the file once more, past the cache; false where that cannot be."""
        with self._opening:
            if self._uncached < 0 and not self._cached_only:
                flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC | UNCACHED
                try:
                    self._uncached = os.open(self._path, flags)
                except OSError:  # a file system in memory; or the file was discarded meanwhile, which the row will tell
                    self._cached_only = True
            return not self._cached_only


def _copy_range(source: int, target: int, at: int, count: int) -> None:
    """Copy a range to the same place in another file: shared or in the kernel where that can be."""
    while count:
        done = _copy_inside(source, target, at, count) or os.pwrite(target, os.pread(source, min(count, COPY), at), at)
        if not done:
            raise BytesLost("its spool file became shorter")
        at += done
        count -= done


def _copy_inside(source: int, target: int, at: int, count: int) -> int:
    """Have the kernel copy, and return how much it did: nothing where it cannot."""
    try:
        return os.copy_file_range(source, target, count, at, at)
    except AttributeError:  # macOS
        return 0
    except OSError as error:
        if error.errno not in NOT_THERE:
            raise
        return 0


def _close(descriptor: int) -> None:
    if descriptor >= 0:
        os.close(descriptor)


def address_of(view: memoryview) -> int:
    """Return where in memory a writable view begins."""
    return ctypes.addressof(ctypes.c_char.from_buffer(view))


@contextmanager
def _making() -> Iterator[None]:
    """Where nothing was acknowledged yet, what is missing is the directory, and no bytes are lost."""
    try:
        yield
    except FileNotFoundError as error:
        raise SpoolDown(f"the directory of the spool is missing: {error}") from error


@contextmanager
def _translated(upload_id: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise BytesLost(f"the spool file of {upload_id} is missing") from error
    except OSError as error:
        if error.errno in FULL:
            raise NoSpace from error
        raise SpoolDown(f"spool file of {upload_id}: {error}") from error

"""What a durable write means on this platform.

Owns the two syncs that the law rests on, and how a volume says that it is full. Must not know what is being
written. Invariant: when a call returns, what it names survives the loss of power.
"""

import errno
import os
import sys
from pathlib import Path

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})  # what a write says when there is no room for it

if sys.platform == "darwin":
    import fcntl

    UNCACHED = 0  # F_NOCACHE is only a hint, and needs no flag

    def sync_file(descriptor: int) -> None:
        """Make the bytes and the length of a file durable. fsync(2) on macOS stops at the drive's cache."""
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)

else:
    UNCACHED = getattr(os, "O_DIRECT", 0)  # to open a file past the page cache; zero where there is no such thing

    def sync_file(descriptor: int) -> None:
        """Make the bytes and the length of a file durable."""
        os.fdatasync(descriptor)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(path: Path, mode: int) -> None:
    """Make a directory with its missing parents, durably. No error when it is there."""
    if path.is_dir():
        return
    make_directory(path.parent, 0o755)
    path.mkdir(mode, exist_ok=True)
    sync_directory(path.parent)


def free_bytes(path: Path) -> int:
    """Return the bytes that this process may still write on the volume of `path`."""
    volume = os.statvfs(path)
    return volume.f_bavail * volume.f_frsize

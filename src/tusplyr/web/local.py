"""A listening socket in the file system, for peers on the same machine.

Owns the socket's file: who may replace it, and when it goes. Must not know what is served. Invariants: the file of
a live server is never taken from it, and nothing but a socket is ever removed; of several servers that start at
once on one path, one gets it.
"""

import errno
import fcntl
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tusplyr.web.server import BACKLOG

MODE = 0o666  # who may reach it is a matter of its directory, as for every port of loopback it is of the machine


@contextmanager
def listen(path: Path) -> Iterator[socket.socket]:
    """Hold a listening socket, and remove its file at the end.

    Raises:
        OSError: another server listens there, something else is there, or the directory does not allow it.
    """
    with socket.socket(socket.AF_UNIX) as listener:
        with _alone(path.parent):
            _clear(path)
            listener.bind(os.fspath(path))
            path.chmod(MODE)
            listener.listen(BACKLOG)
            own = _mark(path)
        try:
            yield listener
        finally:
            with suppress(FileNotFoundError), _alone(path.parent):  # the directory may have gone meanwhile
                if _mark(path) == own:
                    path.unlink()


def _clear(path: Path) -> None:
    """Remove what a server that is dead has left. Raises OSError where anything else is there."""
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise FileExistsError(errno.EEXIST, "something is there that is not a socket")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)  # a live server may be too busy to take another connection
        if probe.connect_ex(os.fspath(path)) != errno.ECONNREFUSED:
            raise OSError(errno.EADDRINUSE, "another server is listening there")
    path.unlink()


def _mark(path: Path) -> tuple[int, int, int] | None:
    """Return what tells this file from one that takes its place; the number alone may be used again."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino, found.st_ctime_ns


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Let one server at a time look at the files of a directory and change them."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)

"""The store on a filesystem: one file per content, under its key.

Owns published files. Must not know uploads, offsets or the ledger. Invariant: a key is made by link(2),
which cannot replace a name, so a published file is whole from the first moment and is never overwritten.
"""

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from tusplyr.core.digest import READ, hash_file_chunked
from tusplyr.core.errors import Conflict, NoSpace, StoreDown
from tusplyr.core.model import Content
from tusplyr.durable import FULL, make_directory, sync_directory, sync_file
from tusplyr.ports import Halted, Staged, never

UNLINKABLE = frozenset({errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK})  # another volume, or no links here
INCOMING = ".incoming"  # copies on their way from another volume
NOT_OURS = frozenset({INCOMING, "lost+found"})  # folders without keys


class FilesystemStore:
    """`ports.Store` over a directory that exists."""

    prompt = True

    def __init__(self, root: Path) -> None:
        self._root = root

    def publish(self, content: Content, source: Staged, *, compare: bool = True, halted: Halted = never) -> bool:  # noqa: ARG002 - it is quick
        """See `ports.Store.publish`. One link on one volume, whatever the length; a copy, then a link, otherwise."""
        target = self._root / content.key
        with _translated(content.key):
            try:
                self._link(source, target)
            except FileExistsError:
                if not compare:
                    return False
                with source.open() as file:
                    self._compare(content, target, file)
            except OSError as error:
                if error.errno not in UNLINKABLE:
                    raise
                with source.open() as file:
                    self._copy(content, target, file)
            # Always: an earlier try, or another upload's, may have died between its link and its sync.
            sync_directory(target.parent)
        return True

    def address(self, key: str) -> str | None:  # noqa: ARG002 - none has one
        """See `ports.Store.address`."""
        return None

    def open(self, key: str) -> BinaryIO | None:
        """See `ports.Store.open`."""
        with _translated(key):
            try:
                return _open(self._root / key)
            except FileNotFoundError:
                return None

    def has(self, content: Content) -> bool:
        """See `ports.Store.has`: a file that long is."""
        with _translated(content.key):
            try:
                return (self._root / content.key).stat().st_size == content.length
            except FileNotFoundError:
                return False

    def keys(self) -> Iterator[str]:
        """See `ports.Store.keys`."""
        with _translated("the keys"):
            for folder in sorted(self._root.iterdir()) if self._root.exists() else ():
                if not folder.is_dir():
                    yield folder.name  # not ours; a check of the store names it
                elif folder.name not in NOT_OURS:
                    yield from sorted(f"{folder.name}/{file.name}" for file in folder.iterdir() if not file.is_dir())

    def sweep(self, older_than: float) -> int:
        """See `ports.Store.sweep`."""
        removed = 0
        for file in (self._root / INCOMING).glob("*"):
            with _translated(INCOMING), suppress(FileNotFoundError):  # published since the directory was read
                if file.stat().st_mtime <= older_than:
                    file.unlink()
                    removed += 1
        return removed

    def close(self) -> None:
        """See `ports.Store.close`."""

    def _link(self, source: Staged, target: Path) -> None:
        if source.path is None:
            raise OSError(errno.EXDEV, "the spool has no files", target.name)
        try:
            os.link(source.path, target)
        except FileNotFoundError:
            source.open().close()  # if that is what is missing, it says so
            make_directory(target.parent, 0o755)
            os.link(source.path, target)

    def _compare(self, content: Content, target: Path, source: BinaryIO) -> None:
        with _open(target) as file:
            if os.path.sameopenfile(source.fileno(), file.fileno()):
                return  # our own earlier try
            if os.fstat(file.fileno()).st_size != content.length or hash_file_chunked(file) != content.sha256:
                raise Conflict(f"other content is stored under {content.key}")

    def _copy(self, content: Content, target: Path, source: BinaryIO) -> None:
        make_directory(target.parent, 0o755)
        make_directory(self._root / INCOMING, 0o700)
        incoming = self._root / INCOMING / secrets.token_hex(16)
        try:
            with incoming.open("xb") as copy:
                shutil.copyfileobj(source, copy, READ)
                copy.flush()
                sync_file(copy.fileno())
            with incoming.open("rb") as copy:
                if hash_file_chunked(copy) != content.sha256:
                    raise StoreDown(f"the copy of {content.key} is not what was received")
                try:
                    os.link(incoming, target)
                except FileExistsError:
                    self._compare(content, target, copy)
        finally:
            incoming.unlink(missing_ok=True)


def _open(path: Path) -> BinaryIO:
    """Open an object, and nothing that somebody else put in its place: a link could lead out, a pipe never answers."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    file = os.fdopen(descriptor, "rb", buffering=0)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        file.close()
        raise StoreDown(f"{path} is not a file")
    return file


@contextmanager
def _translated(key: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise NoSpace from error
        raise StoreDown(f"{key}: {error}") from error

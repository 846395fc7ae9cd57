"""How a content is cut into parts, and how one part of its source is read.

Owns the arithmetic of parts and the bounded reader. Must not know a client. Invariant: all parts but the last are
equal (R2 wants that), and at most `READ` bytes of each are in memory.
"""

import base64
import hashlib
import os
from collections.abc import Mapping
from typing import BinaryIO

from msgspec import Struct

from tusplyr.core.errors import BytesLost, SpoolDown, Suspended
from tusplyr.ports import Halted
from tusplyr.stores.s3_options import MIB

MOST = 10_000  # parts that S3 and R2 take
READ = MIB  # bytes of one read


def part_size(length: int, preferred: int) -> int:
    """Return the bytes of every part but the last: `preferred`, or as many whole MiB as `MOST` parts need."""
    return preferred if length <= MOST * preferred else -(-length // (MOST * MIB)) * MIB


def part_count(length: int, size: int) -> int:
    """Return how many parts there are."""
    return max(1, -(-length // size))


def composite(parts: Mapping[int, str]) -> str:
    """Return the ETag that an object of these parts has, without quotes; empty where theirs are not MD5s."""
    try:
        digests = b"".join(bytes.fromhex(parts[number].strip('"')) for number in sorted(parts))
    except ValueError:
        return ""
    return f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"


def heed(halted: Halted) -> None:
    """Go no further once that is asked for."""
    if halted():
        raise Suspended("publishing was asked to stop")


class Digests(Struct, frozen=True):
    """What a window holds, in two words: MD5 as `Content-MD5` wants it, SHA-256 in hex."""

    md5: str
    sha256: str

    @property
    def etag(self) -> str:
        """The ETag, without quotes, of an object that is this and was written in one request."""
        return base64.b64decode(self.md5).hex()


class Window:
    """Some bytes of an open file, as a file for the client to send. One thread."""

    def __init__(self, file: BinaryIO, start: int, length: int, halted: Halted) -> None:
        self._file = file
        self._start = start
        self._length = length
        self._halted = halted
        self._at = 0
        self.seek(0)

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, not more than `READ`; none at the end.

        Raises:
            Suspended: it was asked for.
            BytesLost: the file ends before the window.
        """
        rest = self._length - self._at
        want = min(rest, READ, size if size >= 0 else READ)
        if want <= 0:
            return b""
        heed(self._halted)
        try:
            data = self._file.read(want)
        except OSError as error:
            raise SpoolDown(f"the staged bytes cannot be read: {error}") from error
        if not data:
            raise BytesLost(f"the staged bytes end {rest} bytes early")
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move within the window; return where it is now."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._length}[whence]
        self._at = base + offset
        self._file.seek(self._start + self._at)
        return self._at

    def tell(self) -> int:
        """Return where in the window it is."""
        return self._at

    def digests(self, *, sha256: bool = False) -> Digests:
        """Read it all and return what it holds, SHA-256 only where wanted; be at its start again."""
        md5, sha = hashlib.md5(usedforsecurity=False), hashlib.sha256()
        self.seek(0)
        while data := self.read():
            md5.update(data)
            if sha256:
                sha.update(data)
        self.seek(0)
        return Digests(base64.b64encode(md5.digest()).decode(), sha.hexdigest())

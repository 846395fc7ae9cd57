"""Reading an object of an S3 store as a file.

Owns the one response that is open. Must not know buckets. Invariant: a reader sees one object from end to end, or an
error: each request names the ETag that the first answer had.
"""

import io
import os
from typing import Any

from tusplyr.core.errors import StoreDown
from tusplyr.stores.s3_client import Found, S3Client
from tusplyr.stores.s3_errors import BROKEN, Taken
from tusplyr.stores.s3_parts import READ


class S3Object(io.RawIOBase):
    """A seekable raw file over ranged requests. One thread."""

    def __init__(self, client: S3Client, key: str, found: Found) -> None:
        super().__init__()
        self._client = client
        self._key = key
        self._found = found
        self._at = 0
        self._body: Any = None  # open at `_at`

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move; nothing is asked for before the next read."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._found.length}[whence]
        if base + offset < 0:
            raise ValueError(f"there is nothing at {base + offset}")
        if base + offset != self._at:
            self._let_go()
            self._at = base + offset
        return self._at

    def tell(self) -> int:
        """Return where it is."""
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        """Fill some of a buffer, `READ` bytes at most; nothing at the end. What breaks off is asked for once more."""
        with memoryview(buffer).cast("B") as view:
            want = min(len(view), READ, max(0, self._found.length - self._at))
            data = (self._next(want) or self._next(want, last=True)) if want else b""
            view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def readall(self) -> bytes:
        """Return the rest. For tests and small objects: it is all in memory."""
        data = bytearray()
        while some := self.read(READ):
            data += some
        return bytes(data)

    def close(self) -> None:
        """Close the response. Idempotent."""
        self._let_go()
        super().close()

    def _next(self, want: int, *, last: bool = False) -> bytes:
        why: object = "it ended"
        try:
            if self._body is None:
                self._body = self._client.get(self._key, self._at, self._found.etag)
            if data := self._body.read(want):
                return bytes(data)
        except Taken as error:
            raise StoreDown(f"{self._client.name(self._key)}: it was changed while it was read") from error
        except BROKEN as error:
            why = error
        self._let_go()
        if last:
            raise StoreDown(
                f"{self._client.name(self._key)}: reading broke off at {self._at} of {self._found.length} bytes: {why}"
            )
        return b""

    def _let_go(self) -> None:
        body, self._body = self._body, None
        if body is not None:
            body.close()

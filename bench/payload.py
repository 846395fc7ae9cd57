"""The bytes that are uploaded.

Owns one random block, made once per run and sent again and again, and the digest of what that gives.
Must not know sockets or servers. Invariant: two payloads never have equal content (the last 16 bytes
differ), so that no server can take a short cut for content that it already has.
"""

import hashlib
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

PERIOD = 8 * MIB  # the largest single write of any case
MARK = 16  # bytes at the end that make a payload unlike any other

_serial = itertools.count(1)


@cache
def block() -> memoryview:
    """Return the random block that every payload repeats."""
    return memoryview(os.urandom(PERIOD))


@cache
def _common(length: int) -> "hashlib._Hash":
    digest = hashlib.sha256()
    for at in range(0, length - MARK, PERIOD):
        digest.update(block()[: min(PERIOD, length - MARK - at)])
    return digest


@dataclass(frozen=True, slots=True)
class Payload:
    """Content of `length` bytes that ends in `mark`."""

    length: int
    mark: bytes

    def pieces(self, start: int, stop: int, size: int) -> Iterator[memoryview]:
        """Yield the bytes from `start` to `stop` in writes of at most `size` bytes."""
        whole = block()
        at, end = start, min(stop, self.length - MARK)
        while at < end:
            inside = at % PERIOD
            count = min(size, PERIOD - inside, end - at)
            yield whole[inside : inside + count]
            at += count
        if stop > self.length - MARK:
            yield memoryview(self.mark)[max(0, at - end) :]

    def sha256(self) -> bytes:
        """Return the digest of the whole; the long common part is hashed once per length."""
        digest = _common(self.length).copy()
        digest.update(self.mark)
        return digest.digest()


def payload(length: int) -> Payload:
    """Return new content of `length` bytes (at least `MARK`)."""
    return Payload(length, next(_serial).to_bytes(8, "big") + os.urandom(MARK - 8))

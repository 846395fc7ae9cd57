"""Checksums of one request's body, as opposed to the digest of a whole upload.

Owns which algorithms there are. Must not know headers or when a body is verified. Invariant: an algorithm that is
offered can be computed here: some builds of OpenSSL leave out MD5.
"""

import hashlib
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from hashlib import _Hash

ALGORITHMS = tuple(
    name for name in ("sha256", "sha1", "sha512", "md5") if name in hashlib.algorithms_available
)  # in the order of preference


class Checksum(Struct, frozen=True):
    """What the bytes of a body must come to.

    Attributes:
        algorithm: one of `ALGORITHMS`.
        digest: raw.
    """

    algorithm: str
    digest: bytes


def running(algorithm: str) -> "_Hash":
    """Return a hash that was fed nothing. It guards against accidents, not against people."""
    return hashlib.new(algorithm, usedforsecurity=False)

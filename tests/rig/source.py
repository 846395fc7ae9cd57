"""Files that clients send: noise that compresses to nothing smaller, under a head that names its kind."""

import hashlib
import random
import struct
from pathlib import Path
from typing import NamedTuple

PIECE = 1 << 20


class Source(NamedTuple):
    """One file that is to arrive.

    Attributes:
        path: where it is.
        length: in bytes.
        sha256: of all of it, in hexadecimal.
    """

    path: Path
    length: int
    sha256: str


def write_wav(path: Path, length: int, seed: int = 1) -> Source:
    """Write a WAV with `length` bytes of noise, a piece at a time."""
    noise, digest = random.Random(seed), hashlib.sha256()
    rate, channels, width = 44_100, 2, 2
    frame = channels * width
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, rate * frame, frame, 8 * width)
    head = struct.pack("<4sI4s", b"RIFF", 36 + length, b"WAVE") + form + struct.pack("<4sI", b"data", length)
    with path.open("wb") as file:
        digest.update(head)
        file.write(head)
        for at in range(0, length, PIECE):
            piece = noise.randbytes(min(PIECE, length - at))
            digest.update(piece)
            file.write(piece)
    return Source(path, len(head) + length, digest.hexdigest())


def write_nothing(path: Path) -> Source:
    """Write an empty file."""
    path.touch()
    return Source(path, 0, hashlib.sha256().hexdigest())

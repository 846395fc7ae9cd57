"""The running SHA-256 of an upload, and the hash of a whole file.

Owns how a digest is fed, saved and continued. Must not know where bytes or saved states are kept.
`hashlib` cannot save its state, so there are two providers: the SHA-256 of the libcrypto that Python
itself has loaded, whose context is plain memory, and `rehashes`, which is slower since it keeps the
GIL. The first is used when it proves itself at start-up (`best_provider`). Invariant: a state is
tagged with its provider and its byte count, and one that does not fit is refused, never interpreted:
reading the bytes again is always possible, so correctness never depends on a saved state.
"""

import _hashlib
import ctypes
import hashlib
import struct
from typing import BinaryIO, Protocol

import rehashes

READ = 8 * 1024 * 1024  # bytes per read of `hash_file_chunked`
_KNOWN = (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")  # FIPS 180-4, appendix B.1


class StateMismatch(Exception):
    """A saved state belongs to another provider, another version or another offset."""


class RunningDigest(Protocol):
    """A SHA-256 that can stop here and go on in another process."""

    @property
    def count(self) -> int:
        """Bytes fed so far."""

    def update(self, view: memoryview) -> None:
        """Feed the bytes of a writable, contiguous view. Releases the GIL where the provider can."""

    def save(self) -> bytes:
        """Return a tagged state from which `Provider.restore` continues."""

    def fork(self) -> "RunningDigest":
        """Return an independent copy at this point."""

    def hexdigest(self) -> str:
        """Return the digest of what was fed so far; feeding may go on."""


class Provider(Protocol):
    """Makes running digests."""

    tag: bytes

    def new(self) -> RunningDigest:
        """Return a digest of nothing."""

    def restore(self, state: bytes, count: int) -> RunningDigest:
        """Return the digest that was saved after `count` bytes.

        Raises:
            StateMismatch: the state is not of this provider, or not of this count.
        """


class LibcryptoProvider:
    """SHA-256 of the libcrypto behind `hashlib`: no copy, no GIL, and 112 bytes of state.

    Raises:
        OSError, AttributeError: this Python does not expose the functions.
    """

    def __init__(self) -> None:
        library = ctypes.CDLL(_hashlib.__file__)
        self.init, self.feed, self.final = library.SHA256_Init, library.SHA256_Update, library.SHA256_Final
        self.init.argtypes = [ctypes.c_void_p]
        self.feed.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
        self.final.argtypes = [ctypes.c_char_p, ctypes.c_void_p]
        # The context's layout has not changed since OpenSSL 0.9.7; a new minor version still starts afresh.
        self.tag = b"libcrypto-%x" % (library.OpenSSL_version_num() >> 20)

    def new(self) -> RunningDigest:
        """See `Provider.new`."""
        context = ctypes.create_string_buffer(LibcryptoDigest.SIZE)
        self.init(context)
        return LibcryptoDigest(self, context, 0)

    def restore(self, state: bytes, count: int) -> RunningDigest:
        """See `Provider.restore`."""
        raw = _untag(self.tag, state, count)
        if len(raw) != LibcryptoDigest.SIZE:
            raise StateMismatch
        return LibcryptoDigest(self, ctypes.create_string_buffer(raw, LibcryptoDigest.SIZE), count)


class LibcryptoDigest:
    """See `LibcryptoProvider`."""

    SIZE = 112  # sizeof(SHA256_CTX), the same on every platform that OpenSSL 1.0 to 3 builds for

    def __init__(self, library: LibcryptoProvider, context: "ctypes.Array[ctypes.c_char]", count: int) -> None:
        self._library = library
        self._context = context
        self.count = count

    def update(self, view: memoryview) -> None:
        """See `RunningDigest.update`."""
        if view.nbytes:
            first = ctypes.c_char.from_buffer(view)  # never an array type: ctypes keeps one per length for ever
            self._library.feed(self._context, ctypes.byref(first), view.nbytes)
            self.count += view.nbytes

    def save(self) -> bytes:
        """See `RunningDigest.save`."""
        return _tagged(self._library.tag, self.count, self._context.raw)

    def fork(self) -> RunningDigest:
        """See `RunningDigest.fork`."""
        return LibcryptoDigest(self._library, ctypes.create_string_buffer(self._context.raw, self.SIZE), self.count)

    def hexdigest(self) -> str:
        """See `RunningDigest.hexdigest`."""
        spent = ctypes.create_string_buffer(self._context.raw, self.SIZE)
        result = ctypes.create_string_buffer(32)
        self._library.final(result, spent)
        return result.raw.hex()


class RehashesProvider:
    """SHA-256 of the `rehashes` package: works everywhere, takes a copy and keeps the GIL."""

    tag = b"rehashes-1"

    def new(self) -> RunningDigest:
        """See `Provider.new`."""
        return RehashesDigest(rehashes.PySha256(), 0)

    def restore(self, state: bytes, count: int) -> RunningDigest:
        """See `Provider.restore`."""
        raw = _untag(self.tag, state, count)
        try:
            return RehashesDigest(rehashes.PySha256.deserialize(raw), count)
        except ValueError:
            raise StateMismatch from None


class RehashesDigest:
    """See `RehashesProvider`."""

    def __init__(self, inner: "rehashes.PySha256", count: int) -> None:
        self._inner = inner
        self.count = count

    def update(self, view: memoryview) -> None:
        """See `RunningDigest.update`."""
        self._inner.update(bytes(view))
        self.count += view.nbytes

    def save(self) -> bytes:
        """See `RunningDigest.save`."""
        return _tagged(RehashesProvider.tag, self.count, self._inner.serialize())

    def fork(self) -> RunningDigest:
        """See `RunningDigest.fork`."""
        return RehashesDigest(rehashes.PySha256.deserialize(self._inner.serialize()), self.count)

    def hexdigest(self) -> str:
        """See `RunningDigest.hexdigest`."""
        digest: str = rehashes.PySha256.deserialize(self._inner.serialize()).finalize()
        return digest


def best_provider() -> Provider:
    """Return the fastest provider that proves itself here: a known vector, then save, restore, continue."""
    try:
        provider = LibcryptoProvider()
        if _proves_itself(provider):
            return provider
    except (OSError, AttributeError):
        pass
    return RehashesProvider()


def _proves_itself(provider: Provider) -> bool:
    data, expected = _KNOWN
    first = provider.new()
    first.update(memoryview(bytearray(data[:1])))
    rest = provider.restore(first.save(), 1)
    rest.update(memoryview(bytearray(data[1:])))
    return rest.hexdigest() == expected


def _tagged(tag: bytes, count: int, raw: bytes) -> bytes:
    return struct.pack("<B", len(tag)) + tag + struct.pack("<Q", count) + raw


def _untag(tag: bytes, state: bytes, count: int) -> bytes:
    head = _tagged(tag, count, b"")
    if not state.startswith(head):
        raise StateMismatch
    return state[len(head) :]


def hash_file_chunked(file: BinaryIO, algorithm: str = "sha256") -> str:
    """Return the hex digest of a whole file, from its first byte whatever its position, and rewind it.

    Args:
        file: readable and seekable, opened in binary mode.
        algorithm: any name that `hashlib.new` knows.

    Reads 8 MiB at a time into one buffer, so memory does not grow with the file.

    Raises:
        ValueError: `hashlib` does not know the algorithm.
        OSError: the file could not be read.
    """
    digest = hashlib.new(algorithm)
    buffer = memoryview(bytearray(READ))
    file.seek(0)
    while count := file.readinto(buffer):  # type: ignore[attr-defined]  # every binary file that open() returns has it
        digest.update(buffer[:count])
    file.seek(0)
    return digest.hexdigest()

"""What the R2 double keeps, and R2's rules for it: objects, and multipart uploads that become objects.

Must not know requests, replies' text or sockets. Invariant: an object appears whole or not at all, under the rules of
R2: parts of one length, one write a second and key.
"""

import hashlib
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum

from msgspec import Struct, field

from rig.s3_wire import Blob, Refused, base64

ABORTS = "<Status>Enabled</Status><AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation>"
LIFECYCLE = (  # what a new bucket of R2 has
    "<LifecycleConfiguration><Rule><ID>Default Multipart Abort Rule</ID><Filter><Prefix></Prefix></Filter>"
    f"{ABORTS}</AbortIncompleteMultipartUpload></Rule></LifecycleConfiguration>"
)


class Condition(StrEnum):
    """What becomes of a condition."""

    HONOURED = "honoured"
    IGNORED = "ignored"
    REFUSED = "refused"  # 501, as other headers that are not known


class Object(Struct, kw_only=True):
    """One object: the bytes of its parts in order, and what was said of it."""

    blobs: list[Blob]
    etag: str
    headers: dict[str, str]
    checksum: tuple[str, str] | None  # algorithm and value
    modified: float

    @property
    def length(self) -> int:
        return sum(blob.length for blob in self.blobs)

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield these bytes of it."""
        begin = 0
        for blob in self.blobs:
            first, last = max(start - begin, 0), min(stop - begin, blob.length)
            if first < last:
                yield from blob.read(first, last)
            begin += blob.length


class Part(Struct, kw_only=True):
    """One part that waits for the others."""

    blob: Blob
    checksum: str | None
    modified: float

    @property
    def etag(self) -> str:
        return f'"{self.blob.md5.hex()}"'


class Multipart(Struct, kw_only=True):
    """One multipart upload that is neither completed nor aborted."""

    key: str
    headers: dict[str, str]
    algorithm: str | None  # of the checksums of its parts
    began: float
    upload_id: str = field(default_factory=lambda: secrets.token_urlsafe(48))
    parts: dict[int, Part] = field(default_factory=dict)


class Bucket(Struct, kw_only=True):
    """One bucket, by the names of what is in it."""

    objects: dict[str, Object] = field(default_factory=dict)
    multiparts: dict[str, Multipart] = field(default_factory=dict)
    cors: str | None = None
    lifecycle: str | None = LIFECYCLE
    written: dict[str, float] = field(default_factory=dict)  # when each key was last written


class Rules(Struct, kw_only=True):
    """R2's limits. Tests lower some of them to stay small, or lift them where they are about something else.

    Attributes:
        part_minimum: least bytes of a part that is not the last.
        write_pause: seconds between two writes of the same key.
        completion: what becomes of a condition on CompleteMultipartUpload. S3 honours it, R2 does not say.
        continues: whether `Expect: 100-continue` is answered before the body comes. R2 does not say that it does, and
            botocore then waits in vain: a second without TLS, for its read timeout with it (boto/botocore#3613).
        clock: Unix seconds.
    """

    part_minimum: int = 5 << 20
    write_pause: float = 1.0
    completion: Condition = Condition.IGNORED
    continues: bool = False
    clock: Callable[[], float] = time.time

    def write(self, bucket: Bucket, key: str, made: Object) -> None:
        """Put an object under its key."""
        bucket.objects[key] = made
        bucket.written[key] = time.monotonic()

    def admit(self, bucket: Bucket, key: str, conditions: Mapping[str, str]) -> None:
        """Let a write of a key pass, or raise `Refused`."""
        if time.monotonic() - bucket.written.get(key, float("-inf")) < self.write_pause:  # 10058
            raise Refused(429, "TooManyRequests", "Reduce your concurrent request rate for the same object.")
        present = bucket.objects.get(key)
        unwanted, wanted = conditions.get("if-none-match"), conditions.get("if-match")
        clash = present is not None and unwanted is not None and unwanted in {"*", present.etag}
        if clash or (wanted is not None and (present is None or wanted.strip('"') != present.etag.strip('"'))):
            raise Refused(412, "PreconditionFailed", "At least one of the preconditions you specified did not hold.")

    def assemble(self, upload: Multipart, wanted: list[tuple[int, str]]) -> Object:
        """Make the object of these parts (number, ETag), or raise `Refused`."""
        numbers = [number for number, _ in wanted]
        if not wanted or numbers != sorted(set(numbers)):
            raise Refused(400, "InvalidPartOrder", "The list of parts was not in ascending order.")
        for number, etag in wanted:
            if number not in upload.parts or upload.parts[number].etag.strip('"') != etag.strip('"'):  # 10025
                raise Refused(400, "InvalidPart", "One or more of the specified parts could not be found.")
        parts = [upload.parts[number] for number in numbers]
        lengths = [part.blob.length for part in parts]
        if any(length < self.part_minimum for length in lengths[:-1]):  # 10011
            raise Refused(
                400, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed object size."
            )
        if len(set(lengths[:-1])) > 1 or lengths[-1] > lengths[0]:  # 10048
            raise Refused(400, "InvalidPart", "All non-trailing parts must have the same length.")
        joined = hashlib.md5(b"".join(part.blob.md5 for part in parts)).hexdigest()
        checksum = None
        if upload.algorithm and all(part.checksum for part in parts):
            both = hashlib.sha256(b"".join(part.blob.sha256 for part in parts)).digest()
            checksum = (upload.algorithm, f"{base64(both)}-{len(parts)}")
        return Object(
            blobs=[part.blob for part in parts],
            etag=f'"{joined}-{len(parts)}"',
            headers=upload.headers,
            checksum=checksum,
            modified=self.clock(),
        )

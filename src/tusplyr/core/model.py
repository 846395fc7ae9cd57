"""The nouns: an upload, its status, what is known of its content.

Owns the shape of the facts that every room shares. Must not know who stores them, who asks for
them or what time it is. Invariant: every value here is frozen; a change is a new value that the
ledger accepted.
"""

from enum import StrEnum

from msgspec import Struct

FAILING_AFTER = 3  # failed attempts after which it is no passing trouble
STUCK_AFTER = 10  # failed attempts after which a person has to be told
MAX_INTEGER = 2**63 - 1  # what a ledger column can hold; a length above it exceeds every limit


class Status(StrEnum):
    """Where an upload is on its one-way road. Only `core.lifecycle` says what may follow what."""

    RECEIVING = "receiving"
    ASSEMBLING = "assembling"
    RECEIVED = "received"
    STORED = "stored"
    GONE = "gone"


class Kind(StrEnum):
    """What an upload is for. A partial one is never published: a final one is made of it and others."""

    WHOLE = "whole"
    PARTIAL = "partial"
    FINAL = "final"


class Reason(StrEnum):
    """Why an upload is gone."""

    TERMINATED = "terminated"
    EXPIRED = "expired"
    LOST = "lost"
    INVALID = "invalid"


class Media(Struct, frozen=True):
    """What the content is, decided once at creation from the file name and carried ever after.

    Attributes:
        folder: first part of the content key: ``audio``, ``images`` or ``files``.
        extension: with its dot and in lower case (``.wav``), or empty.
        media_type: what a download of the content is labelled with.
    """

    folder: str
    extension: str
    media_type: str

    def key(self, file_id: str) -> str:
        """Return the content key, e.g. ``audio/0123456789abcdef.wav``."""
        return f"{self.folder}/{file_id}{self.extension}"


class Upload(Struct, frozen=True, kw_only=True):
    """One row of the ledger: everything that has been acknowledged about an upload.

    Attributes:
        id: 32 lower-case hex digits of randomness; says nothing.
        status: see `Status`.
        epoch: rises with every change of status; a change made under an older epoch is refused.
        length: bytes promised; None where the client has not said it yet.
        offset: bytes durable and acknowledged; never decreases.
        metadata: the client's description, byte for byte as it was sent; None when there was none.
        media: see `Media`.
        created_at: Unix seconds.
        updated_at: Unix seconds of the last change.
        digest: saved state of the running digest at `offset`; None means: read the spool again.
        sha256: hex digest of the whole content, once all of it was received.
        attempts: how often publishing has failed.
        due_at: Unix seconds before which publishing is not tried again.
        error: what the last failed attempt said, for the operator.
        reason: why it is gone, when it is.
        declared: hex digest that the client says the whole content has; None where it says nothing.
        kind: see `Kind`.
        partials: ids of the uploads that a final one is made of, in order; the same one may be there more than once.
        concat: how the client put that, byte for byte as it was sent; None where it is neither partial nor final.
    """

    id: str
    length: int | None
    media: Media
    created_at: float
    updated_at: float
    status: Status = Status.RECEIVING
    epoch: int = 0
    offset: int = 0
    metadata: bytes | None = None
    digest: bytes | None = None
    sha256: str | None = None
    attempts: int = 0
    due_at: float = 0.0
    error: str | None = None
    reason: Reason | None = None
    declared: str | None = None
    kind: Kind = Kind.WHOLE
    partials: tuple[str, ...] = ()
    concat: bytes | None = None

    @property
    def complete(self) -> bool:
        """All the bytes that were promised are here."""
        return self.offset == self.length

    @property
    def whole_at(self) -> int | None:
        """Offset at which the upload is received whole, to be published; None for a partial one, or if not known."""
        return None if self.kind is Kind.PARTIAL else self.length

    @property
    def stuck(self) -> bool:
        """It waits to be published or assembled, and that has failed so often that a person should look at it."""
        return self.status in {Status.ASSEMBLING, Status.RECEIVED} and self.attempts >= STUCK_AFTER

    @property
    def file_id(self) -> str | None:
        """First 16 hex digits of the SHA-256 of the content; None until all of it was received."""
        return self.sha256[:16] if self.sha256 else None

    @property
    def key(self) -> str | None:
        """Where the content is or will be published; None until all of it was received."""
        return self.media.key(self.file_id) if self.file_id else None


class Content(Struct, frozen=True):
    """A content that was published. Outlives the row of the upload that brought it.

    Attributes:
        key: where it is, e.g. ``audio/0123456789abcdef.wav``.
        sha256: hex digest of all of it.
        length: bytes.
    """

    key: str
    sha256: str
    length: int


class Place(Struct, frozen=True):
    """Where content is published, in the words of `Settings.place`; written down when a server starts.

    Attributes:
        current: where the server publishes to.
        former: where it did before, and what was published then may still be; None where it never did elsewhere.
        since: when the one took the place of the other (Unix seconds); 0 for the first.
    """

    current: str
    former: str | None = None
    since: float = 0.0


class Backlog(Struct, frozen=True):
    """The uploads that wait to be published or assembled.

    Attributes:
        waiting: how many.
        stuck: how many of them are (`Upload.stuck`).
        since: when the oldest of them was created (Unix seconds); None where there is none.
        failing: how many have failed `FAILING_AFTER` times or more, those that are stuck among them.
    """

    waiting: int = 0
    stuck: int = 0
    since: float | None = None
    failing: int = 0

"""The values of a request, in order: head, command, outcome, reply.

Owns the shapes that pass between `web`, `dialects` and `engine`. Must not know any protocol's
spelling. Invariant: a dialect makes a command from a head and a reply from an outcome, and the
engine makes the outcome from the command, so neither has to know the other.
"""

from collections.abc import Callable

from msgspec import Struct

from tusplyr.core.checksum import Checksum
from tusplyr.core.headers import Headers
from tusplyr.core.media import OTHER
from tusplyr.core.model import Media, Upload

Expected = Callable[[], Checksum]


class Head(Struct, frozen=True):
    """What a request says before its body.

    Attributes:
        method: the effective method, after any override.
        headers: see `core.headers.Headers`.
    """

    method: str
    headers: Headers


class Create(Struct, frozen=True, kw_only=True):
    """Make an upload, and append to it when `append` is there.

    Attributes:
        length: bytes promised; None where the client will say it later.
        metadata: the description as it was sent, to be echoed byte for byte.
        media: what the content is.
        declared: hex SHA-256 that the whole content shall have.
        concat: a final upload is to be made of it; as the client put that.
        append: the request's own body counts as the first append.
        body_length: bytes the body says it has; None when it is chunked.
        checksum: what the body must come to.
        expected: returns the same once the end of the body has been seen, for a checksum that comes behind it; raises
            what that deserves.
    """

    length: int | None
    metadata: bytes | None = None
    media: Media = OTHER
    declared: str | None = None
    concat: bytes | None = None
    append: bool = False
    body_length: int | None = 0
    checksum: Checksum | None = None
    expected: Expected | None = None


class Concatenate(Struct, frozen=True, kw_only=True):
    """Make an upload of others that are complete.

    Attributes:
        partials: their ids, in order.
        length: bytes they come to, where the client says so.
        concat: how the client named them, byte for byte.
        key: the client's word for this request, where it wants the same one twice to be two uploads.
        metadata: as in `Create`.
        media: as in `Create`.
        declared: as in `Create`.
    """

    partials: tuple[str, ...]
    length: int | None = None
    concat: bytes
    key: str | None = None
    metadata: bytes | None = None
    media: Media = OTHER
    declared: str | None = None


class Append(Struct, frozen=True, kw_only=True):
    """Add a body to an upload.

    Attributes:
        offset: where the client believes the upload ends.
        body_length: bytes the body says it has; None when it is chunked.
        length: bytes of the whole upload, where the request says so.
        checksum: what the body must come to.
        expected: see `Create`.
    """

    offset: int
    body_length: int | None
    length: int | None = None
    checksum: Checksum | None = None
    expected: Expected | None = None


class Created(Struct, frozen=True):
    """The upload exists, with whatever of the body was kept."""

    upload: Upload


class Appended(Struct, frozen=True):
    """The body was kept whole."""

    upload: Upload


class Found(Struct, frozen=True):
    """The durable state of an upload."""

    upload: Upload


class Terminated(Struct, frozen=True):
    """The upload is no more."""


Outcome = Created | Appended | Found | Terminated


class Reply(Struct, frozen=True):
    """What goes back.

    Attributes:
        status: HTTP status.
        headers: names and values that are safe to send.
        body: short text for a person; empty on success and on HEAD.
        close: end the connection after it.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    close: bool = False

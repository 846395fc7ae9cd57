"""Everything that can be said no to, and how.

Owns the tree of errors. Must not know how a protocol spells them: each carries a stable `code`, a
`status` that is a hint for dialects, and the facts that a client can act on. Invariant: the text of
a `Refused` or `Unavailable` is written for the client and holds nothing internal; the text of a
`Broken` is for the log alone.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar


class TusplyrError(Exception):
    """Root of the tree.

    Attributes:
        upload_id: the upload that a request was about to make, for the log; None where its address names one or none.
    """

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    upload_id: str | None = None


@contextmanager
def about(upload_id: str) -> Iterator[None]:
    """Let whoever logs what goes wrong with a new upload say with which one."""
    try:
        yield
    except TusplyrError as error:
        error.upload_id = upload_id
        raise


class Refused(TusplyrError):
    """The request is wrong; sending it again will not help."""

    code = "refused"
    status = 400


class BadHeader(Refused):
    """A header is missing, malformed or contradicts another."""

    code = "bad_header"


class WrongVersion(Refused):
    """The client speaks a version of the protocol that this server does not."""

    code = "wrong_version"
    status = 412


class WrongType(Refused):
    """The body is not labelled as bytes of an upload."""

    code = "wrong_type"
    status = 415


class NotFound(Refused):
    """There is no such upload, or not any more."""

    code = "not_found"
    status = 404

    def __init__(self) -> None:
        super().__init__("There is no upload at this address.")


class Gone(Refused):
    """There was such an upload; it expired, or its bytes are lost."""

    code = "gone"
    status = 410

    def __init__(self, why: str = "The bytes of this upload are gone") -> None:
        super().__init__(f"{why}; create a new one.")


class MethodNotAllowed(Refused):
    """This address does not answer that method."""

    code = "method_not_allowed"
    status = 405

    def __init__(self, allow: tuple[str, ...]) -> None:
        super().__init__(f"This address answers {', '.join(allow)} only.")
        self.allow = allow


class Unauthorized(Refused):
    """The bearer token is missing or wrong."""

    code = "unauthorized"
    status = 401

    def __init__(self) -> None:
        super().__init__("A valid bearer token is required.")


class Forbidden(Refused):
    """This cannot be done to this kind of upload."""

    code = "forbidden"
    status = 403


class BadPartial(Refused):
    """One of the uploads that are to be concatenated cannot be."""

    code = "bad_partial"


class OffsetMismatch(Refused):
    """The body does not start where the upload ends."""

    code = "offset_mismatch"
    status = 409

    def __init__(self, expected: int, given: int) -> None:
        super().__init__(f"The upload is at {expected} bytes; this request starts at {given}.")
        self.expected = expected
        self.given = given


class LengthFixed(Refused):
    """The length of the upload was promised already, or is behind what has arrived."""

    code = "length_fixed"


class TooLarge(Refused):
    """More bytes than were promised, or than are allowed."""

    code = "too_large"
    status = 413


class ChecksumMismatch(Refused):
    """The body is not what its checksum says; none of it was kept."""

    code = "checksum_mismatch"
    status = 460

    def __init__(self) -> None:
        super().__init__("The body does not match its checksum; none of it was kept. Send it again.")


class DigestMismatch(Refused):
    """The content is not the one that was declared; the upload is gone."""

    code = "digest_mismatch"
    status = 460

    def __init__(self) -> None:
        super().__init__("The content does not have the digest that was declared; create the upload again.")


class NotReady(Refused):
    """The content is not stored yet, so it cannot be read."""

    code = "not_ready"
    status = 409
    retry_after = 1

    def __init__(self) -> None:
        super().__init__("The content is not stored yet; try again later.")


class Conflict(Refused):
    """Other content is stored under the same content key; nothing is ever overwritten."""

    code = "conflict"
    status = 409


class Stopped(TusplyrError):
    """The body was ended by the server before its end was seen; what arrived was kept."""

    code = "stopped"
    status = 503


class Interrupted(Stopped):
    """A newer request for the same upload took over."""

    code = "interrupted"
    status = 400

    def __init__(self) -> None:
        super().__init__("A newer request took over this upload.")


class Silent(Stopped):
    """Nothing arrived for the idle timeout."""

    code = "silent"

    def __init__(self) -> None:
        super().__init__("Nothing arrived for too long; what did arrive is kept. Continue from the offset.")


class ShuttingDown(Stopped):
    """The server is about to stop."""

    code = "shutting_down"

    def __init__(self) -> None:
        super().__init__("The server is restarting; what arrived is kept. Continue from the offset.")


class Cut(TusplyrError):
    """The peer is gone, or its framing broke, before the end of the body was seen. Not an error of ours."""

    code = "cut"
    status = 400


class Unavailable(TusplyrError):
    """The request is fine and can be sent again later."""

    code = "unavailable"
    status = 503
    retry_after = 1


class Busy(Unavailable):
    """Another request holds the upload and did not let go in time."""

    code = "busy"
    status = 423

    def __init__(self) -> None:
        super().__init__("Another request is using this upload; try again in a second.")


class Crowded(Unavailable):
    """As much of this is waiting already as may wait."""

    code = "crowded"

    def __init__(self) -> None:
        super().__init__("Too many uploads are being put together already; try again later.")


class NoSpace(Unavailable):
    """The volume is down to its reserve."""

    code = "no_space"
    status = 507
    retry_after = 60

    def __init__(self) -> None:
        super().__init__("The server has no space left for more bytes; what was acknowledged is kept.")


class Superseded(TusplyrError):
    """A conditional change of the ledger found the row changed by somebody else."""

    code = "superseded"
    status = 409

    def __init__(self) -> None:
        super().__init__("The upload was changed by another request.")


class Broken(TusplyrError):
    """Ours. The client reads a fixed text; the cause goes to the log with the upload id."""

    code = "broken"


class BytesLost(Broken):
    """The spool holds fewer bytes than were acknowledged."""

    code = "bytes_lost"
    status = 410


class LedgerDown(Broken):
    """The ledger could not answer or could not commit."""

    code = "ledger_down"
    status = 503


class SpoolDown(Broken):
    """The spool could not be read or written."""

    code = "spool_down"
    status = 503


class Suspended(TusplyrError):
    """Publishing was asked to stop; it is gone on with later. Not an error."""

    code = "suspended"
    status = 503


class StoreDown(Broken):
    """The store could not be reached, read or written.

    Attributes:
        retry_after: seconds in which it wants to be left alone; None where it did not say.
    """

    code = "store_down"
    status = 503

    def __init__(self, text: str, retry_after: int | None = None) -> None:
        super().__init__(text)
        self.retry_after = retry_after

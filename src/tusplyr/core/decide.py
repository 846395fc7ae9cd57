"""The rules: may this command happen to this upload?

Owns every yes and no about lengths, offsets and statuses. Pure: whoever decides does not act.
Must not know headers, replies or storage. Invariant: each function returns what the engine needs
to act, or raises from `core.errors` before anything was read or written.
"""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from tusplyr.core.checksum import ALGORITHMS
from tusplyr.core.commands import Append, Concatenate, Create
from tusplyr.core.errors import (
    BadPartial,
    DigestMismatch,
    Forbidden,
    Gone,
    LengthFixed,
    NotFound,
    OffsetMismatch,
    TooLarge,
)
from tusplyr.core.model import Kind, Reason, Status, Upload

GONE = {
    Reason.EXPIRED: "This upload has expired",
    Reason.INVALID: "The content did not have the digest that was declared",
    Reason.LOST: "The bytes of this upload are lost",
}


class Limits(Struct, frozen=True):
    """What an operator allows.

    Attributes:
        max_length: bytes of the longest upload; None for no limit.
        expire_after: seconds without progress after which an unfinished upload expires; None for never.
        algorithms: checksums of bodies that are verified; none: a body with a checksum is refused.
        forget: an upload that is gone is answered like one that never was.
    """

    max_length: int | None = None
    expire_after: float | None = None
    algorithms: tuple[str, ...] = ALGORITHMS
    forget: bool = False


def expires_at(upload: Upload, limits: Limits) -> float | None:
    """Return when an upload expires unless more of it arrives (Unix seconds); None for never."""
    if limits.expire_after is None or upload.status is not Status.RECEIVING:
        return None
    return upload.updated_at + limits.expire_after


def present(upload: Upload | None, limits: Limits, now: float | None = None) -> Upload:
    """Return the upload if a client may still address it.

    Args:
        upload: the row, if there is one.
        limits: see there.
        now: Unix seconds; None while a body of it is being received, under which it does not expire.

    Raises:
        NotFound: there is none, or it was terminated.
        Gone: it has expired, whether or not the sweep has been here; or its bytes were lost.
    """
    if upload is None or upload.reason is Reason.TERMINATED:
        raise NotFound
    deadline = expires_at(upload, limits)
    overdue = now is not None and deadline is not None and now >= deadline
    reason = Reason.EXPIRED if overdue else upload.reason
    if reason is None:
        return upload
    raise NotFound if limits.forget else Gone(GONE[reason])


def promise(length: int, limits: Limits) -> None:
    """Allow or refuse the length of an upload.

    Raises:
        TooLarge: it is more than the limit.
    """
    if limits.max_length is not None and length > limits.max_length:
        raise TooLarge(f"An upload may have {limits.max_length} bytes at the most.")


def create(command: Create, limits: Limits) -> None:
    """Allow or refuse a new upload.

    Raises:
        TooLarge: it promises more than the limit, or its body is longer than its promise.
    """
    if command.length is not None:
        promise(command.length, limits)
    if command.append:
        _fits(0, command.body_length, command.length if command.length is not None else limits.max_length)


def appendable(upload: Upload) -> None:
    """Allow or refuse to append to an upload at all.

    Raises:
        Forbidden: it is made of others.
    """
    if upload.kind is Kind.FINAL:
        raise Forbidden("This upload is made of others; nothing can be added to it.")


def published(upload: Upload) -> None:
    """Allow or refuse to ask for the content of an upload.

    Raises:
        Forbidden: it never has one.
    """
    if upload.kind is Kind.PARTIAL:
        raise Forbidden("A final upload is made of this one; that alone can be downloaded.")


def concatenate(command: Concatenate, partials: Sequence[Upload], limits: Limits) -> int:
    """Return how long the concatenation of these uploads is, which are there.

    Raises:
        BadPartial: one of them is not partial, or not complete; or they are not as long as was said.
        TooLarge: together they are more than the limit.
    """
    total = 0
    for number, upload in enumerate(partials, 1):
        if upload.kind is not Kind.PARTIAL:
            raise BadPartial(f"Upload {number} of {len(partials)} was not created as partial.")
        if not upload.complete:
            raise BadPartial(f"Upload {number} of {len(partials)} is not complete.")
        total += upload.offset
    if command.length not in {None, total}:
        raise BadPartial(f"These uploads have {total} bytes together, and not {command.length}.")
    promise(total, limits)
    return total


def promised(upload: Upload, command: Append, limits: Limits) -> Upload:
    """Return the upload with the length that an append says it has. Nothing is recorded by that.

    Raises:
        LengthFixed: another length was promised before, or more than that is here already.
        TooLarge: it is more than the limit.
    """
    if command.length is None or command.length == upload.length:
        return upload
    if upload.length is not None:
        raise LengthFixed(f"This upload was promised {upload.length} bytes, and that does not change.")
    if command.length < upload.offset:
        raise LengthFixed(f"This upload has {upload.offset} bytes already; it cannot be {command.length} long.")
    promise(command.length, limits)
    return replace(upload, length=command.length)


def append(upload: Upload, command: Append, limits: Limits) -> Upload:
    """Return the upload as the body will be received: with its length, if that is known by now.

    Raises:
        LengthFixed, TooLarge: see `promised`.
        OffsetMismatch: the client is wrong about where the upload ends.
        TooLarge: the body says that it is longer than what is missing, or than is allowed.
    """
    upload = promised(upload, command, limits)
    if command.offset != upload.offset:
        raise OffsetMismatch(upload.offset, command.offset)
    _fits(upload.offset, command.body_length, end(upload, limits))
    return upload


def end(upload: Upload, limits: Limits) -> int | None:
    """Return the offset that no body may pass; None where there is no such thing."""
    return limits.max_length if upload.length is None else upload.length


def admit(at: int, end: int | None) -> None:
    """Allow or refuse a body that, as read so far, ends at `at`; for bodies that do not say how long they are.

    Raises:
        TooLarge: it passes the `end` of the upload.
    """
    if end is not None and at > end:
        raise TooLarge("The body is longer than what this upload has left; the source has changed or is not the same.")


def settle(upload: Upload, offset: int) -> Status:
    """Return the status of an upload whose durable offset is `offset`, the end of the body having been seen."""
    return Status.RECEIVED if offset == upload.whole_at else upload.status


def confirm(upload: Upload, sha256: str) -> None:
    """Allow or refuse the digest that the whole content turned out to have.

    Raises:
        DigestMismatch: another one was declared.
    """
    if upload.declared not in {None, sha256}:
        raise DigestMismatch


def _fits(offset: int, body_length: int | None, end: int | None) -> None:
    if body_length is not None and end is not None and offset + body_length > end:
        raise TooLarge(f"The body has {body_length} bytes; this upload has {end - offset} left.")

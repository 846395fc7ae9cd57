"""tus 1.0: https://tus.io/protocols/resumable-upload, version 1.0.0 of 2016-03-25.

Owns how tus spells everything: header names, media type, statuses, extensions. Must not know bodies,
storage or any other protocol. Invariant: each function is pure, and nothing outside this file and
`core.headers` names a header of tus.
"""

import re
from collections.abc import Callable
from email.utils import formatdate
from functools import partial

from tusplyr.core import decide
from tusplyr.core.checksum import Checksum
from tusplyr.core.commands import Append, Appended, Concatenate, Create, Created, Expected, Found, Head, Outcome, Reply
from tusplyr.core.decide import Limits
from tusplyr.core.errors import (
    BadHeader,
    Forbidden,
    MethodNotAllowed,
    NotFound,
    OffsetMismatch,
    Refused,
    ShuttingDown,
    Silent,
    Stopped,
    TooLarge,
    TusplyrError,
    Unauthorized,
    Unavailable,
    WrongType,
    WrongVersion,
)
from tusplyr.core.headers import (
    CHALLENGE,
    media_type,
    members,
    parse_checksum,
    parse_headers,
    parse_integer,
    parse_metadata,
    parse_repr_digest,
    repr_digest,
    single,
)
from tusplyr.core.media import media_of
from tusplyr.core.model import MAX_INTEGER, Media, Status, Upload

VERSION = "1.0.0"
BODY_TYPE = "application/offset+octet-stream"
EXTENSIONS = (
    "creation",
    "creation-with-upload",
    "creation-defer-length",
    "expiration",
    "checksum",
    "checksum-trailer",
    "termination",
    "concatenation",
)
CONCAT = "Upload-Concat"
MOST_PARTIALS = 1000  # that a final upload may be made of
CHECKSUM = "Upload-Checksum"
FILE_ID = "Tusplyr-File-Id"
HEADERS = {"Tus-Resumable": VERSION, "Cache-Control": "no-store"}  # on every reply, errors included

REQUEST_HEADERS = (
    "Tus-Resumable",
    "Upload-Length",
    "Upload-Offset",
    "Upload-Metadata",
    "Upload-Defer-Length",
    "Upload-Concat",
    "Upload-Checksum",
)
RESPONSE_HEADERS = (
    "Location",
    "Upload-Offset",
    "Upload-Length",
    "Upload-Metadata",
    "Upload-Defer-Length",
    "Upload-Concat",
    "Upload-Expires",
    "Tus-Version",
    "Tus-Resumable",
    "Tus-Max-Size",
    "Tus-Extension",
    "Tus-Checksum-Algorithm",
    FILE_ID,
)

Trailers = list[tuple[bytes, bytes]]
Locate = Callable[[str], str | None]

_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_TOLERANT = frozenset({"HEAD", "GET"})  # browsers and monitors do not speak tus


def speaks(head: Head) -> bool:
    """Return whether the client says that it speaks tus."""
    return "tus-resumable" in head.headers


def check_version(head: Head) -> None:
    """Refuse a client of another version (C-06, C-08, D-01, D-02).

    Raises:
        WrongVersion: another version, or none where one is needed.
        BadHeader: two different versions.
    """
    version = single(head.headers, "tus-resumable")
    if version != VERSION and not (version is None and head.method in _TOLERANT):
        raise WrongVersion(f"This server speaks tus {VERSION}; say so with Tus-Resumable: {VERSION}.")


def read_create(head: Head, limits: Limits, locate: Locate, trailers: Trailers | None = None) -> Create | Concatenate:
    """Make a command from a POST to the collection. Raises what the head deserves, in the order of protocol.md 1.9.

    Args:
        head: of the request.
        limits: what this server allows.
        locate: returns the id of the upload at an address, None where that is none of this server.
        trailers: the trailer section, once the end of the body has been seen; None where it is not delivered.
    """
    concat = single(head.headers, CONCAT.lower())
    if concat is not None and concat.partition(";")[0] == "final":
        return _read_concatenate(head, concat, locate)
    if concat not in {None, "partial"}:
        raise BadHeader(
            f"{CONCAT} must be partial, or final with the addresses of the partial uploads behind a semicolon."
        )
    length = _length(head)
    if length is not None:
        decide.promise(length, limits)
    metadata, media, declared = _described(head)
    if concat and declared:
        raise BadHeader("A partial upload has no digest of its own; declare that of the final one.")
    checksum, expected = _checksum(head, limits, trailers)
    if (checksum or expected) and not _is_body(head):
        raise BadHeader(f"{CHECKSUM} belongs to a body that is labelled Content-Type: {BODY_TYPE}.")
    return Create(
        length=length,
        metadata=metadata,
        media=media,
        declared=declared,
        concat=concat.encode("latin-1") if concat else None,
        append=_is_body(head),
        body_length=body_length(head),
        checksum=checksum,
        expected=expected,
    )


def _read_concatenate(head: Head, concat: str, locate: Locate) -> Concatenate:
    addresses = concat.partition(";")[2].split()
    if not addresses:
        raise BadHeader(f"{CONCAT} names no partial uploads; write their addresses behind final; with blanks between.")
    if body_length(head) != 0 and _is_body(head):
        raise Forbidden("A final upload is made of others; it takes no body.")
    if "upload-defer-length" in head.headers:
        raise BadHeader("Upload-Defer-Length: the length of a final upload is that of its partial uploads.")
    length = _integer(head, "Upload-Length", TooLarge) if "upload-length" in head.headers else None
    if len(addresses) > MOST_PARTIALS:
        raise BadHeader(f"{CONCAT} may name {MOST_PARTIALS} partial uploads at the most.")
    ids = []
    for address in addresses:
        ids.append(locate(address))
        if ids[-1] is None:
            raise NotFound
    metadata, media, declared = _described(head)
    return Concatenate(
        partials=tuple(filter(None, ids)),
        length=length,
        concat=concat.encode("latin-1"),
        key=single(head.headers, "idempotency-key"),
        metadata=metadata,
        media=media,
        declared=declared,
    )


def _described(head: Head) -> tuple[bytes | None, Media, str | None]:
    """Return the metadata as it was sent, what it says of the media, and the digest that is declared."""
    lines = head.headers.get("upload-metadata", ())
    pairs = parse_metadata(lines)
    raw = ",".join(lines).encode("latin-1") if pairs else None
    name = (pairs.get("filename") or pairs.get("name") or b"").decode("utf-8", "replace")
    return raw, media_of(name), _declared(head, pairs)


def read_append(head: Head, limits: Limits, trailers: Trailers | None = None) -> Append:
    """Make a command from a PATCH. Raises what the head deserves. The arguments are those of `read_create`."""
    if not _is_body(head):
        raise WrongType(f"The body of a PATCH must be labelled Content-Type: {BODY_TYPE}.")
    offset = _integer(head, "Upload-Offset")
    checksum, expected = _checksum(head, limits, trailers)
    length = _integer(head, "Upload-Length", TooLarge) if "upload-length" in head.headers else None
    return Append(offset=offset, body_length=body_length(head), length=length, checksum=checksum, expected=expected)


def body_length(head: Head) -> int | None:
    """Return the bytes the body says it has: 0 without a body, None when it is chunked.

    A number that fits nowhere stands for one that is longer than any upload, so that it is refused in its turn.
    """
    coding = single(head.headers, "transfer-encoding")
    if coding is not None:
        if coding.lower() != "chunked":
            raise BadHeader("Transfer-Encoding: bodies may be chunked, and are not decoded otherwise.")
        return None
    length = single(head.headers, "content-length")
    try:
        return parse_integer("Content-Length", length, TooLarge) if length is not None else 0
    except TooLarge:
        return MAX_INTEGER + 1


def write(outcome: Outcome, address: str, limits: Limits) -> Reply:
    """Make a reply from an outcome; `address` is the URL of the upload."""
    match outcome:
        case Created(upload):
            return Reply(201, (("Location", address), *_progress(upload, limits)))
        case Appended(upload):
            return Reply(204, _progress(upload, limits))
        case Found(upload):
            return Reply(200, (*_progress(upload, limits), *_description(upload)))
        case _:
            return Reply(204)


def write_discovery(limits: Limits, *, trailers: bool) -> Reply:
    """Answer OPTIONS (C-50): what this server speaks and offers; with `trailers`, it delivers trailer sections."""
    offered = ",".join(extensions(limits, trailers=trailers))
    algorithms = (("Tus-Checksum-Algorithm", ",".join(limits.algorithms)),) if limits.algorithms else ()
    return Reply(204, (("Tus-Version", VERSION), ("Tus-Extension", offered), *algorithms, *_max_size(limits)))


def extensions(limits: Limits, *, trailers: bool) -> list[str]:
    """Return what is offered under these limits."""
    missing = {
        "expiration": limits.expire_after is None,
        "checksum": not limits.algorithms,
        "checksum-trailer": not limits.algorithms or not trailers,
    }
    return [name for name in EXTENSIONS if not missing.get(name)]


def refuse(error: TusplyrError, method: str, limits: Limits, upload: Upload | None = None) -> Reply:
    """Make a reply from an error. HEAD is never answered with a 5xx: clients would start again from byte 0.

    Args:
        error: what happened.
        method: of the request.
        limits: what this server allows.
        upload: the one that a PATCH was for, if it is there: every reply to one says when it expires (EX-02).
    """
    status, headers = error.status, (*_facts(error, limits), *_expiry(upload, limits))
    if method == "HEAD" and status >= 500:  # noqa: PLR2004 - the class of server errors
        status, headers = 423, (("Retry-After", "1"),)
    # What is ours alone (Broken) is told in fixed words; its cause is in the log.
    told = isinstance(error, (Refused, Stopped, Unavailable))
    body = str(error) if told else "The server could not do this now; what was acknowledged is kept. Try again."
    if method == "POST" and isinstance(error, (Silent, ShuttingDown)):  # the address is lost with the reply
        body = "The body ended before all of it was here; create the upload again."
    return Reply(status, headers, "" if method == "HEAD" else body, close=isinstance(error, Stopped))


def _facts(error: TusplyrError, limits: Limits) -> tuple[tuple[str, str], ...]:
    match error:
        case WrongVersion():
            return (("Tus-Version", VERSION),)
        case OffsetMismatch(expected=expected):
            return (("Upload-Offset", str(expected)),)
        case TooLarge():
            return _max_size(limits)
        case Unauthorized():
            return (CHALLENGE,)
        case MethodNotAllowed(allow=allow):
            return (("Allow", ", ".join(allow)),)
        case _:
            seconds = getattr(error, "retry_after", None)
            return (("Retry-After", str(seconds)),) if seconds else ()


def _progress(upload: Upload, limits: Limits) -> tuple[tuple[str, str], ...]:
    # While a final upload is being assembled it has none (CC-15).
    offset = () if upload.status is Status.ASSEMBLING else (("Upload-Offset", str(upload.offset)),)
    return (*offset, *_expiry(upload, limits), *_content(upload))


def _expiry(upload: Upload | None, limits: Limits) -> tuple[tuple[str, str], ...]:
    """The date as RFC 9110, section 5.6.7, wants it; a fraction of a second is dropped: never too late."""
    at = decide.expires_at(upload, limits) if upload else None
    return () if at is None else (("Upload-Expires", formatdate(at, usegmt=True)),)


def _description(upload: Upload) -> tuple[tuple[str, str], ...]:
    known = ("Upload-Defer-Length", "1") if upload.length is None else ("Upload-Length", str(upload.length))
    headers = (known,) if upload.concat is None else (known, (CONCAT, upload.concat.decode("latin-1")))
    if upload.metadata is None:
        return headers
    return (*headers, ("Upload-Metadata", upload.metadata.decode("latin-1")))


def _content(upload: Upload) -> tuple[tuple[str, str], ...]:
    if upload.sha256 is None or upload.file_id is None:
        return ()
    return (("Repr-Digest", repr_digest(upload.sha256)), (FILE_ID, upload.file_id))


def _max_size(limits: Limits) -> tuple[tuple[str, str], ...]:
    return () if limits.max_length is None else (("Tus-Max-Size", str(limits.max_length)),)


def _length(head: Head) -> int | None:
    """Return the length of a new upload, None where it is deferred."""
    deferred = single(head.headers, "upload-defer-length")
    if deferred is None:
        return _integer(head, "Upload-Length", TooLarge)
    if "upload-length" in head.headers:
        raise BadHeader("Upload-Length and Upload-Defer-Length exclude each other; send one of them.")
    if deferred != "1":
        raise BadHeader("Upload-Defer-Length must be 1; leave it out where Upload-Length says the length.")
    return None


def _declared(head: Head, pairs: dict[str, bytes]) -> str | None:
    """Return the SHA-256 that the content is declared to have, by the header or by the key in the metadata."""
    header = parse_repr_digest(head.headers.get("repr-digest", ()))
    if "sha256" not in pairs:
        return header
    text = pairs["sha256"].decode("latin-1").lower()
    if not _SHA256.match(text):
        raise BadHeader("Upload-Metadata: sha256 must be 64 hexadecimal digits.")
    if header not in {None, text}:
        raise BadHeader("Repr-Digest and the sha256 of Upload-Metadata differ.")
    return text


def _checksum(head: Head, limits: Limits, trailers: Trailers | None) -> tuple[Checksum | None, Expected | None]:
    """Return the checksum of the body, and how to get the one that is to come behind it."""
    text = single(head.headers, CHECKSUM.lower())
    late = CHECKSUM.lower() in members(head.headers.get("trailer", ()))
    if (text is not None or late) and not limits.algorithms:
        raise BadHeader(f"{CHECKSUM}: this server does not offer checksum.")
    checksum = None if text is None else parse_checksum(text, limits.algorithms)
    if not late:
        return checksum, None
    if trailers is None:
        raise BadHeader(f"Trailer: {CHECKSUM} cannot be read here; send it as a header.")
    if body_length(head) is not None:
        raise BadHeader(f"Trailer: {CHECKSUM} needs a body in chunked coding.")
    return checksum, partial(_trailing, checksum, limits, trailers)


def _trailing(checksum: Checksum | None, limits: Limits, trailers: Trailers) -> Checksum:
    """Return the checksum of a body whose end has been seen."""
    text = single(parse_headers(trailers), CHECKSUM.lower())
    if text is None:
        raise BadHeader(f"Trailer: {CHECKSUM} was announced and is missing.")
    found = parse_checksum(text, limits.algorithms)
    if checksum not in {None, found}:
        raise BadHeader(f"{CHECKSUM} in the head and in the trailer section differ.")
    return found


def _integer(head: Head, name: str, beyond: type[Refused] = BadHeader) -> int:
    value = single(head.headers, name.lower())
    if value is None:
        raise BadHeader(f"{name} is missing; it must be a non-negative integer.")
    return parse_integer(name, value, beyond)


def _is_body(head: Head) -> bool:
    return media_type(single(head.headers, "content-type")) == BODY_TYPE

"""The grammar of header values, and nothing about what they mean.

Owns integers, metadata, checksums and content types as they stand on the wire. Must not know methods, statuses
or uploads. Invariant: a value that is not exactly of the grammar raises `BadHeader`; nothing is
guessed, trimmed into shape or taken from the first of two that differ.
"""

import binascii
import re
from collections.abc import Iterable
from urllib.parse import quote

from tusplyr.core.checksum import Checksum, running
from tusplyr.core.errors import BadHeader, Refused
from tusplyr.core.model import MAX_INTEGER

Headers = dict[str, tuple[str, ...]]  # lower-case name -> every line of that name, in order, as latin-1 text

CHALLENGE = ("WWW-Authenticate", "Bearer")  # what every 401 carries (RFC 9110, section 15.5.2; RFC 6750, section 3)
MAX_METADATA = 8 * 1024  # bytes of all decoded keys and values together

_DIGITS = re.compile(r"[0-9]+\Z")
_BLANK = " \t"


def parse_headers(raw: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Return header lines by lower-case name. Every line is kept: see `single`."""
    lines: dict[str, list[str]] = {}
    for name, value in raw:
        lines.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
    return {name: tuple(values) for name, values in lines.items()}


def single(headers: Headers, name: str) -> str | None:
    """Return the one value of a header, None when it is absent.

    Raises:
        BadHeader: it was sent twice with different values; taking either would be a guess.
    """
    values = headers.get(name, ())
    if len(set(values)) > 1:
        raise BadHeader(f"{name} was sent more than once with different values.")
    return values[0].strip(_BLANK) if values else None


def parse_integer(name: str, text: str, beyond: type[Refused] = BadHeader) -> int:
    """Return a non-negative integer written in ASCII digits alone.

    Raises:
        BadHeader: signs, blanks inside, underscores, other digits, nothing at all.
        beyond: more than 63 bits; a length that large is well-formed but exceeds every limit (CR-09).
    """
    if not _DIGITS.match(text):
        raise BadHeader(f"{name} must be a non-negative integer in decimal digits.")
    digits = text.lstrip("0") or "0"
    if len(digits) > len(str(MAX_INTEGER)) or (value := int(digits)) > MAX_INTEGER:
        raise beyond(f"{name} exceeds every limit of this server.")
    return value


def parse_metadata(lines: tuple[str, ...]) -> dict[str, bytes]:
    """Return the pairs of ``Upload-Metadata`` (tus 1.0, Creation): key, blank, Base64; comma between.

    Several lines count as one, joined with commas. Empty members and blanks around commas are allowed,
    as is a key without a value.

    Raises:
        BadHeader: a repeated key, a value that is not canonical Base64, more than `MAX_METADATA` bytes of
            decoded keys and values, or more than twice that as it was sent.
    """
    pairs: dict[str, bytes] = {}
    total = 0
    if sum(map(len, lines)) > 2 * MAX_METADATA:  # it is echoed as it came, empty members and all
        raise BadHeader(f"Upload-Metadata may be {2 * MAX_METADATA} bytes long at the most.")
    for member in ",".join(lines).split(","):
        if not member.strip(_BLANK):
            continue
        key, _, encoded = member.strip(_BLANK).partition(" ")
        if key in pairs:
            raise BadHeader(f"Upload-Metadata has the key {quote(key)} twice.")
        pairs[key] = _decode("Upload-Metadata", encoded)
        total += len(key) + len(pairs[key])
        if total > MAX_METADATA:
            raise BadHeader(f"Upload-Metadata may hold {MAX_METADATA} bytes of decoded keys and values at the most.")
    return pairs


def parse_checksum(text: str, algorithms: tuple[str, ...]) -> Checksum:
    """Return the value of ``Upload-Checksum`` (tus 1.0, Checksum): name of the algorithm, blank, Base64.

    Raises:
        BadHeader: it is not of that form, the algorithm is not offered, or its digests have another length.
    """
    algorithm, _, encoded = text.partition(" ")
    if algorithm not in algorithms:
        raise BadHeader(f"Upload-Checksum must begin with one of {', '.join(algorithms)}, in lower case.")
    digest = _decode("Upload-Checksum", encoded)
    if len(digest) != running(algorithm).digest_size:
        raise BadHeader(f"Upload-Checksum has {len(digest)} bytes, which is not the length of a {algorithm} digest.")
    return Checksum(algorithm, digest)


def members(lines: tuple[str, ...]) -> set[str]:
    """Return the members of a comma-separated list of names, in lower case."""
    return {member.strip(_BLANK).lower() for line in lines for member in line.split(",")}


def _decode(name: str, encoded: str) -> bytes:
    raw = encoded.encode("latin-1")
    try:
        value = binascii.a2b_base64(raw, strict_mode=True)
    except binascii.Error:
        value = None
    # Strict mode lets bits behind the last byte pass; encoded again they are gone (RFC 4648, section 3.5).
    if value is None or binascii.b2a_base64(value, newline=False) != raw:
        raise BadHeader(f"{name} has a value that is not Base64 (standard alphabet, padded).")
    return value


def repr_digest(sha256: str) -> str:
    """Return a hex SHA-256 as the value of ``Repr-Digest`` (RFC 9530, section 3)."""
    return f"sha-256=:{binascii.b2a_base64(bytes.fromhex(sha256), newline=False).decode()}:"


def parse_repr_digest(lines: tuple[str, ...]) -> str | None:
    """Return the hex SHA-256 in a ``Repr-Digest`` (RFC 9530, section 3); None where only others are given.

    Raises:
        BadHeader: the SHA-256 is not a Byte Sequence of 32 bytes, or is there twice.
    """
    found = set()
    for member in ",".join(lines).split(","):
        key, _, value = member.strip(_BLANK).partition("=")
        if key == "sha-256":
            found.add(value.partition(";")[0])
    if not found:
        return None
    text = found.pop()
    if found or len(text) < 2 or (text[0], text[-1]) != (":", ":"):  # noqa: PLR2004 - two colons
        raise BadHeader("Repr-Digest must have one sha-256, as Base64 between colons.")
    digest = _decode("Repr-Digest", text[1:-1])
    if len(digest) != running("sha256").digest_size:
        raise BadHeader(f"Repr-Digest has a sha-256 of {len(digest)} bytes; it has 32.")
    return digest.hex()


def media_type(value: str | None) -> str:
    """Return a content type in lower case without its parameters; empty when there is none."""
    return (value or "").partition(";")[0].strip(_BLANK).lower()


def content_disposition(name: str) -> str:
    """Return an attachment disposition for a hostile file name (RFC 6266, RFC 8187)."""
    base = name.replace("\\", "/").rpartition("/")[2]
    if not base.strip(". "):
        base = "download"
    plain = re.sub(r'[^ -~]|["\\%]', "_", base)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(base.encode('utf-8', 'replace'), safe='')}"

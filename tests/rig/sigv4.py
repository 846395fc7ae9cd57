"""AWS signatures, version 4, from the side of the server: in a header, or in the query of a presigned address.

Owns the check, written from its description and not from the client's code, so that both would have to be wrong in the
same way. Must not know what an operation does. Invariant: a request that passes was signed with the secret of its key,
for this region and at about this time, every `x-amz-` header included.
"""

import hashlib
import hmac
import re
from calendar import timegm
from collections.abc import Mapping
from time import strptime
from urllib.parse import quote, unquote

from rig.s3_wire import Refused, Request

ALGORITHM = "AWS4-HMAC-SHA256"
REGIONS = ("auto",)
SKEW = 15 * 60  # seconds by which clocks may differ
LONGEST = 7 * 86_400  # seconds that a presigned address may be good for
UNSIGNED = "UNSIGNED-PAYLOAD"


def verify(request: Request, secrets: Mapping[str, str], now: float) -> None:
    """Let a request pass, or raise `Refused` as R2 words it. The body is not looked at, only what is said of it."""
    presigned = "X-Amz-Signature" in request.query
    claims = _in_query(request, now) if presigned else _in_header(request, now)
    access_key, date, region, service, last = claims["credential"].split("/")
    if region not in REGIONS:
        raise Refused(400, "InvalidRegionName", f"The region name '{region}' is not valid. Must be one of: auto")
    if (service, last, date) != ("s3", "aws4_request", claims["at"][:8]):
        raise Refused(400, "AuthorizationHeaderMalformed", "The scope of the credential is wrong.")
    if access_key not in secrets:
        raise Refused(401, "Unauthorized", "Unauthorized")
    names = claims["names"].split(";")
    unsigned = [name for name in request.headers if name.startswith("x-amz-") and name not in names]
    if unsigned or "host" not in names:
        raise Refused(
            403, "AccessDenied", f"There were headers present in the request which were not signed: {unsigned}"
        )
    text = _canonical(request, names, UNSIGNED if presigned else request.headers["x-amz-content-sha256"])
    scope = f"{date}/{region}/{service}/{last}"
    to_sign = "\n".join([ALGORITHM, claims["at"], scope, hashlib.sha256(text.encode()).hexdigest()])
    expected = hmac.new(signing_key(secrets[access_key], scope), to_sign.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected, claims["signature"]):
        raise Refused(403, "SignatureDoesNotMatch", f"The signature does not match that of\n{text}")


def signing_key(secret: str, scope: str) -> bytes:
    """Derive the key of one day, region and service."""
    key = f"AWS4{secret}".encode()
    for word in scope.split("/"):
        key = hmac.new(key, word.encode(), hashlib.sha256).digest()
    return key


def _in_header(request: Request, now: float) -> dict[str, str]:
    words = re.fullmatch(
        rf"{ALGORITHM} Credential=([^,]+), ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]+)",
        request.headers.get("authorization", ""),
    )
    at = request.headers.get("x-amz-date", "")
    if words is None or not at or "x-amz-content-sha256" not in request.headers:
        raise Refused(401, "Unauthorized", "Missing or malformed Authorization header")
    if abs(_seconds(at) - now) > SKEW:
        raise Refused(403, "RequestTimeTooSkewed", "The difference between the request time and ours is too large.")
    return {"credential": words[1], "names": words[2], "signature": words[3], "at": at}


def _in_query(request: Request, now: float) -> dict[str, str]:
    query = request.query
    try:
        lifetime = int(query["X-Amz-Expires"])
        found = {
            "credential": query["X-Amz-Credential"],
            "names": query["X-Amz-SignedHeaders"],
            "signature": query["X-Amz-Signature"],
            "at": query["X-Amz-Date"],
        }
    except KeyError as missing:
        raise Refused(400, "AuthorizationQueryParametersError", f"{missing} is missing") from None
    if query.get("X-Amz-Algorithm") != ALGORITHM or not 0 < lifetime <= LONGEST:
        raise Refused(400, "AuthorizationQueryParametersError", "X-Amz-Expires must be between 1 and 604800 seconds")
    began = _seconds(found["at"])
    if began - now > SKEW:
        raise Refused(403, "RequestTimeTooSkewed", "The request is from the future.")
    if now > began + lifetime:
        raise Refused(400, "ExpiredRequest", "Request has expired")
    return found


def _canonical(request: Request, names: list[str], payload: str) -> str:
    pairs = sorted(
        (_quoted(name), _quoted(value)) for name, value in request.query.items() if name != "X-Amz-Signature"
    )
    headers = [f"{name}:{' '.join(request.headers.get(name, '').split())}" for name in names]
    path = quote(unquote(request.path), safe="/-_.~")
    query = "&".join(f"{name}={value}" for name, value in pairs)
    return "\n".join([request.method, path, query, *headers, "", ";".join(names), payload])


def _quoted(text: str) -> str:
    return quote(text, safe="-_.~")


def _seconds(at: str) -> float:
    try:
        return timegm(strptime(at, "%Y%m%dT%H%M%SZ"))
    except ValueError:
        raise Refused(403, "AccessDenied", f"{at!r} is no date") from None

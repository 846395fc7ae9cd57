"""What the client raises, in our words.

Owns the translation, with a text that tells an operator what to mend. Must not know which requests there are.
Invariant: nothing of the client's own leaves `translated`.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from enum import Enum, auto

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    PartialCredentialsError,
    SSLError,
)
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from tusplyr.core.errors import StoreDown, TusplyrError

ABSENT = frozenset({"404", "NoSuchKey", "NotFound"})
TAKEN = frozenset({"412", "PreconditionFailed", "409", "ConditionalRequestConflict"})
UNFIT = frozenset({"InvalidPart", "InvalidPartOrder", "EntityTooSmall"})
UNKNOWN_CONDITION = frozenset({"501", "NotImplemented"})
DENIED = frozenset({"403", "AccessDenied"}) | UNKNOWN_CONDITION
BROKEN = (BotoCoreError, HTTPError, OSError)  # what reading a body raises that ends early
# What an answer leads to that is none of S3. Redirected by a web server, the client looks for its region without end.
ODD = (ResponseParserError, HTTPError, KeyError, ValueError, OSError, RecursionError)
FOREIGN = (ClientError, BotoCoreError, *ODD)  # all that a request raises
LONGEST = 200  # characters of what the store says that are passed on
LONGEST_WAIT = 3600  # seconds of a Retry-After that are believed

WORDS = {
    "InvalidAccessKeyId": "the access key is not known there; check the credentials",
    "SignatureDoesNotMatch": "the secret key is wrong; check the credentials",
    "Unauthorized": "they are not for this account, or wrong; check the credentials",
    "InvalidToken": "the session token is wrong",
    "ExpiredToken": "the credentials have expired",
    "AccessDenied": "the credentials do not allow this; they need to read, write and list objects in this bucket",
    "400": "it does not say why; perhaps the region is wrong",
    "403": "access is refused; check the credentials, what they allow, and the name of the bucket",
    "NoSuchBucket": "there is no such bucket",
    "PermanentRedirect": "the bucket is elsewhere; check region and endpoint",
    "301": "the bucket is elsewhere; check region and endpoint",
    "AuthorizationHeaderMalformed": "the region is wrong",
    "IllegalLocationConstraintException": "the region is wrong",
    "InvalidRegionName": "the region is wrong",
    "RequestTimeTooSkewed": "the clock of this machine is wrong",
    "SlowDown": "it asks to be left alone for a while",
    "TooManyRequests": "it asks to be left alone for a while",
    "429": "it asks to be left alone for a while",
    "InvalidPart": "the parts there are not those that were sent; they are sent again",
    "EntityTooSmall": "parts are too small for it; raise the part size to 5 MiB or more",
    "BadDigest": "what arrived there is not what was sent",
}


class Certified(Enum):
    """What is wrong with TLS: an `SSLError` has no more than a text."""

    UNREADABLE = auto()
    UNKNOWN = auto()
    ELSEWHERE = auto()
    PLAIN = auto()
    OTHER = auto()


MARKS = {  # in the text of an error
    "hostname mismatch": Certified.ELSEWHERE,
    "ip address mismatch": Certified.ELSEWHERE,
    "doesn't match": Certified.ELSEWHERE,
    "certificate_verify_failed": Certified.UNKNOWN,
    "wrong_version_number": Certified.PLAIN,
    "record_layer_failure": Certified.PLAIN,
    "packet_length_too_long": Certified.PLAIN,
    "http_request": Certified.PLAIN,
    "[x509": Certified.UNREADABLE,
    "[pem": Certified.UNREADABLE,
    "[errno": Certified.UNREADABLE,
}
CERTIFICATES = {
    Certified.UNREADABLE: "the file of certificates to trust (AWS_CA_BUNDLE) cannot be read",
    Certified.UNKNOWN: "its certificate is not trusted",
    Certified.ELSEWHERE: "its certificate is for another name",
    Certified.PLAIN: "it does not speak TLS",
    Certified.OTHER: "TLS with it fails",
}


class Taken(Exception):
    """Something is under the key already; nothing was written."""


class Vanished(Exception):
    """The store does not know the multipart transfer, or not any more."""


class Rejected(StoreDown):
    """It has answered, and will not do this. What is about another key may succeed all the same."""


class Denied(Rejected):
    """The credentials do not allow this, or the server has nothing of the kind: to ask again is no help."""


class Spoiled(Rejected):
    """Of these parts no object can be made, however often it is asked for."""


def code_of(error: ClientError) -> str:
    """Return the code of an error; the status where an answer without a body has none, or where that says more."""
    status = str(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))
    code = str(error.response.get("Error", {}).get("Code", ""))
    return status if status in {"412", "501"} else code or status


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Raise ours for what the client raises: `StoreDown` (`Rejected` and below), `Taken` or `Vanished`."""
    try:
        yield
    except ClientError as error:
        code = code_of(error)
        if code in TAKEN:
            raise Taken(what) from error
        if code == "NoSuchUpload":
            raise Vanished(what) from error
        kind = Spoiled if code in UNFIT else Denied if code in DENIED else Rejected
        raise kind(_text(what, code, error), _wait(error)) from error
    except BotoCoreError as error:
        if ours := _inside(error):
            raise ours from error
        raise StoreDown(f"{what}: {_words(error)}") from error
    except ODD as error:
        raise strange(what, f"{type(error).__name__}: {error}") from error


def strange(what: str, said: str) -> StoreDown:
    """Make the error of an answer that S3 would not give."""
    return StoreDown(f"{what}: it does not answer as S3 does; check the endpoint ({said[:LONGEST]})")


def _text(what: str, code: str, error: ClientError) -> str:
    said = " ".join(error.response.get("Error", {}).get("Message", "").split())[:LONGEST]  # some say a page
    return f"{what}: {error.operation_name}: {WORDS.get(code, 'it was refused')} ({code}: {said})"


def _wait(error: ClientError) -> int | None:
    wait = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("retry-after", "")
    if not wait.isdecimal():
        return _until(wait)
    return min(int(wait), LONGEST_WAIT)


def _until(date: str) -> int | None:
    """Return the seconds until a date of HTTP."""
    try:
        left = parsedate_to_datetime(date).timestamp() - time.time()
    except ValueError:
        return None
    return min(max(0, round(left)), LONGEST_WAIT)


def _words(error: BotoCoreError) -> str:
    match error:
        case NoCredentialsError() | PartialCredentialsError():
            return f"there are no credentials ({error})"
        case SSLError():
            return f"{CERTIFICATES[certified(error)]} ({error})"
        case ConnectTimeoutError() | EndpointConnectionError():
            return f"it cannot be reached; check the endpoint ({error})"
        case _:
            return str(error)


def certified(error: SSLError) -> Certified:
    """Say what is wrong with TLS."""
    text = str(error).lower()
    return next((kind for mark, kind in MARKS.items() if mark in text), Certified.OTHER)


def _inside(error: BotoCoreError) -> TusplyrError | None:
    """Return what reading the body raised, which the client wraps and tries again."""
    inner = getattr(error, "kwargs", {}).get("error")
    return inner if isinstance(inner, TusplyrError) else None

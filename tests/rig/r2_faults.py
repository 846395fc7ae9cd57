"""What goes wrong in the R2 double, for which requests, and how a request is remembered.

Must not know sockets, nor what an operation does. Invariant: a fault is a value; what it says is about the requests
that match it, counted from the moment when it was injected.
"""

import fnmatch
import threading
import time
from collections.abc import Callable
from enum import StrEnum

from msgspec import Struct

from rig.s3_wire import READ, Refused, Reply

PIECES = 20  # a second, at a limited rate
CODES = {429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable"}


class Cut(StrEnum):
    """Where in a request its connection ends, with a reset."""

    HEAD = "head"  # nothing of the body was read
    MIDDLE = "middle"  # half of the body was read
    BODY = "body"  # all of it was read, nothing was carried out
    ANSWER = "answer"  # it was carried out; the answer is lost
    HALF = "half"  # it was carried out; half of the answer was sent: of its head, where it has no body


class Seen(Struct, kw_only=True):
    """One request, as far as it came."""

    operation: str
    bucket: str
    key: str
    part: int | None
    method: str
    query: dict[str, str]
    headers: dict[str, str]  # names in lower case
    length: int = 0  # bytes of the body that were read
    status: int = 0  # of the answer; 0 when none was begun
    fault: "Fault | None" = None


class Fault(Struct, kw_only=True, frozen=True):
    """What goes wrong, and for which requests: those `times` from the `nth` on that match.

    Attributes:
        operation: a pattern as in a shell: `UploadPart`, `*Multipart*`.
        key: a pattern for the key.
        part: the number of a part; None for any.
        nth: which of the requests that match is the first (from 1) that it happens to, counted from `inject` on.
        times: to how many in a row; None for all that follow.
        status: answered in place of the real answer, with `code` and `retry_after`. 200 with a code is an error that
            S3 only noticed after it had begun to answer.
        cut: where the connection ends.
        late: carry the request out first, whatever is answered then. A cut has a place of its own.
        strike: called when it happens, before a wait: the place to kill a server.
        gate: wait for this to be set.
        hang: seconds of silence.
        pause: seconds in which nothing is read, once half of the body was.
        alter: makes what is answered of the real answer, once the request was carried out.
        rate: bytes a second of the answer's body.
    """

    operation: str = "*"
    key: str = "*"
    part: int | None = None
    nth: int = 1
    times: int | None = 1
    status: int | None = None
    code: str = ""
    retry_after: str = ""
    cut: Cut | None = None
    late: bool = False
    strike: Callable[[Seen], None] | None = None
    gate: threading.Event | None = None
    hang: float = 0.0
    pause: float = 0.0
    alter: Callable[[Reply], Reply] | None = None
    rate: float | None = None

    def names(self, seen: Seen) -> bool:
        named = fnmatch.fnmatchcase(seen.operation, self.operation) and fnmatch.fnmatchcase(seen.key, self.key)
        return named and self.part in {None, seen.part}

    def instead(self) -> Reply:
        """Make the answer that is given in place of the real one."""
        assert self.status is not None
        code = self.code or CODES.get(self.status, "InternalError")
        headers = {"Retry-After": self.retry_after} if self.retry_after else {}
        return Refused(self.status, code, "A fault was injected.", headers).reply()

    @property
    def moment(self) -> str:
        """When it happens: at the head, in the middle of the body, before it is carried out, or after."""
        if self.cut in {Cut.HEAD, Cut.MIDDLE}:
            return str(self.cut)
        return "after" if self.late or self.cut in {Cut.ANSWER, Cut.HALF} else "before"


def page(_: Reply) -> Reply:
    """Alter an answer into what a web server says to everybody."""
    text = b"<html><body>Welcome</body></html>"
    return Reply(headers={"Content-Type": "text/html"}, body=[text], length=len(text))


class Pace:
    """So many bytes a second, shared by all who ask; None is as fast as it goes."""

    def __init__(self, rate: float | None) -> None:
        self.rate = rate
        self._free = 0.0
        self._lock = threading.Lock()

    @property
    def piece(self) -> int:
        return READ if self.rate is None else max(1, min(READ, int(self.rate / PIECES)))

    def wait(self, count: int, over: threading.Event) -> None:
        """Wait until these bytes may have passed, or the server ends."""
        if self.rate is None:
            return
        with self._lock:
            now = time.monotonic()
            self._free = max(self._free, now) + count / self.rate
            pause = self._free - now
        over.wait(pause)

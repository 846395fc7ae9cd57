"""What a hostile world may send to an upload server: requests that are right, nearly right and absurd.

Owns the choice of every word of a request and of how it is delivered. Must not know what the answer should be.
Invariant: a request depends on its seed and on the addresses it is given, and on nothing else, so that any one of
many thousands can be made again alone.
"""

import base64
import hashlib
from collections.abc import Iterable
from random import Random
from typing import NamedTuple

TUS = "Tus-Resumable: 1.0.0"
BODY = "Content-Type: application/offset+octet-stream"
LENGTH = 1000  # of the uploads that requests are about
BEGUN = 5  # where those are that have begun


class Places(NamedTuple):
    """Addresses of this very run, as paths."""

    fresh: str  # at 0
    begun: str  # at `BEGUN`
    deferred: str  # at 0, of unknown length where that is offered
    done: str  # complete
    gone: str  # terminated
    parts: tuple[str, str]  # complete, and parts where that is offered
    origin: str


class Sent(NamedTuple):
    """A request, or several, and how it is delivered.

    Attributes:
        segments: what is sent, in turn.
        pause: wait for a word of the server's before the last segment.
        end: "half" ends our side and reads, "close" and "reset" leave without reading.
    """

    segments: tuple[bytes, ...]
    pause: bool
    end: str


class Message:
    """One request in the making."""

    def __init__(self, method: str, target: str, *lines: str, body: bytes | None = None) -> None:
        self.method = method
        self.target = target
        self.version = "HTTP/1.1"
        self.lines = ["Host: a", *lines]
        self.body = body
        self.framing: list[str] = [] if body is None else [f"Content-Length: {len(body)}"]
        self.wire = body or b""

    def spell(self) -> bytes:
        """Return it as it goes over the wire."""
        start = f"{self.method} {self.target} {self.version}"
        return "\r\n".join([start, *self.lines, *self.framing, "", ""]).encode("latin-1", "replace") + self.wire


INTEGERS = [
    *("0", "1", "5", "6", "9", "999", "1000", "1001", "67108864", "67108865", "007", " 5 ", "\t5"),
    *("-1", "+5", "1_0", "5.0", "0x5", "5,5", "", "abc", "\xb2", "\xd9\xa5", str(2**63 - 1), str(2**63), "9" * 4000),
]
PAIRS = [
    *("filename d29ybGQ=", "name YS53YXY=,x", "a", "a ,b", "a YQ==, b Yg==,, ,c", "caf\xe9 YQ==", "x /wCAww==", ""),
    *(
        "a YQ==,a Yg==",
        "a b c",
        "a ***",
        "a YQ",
        "a _-__",
        "a  YQ==",
        ",,,,",
        " ",
        "=",
        "\xff \xff",
        "a YQ==" + "," * 9000,
    ),
    "filename " + base64.b64encode(b"../../x\r\nA: b\0.wav").decode(),
    "big " + base64.b64encode(bytes(8 * 1024)).decode(),
]
RIGHT_PAIRS = 8  # the first so many are right
CONCATS = [
    *(
        "partial",
        "final;",
        "final",
        "final; ",
        "Partial",
        "partial;x",
        "foo",
        "",
        "final;\xff",
        "final;/files/" + "0" * 32,
    ),
    *("final;{a} {b}", "final;{a} {a}", "final;{o}{a} {b}", "final;{a}  {b}", "final;{a},{b}", "final;{fresh}"),
    *(
        "final;{done}",
        "final;{gone} {a}",
        "final;http://elsewhere.example{a}",
        "final;/files/../{a}",
        "final;{a}/status",
    ),
    "final;" + "{a} " * 300 + "{b}",
]
CHECKSUMS = [
    "sha1 AAAA",
    "sha1",
    "SHA1 {sha1}",
    "crc32 AAAA",
    "sha1  {sha1}",
    "sha1 {sha1} ",
    "",
    "sha256 {sha1}",
    "\xff",
]
TYPES = [
    "application/json",
    "",
    "Application/Offset+Octet-Stream; x=y",
    "application/offset",
    "multipart/form-data",
    "\xff",
]
POOLS: dict[str, list[str]] = {
    "Tus-Resumable": ["1.0.0", "0.2.2", "1.0.0, 1.0.0", "", "9" * 3000, "\xff"],
    "Upload-Length": INTEGERS,
    "Upload-Offset": INTEGERS,
    "Upload-Defer-Length": ["1", "0", "2", "true", "", "1, 1", "01", "\xff"],
    "Upload-Metadata": PAIRS,
    "Upload-Concat": CONCATS,
    "Upload-Checksum": CHECKSUMS,
    "Repr-Digest": [
        "sha-256=:{sha256}:",
        "sha-256=:AAAA:",
        "sha-256=x",
        "md5=:AA==:, sha-256=:{sha256}:",
        "",
        "\xff",
        "=" * 5000,
    ],
    "X-HTTP-Method-Override": ["PATCH", "patch", "DELETE", "HEAD", "OPTIONS", "GET", "POST", "PUT", "FOO", "\xff", ""],
    "Content-Type": TYPES,
    "Upload-Expires": ["Wed, 25 Jun 2014 16:00:00 GMT", "x"],
    "Content-Digest": ["sha-256=:{sha256}:", "sha-256=::"],
    "Want-Repr-Digest": ["sha-256=1", "sha-256=x"],
    "Upload-Complete": ["?0", "?1", "1"],
    "Upload-Draft-Interop-Version": ["6", "8", "x"],
    "Expect": ["100-continue", "cake"],
    "Connection": ["close", "keep-alive", "upgrade", "Upload-Offset", "\xff"],
    "Upgrade": ["websocket", "h2c"],
    "Range": ["bytes=0-2", "bytes=-1", "bytes=9-", "bytes=2-1", "bytes=0-0,2-2", "x=1", "bytes=" + "9" * 5000 + "-"],
    "If-None-Match": ["*", '"x"', "W/", "\xff"],
    "If-Match": ["*", '"x"'],
    "If-Range": ["x", '"x"', "Wed, 25 Jun 2014 16:00:00 GMT"],
    "Origin": ["https://a", "null", "*", "\xff"],
    "Access-Control-Request-Method": ["PATCH", "\xff"],
    "Authorization": ["Bearer", "Bearer x", "Basic \xff"],
    "Host": ["[", "a:99999", "a b", "evil/..", "\xff", ""],
    "X-Forwarded-Host": ["evil.example", "\xff"],
    "Content-Encoding": ["gzip", "identity"],
    "Content-Length": ["5", "900", "-1", "+5", "", str(2**63), "9" * 70, "5, 5", "0" * 4000 + "5"],
    "Transfer-Encoding": ["chunked", "gzip", "gzip, chunked", "xchunked", "chunked, chunked", "identity", ""],
    "Trailer": ["Upload-Checksum", "Upload-Checksum, X", "Content-Length", "\xff"],
    "Cookie": [";=;\xff"],
    "Accept": ["\xff", "text/html"],
    "X-Long": ["x" * 60_000, "x" * 70_000],
}
NAMES = list(POOLS)
OURS = 10  # the first so many are those that decide something, and come more often
LINES = [
    ": x",
    " folded",
    "No colon",
    "Bad name: x",
    "A: \0",
    "A: \x7f",
    "A\0: b",
    "",
    "a:b",
    "A: b\rC: d",
    "A: b\nC: d",
]
METHODS = [
    *("POST", "PATCH", "HEAD", "GET", "DELETE", "OPTIONS", "PUT", "TRACE", "CONNECT", "PRI", "PROPFIND", "LINK", "get"),
    *("", "P\0ST", "PATCH PATCH", "X" * 3000),
]
TARGETS = [
    *(
        "{u}",
        "{u}/",
        "{u}/status",
        "{u}/status/",
        "{u}/x",
        "//files//{u}",
        "/files/..%2f",
        "/files/../metrics",
        "/files/%00",
    ),
    *("/files/\xff", "/f%69les", "///files///", "*", "/", "", "?", "#", "files", "http://a/files", "http://a:99999{u}"),
    *(
        "{u}?x=y",
        "{u}#x",
        "{u}%20",
        "/files/%2e%2e/%2e%2e/etc/passwd",
        "/files/" + "a" * 60_000,
        "/files/%zz",
        "/health/live",
    ),
    *(
        "/health/ready",
        "/metrics",
        "/files/" + "%30" * 32,
        "/files/{{upload_id}}",
        "/files//" * 2000,
        "\\files",
        "/files;x",
    ),
]
VERSIONS = ["HTTP/1.0", "HTTP/1.1", "HTTP/2.0", "HTTP/9", "", "HTTP/1.1 x", "http/1.1", "HTTP/1.10"]
BODIES = [
    b"",
    b"x",
    b"hello",
    b"\0" * 900,
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    bytes(LENGTH),
    bytes(LENGTH + 1),
    b"x" * 70_000,
    b"y" * 300_000,
]
SIZES = [
    b"zz",
    b"-1",
    b"+5",
    b"0x5",
    b"",
    b" 5",
    b"5 ",
    b"f" * 16,
    b"f" * 17,
    b"7fffffffffffffff",
    b"5_0",
    b"0" * 300 + b"5",
    b"ffff",
]
EXTENSIONS = [b"", b"", b";a=b", b';a="b;c"', b";" + b"x" * 300, b" ; a", b";\xff"]


def sent(seed: str, places: Places) -> Sent:
    """Return what the seed stands for."""
    chance = Random(seed)
    count = chance.choice([1] * 38 + [2, 40])
    wire = b"".join(_message(chance, places) for _ in range(count))
    end = chance.choice(["half"] * 17 + ["close", "close", "reset"])
    if end != "half":
        wire = wire[: chance.randint(1, len(wire))]
    cuts = sorted(chance.randrange(len(wire)) for _ in range(chance.choice([0, 0, 0, 1, 3])))
    segments = tuple(wire[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(wire)], strict=True))
    return Sent(segments, pause=chance.random() < 0.1, end=end)


def _message(chance: Random, places: Places) -> bytes:
    message = _right(chance, places)
    for _ in range(chance.choice([0, 0, 0, 1, 1, 2, 4])):
        chance.choice(SPOILERS)(chance, message)
    sums = _sums(message.body or b"")
    for name, value in sums.items():
        message.lines = [line.replace(name, value) for line in message.lines]
    message.lines = [_placed(line, places, chance) for line in message.lines]
    message.target = _placed(message.target, places, chance)
    wire = bytearray(message.spell())
    for _ in range(chance.choice([0] * 9 + [1, 4])):
        at = chance.randrange(len(wire))
        wire[at : at + 1] = chance.randbytes(chance.randint(0, 3))
    return bytes(wire)


def _right(chance: Random, places: Places) -> Message:
    """Return a request that is as it should be, and may be about anything."""
    body = chance.choice([b"hello", b"world", bytes(20)])
    checked = ["Upload-Checksum: sha1 {sha1}", "Upload-Checksum: sha256 {sha256}", "X: y"]
    offered = chance.choice([f"Upload-Length: {len(body)}", "Upload-Length: 1000", "Upload-Defer-Length: 1"])
    about = f"Upload-Metadata: {chance.choice(PAIRS[:RIGHT_PAIRS])}"
    return chance.choice(
        [
            lambda: Message("POST", "/files", TUS, offered, about),
            lambda: Message("POST", "/files", TUS, BODY, offered, about, body=body),
            lambda: Message("POST", "/files", TUS, BODY, offered, chance.choice(checked), body=body),
            lambda: Message("POST", "/files", TUS, BODY, offered, "Repr-Digest: sha-256=:{sha256}:", body=body),
            lambda: Message("POST", "/files", TUS, "Upload-Length: 5", "Upload-Concat: partial", BODY, body=b"hello"),
            lambda: Message("POST", "/files", TUS, "Upload-Concat: final;{a} {b}"),
            lambda: Message("PATCH", places.fresh, TUS, BODY, "Upload-Offset: 0", chance.choice(checked), body=body),
            lambda: Message("PATCH", places.begun, TUS, BODY, f"Upload-Offset: {BEGUN}", body=body),
            lambda: _trailed(chance, Message("PATCH", places.fresh, TUS, BODY, "Upload-Offset: 0", body=body)),
            lambda: Message("PATCH", places.deferred, TUS, BODY, "Upload-Offset: 0", "Upload-Length: 1000", body=body),
            lambda: Message("PATCH", places.deferred, TUS, BODY, "Upload-Offset: 0", body=body),
            lambda: Message("PATCH", places.done, TUS, BODY, "Upload-Offset: 4", body=b""),
            lambda: Message(
                "PUT", places.fresh, TUS, BODY, "X-HTTP-Method-Override: PATCH", "Upload-Offset: 0", body=body
            ),
            lambda: Message("HEAD", "{u}", TUS),
            lambda: Message("HEAD", "{u}"),
            lambda: Message("GET", places.done),
            lambda: Message("GET", places.done, "Range: bytes=1-2"),
            lambda: Message("GET", places.done, "If-None-Match: *"),
            lambda: Message("GET", "{u}/status"),
            lambda: Message("DELETE", "{u}" if chance.random() < 0.2 else places.gone, TUS),
            lambda: Message("OPTIONS", chance.choice(["/files", "{u}"]), "Origin: https://a"),
            lambda: Message("GET", chance.choice(["/metrics", "/health/live", "/health/ready"])),
        ]
    )()


def _trailed(chance: Random, message: Message) -> Message:
    """Send the body in chunks, with its checksum behind it."""
    value = chance.choice(["sha1 {sha1}", "sha256 {sha256}", "sha1 2jmj7l5rSw0yVb/vlWAYkK/YBwk=", *CHECKSUMS])
    for name, digest in _sums(message.body or b"").items():
        value = value.replace(name, digest)
    trailers = [f"Upload-Checksum: {value}", "X: y", TUS, "Content-Length: 3", "", "no colon", "A: \0", "a:b" * 100]
    chosen = [trailers[0], *chance.choices(trailers[1:], k=chance.choice([0, 0, 0, 1]))]
    message.lines.append("Trailer: Upload-Checksum")
    _chunk(chance, message, "\r\n".join([*chosen, "", ""]).encode("latin-1"))
    return message


def _chunk(chance: Random, message: Message, tail: bytes = b"\r\n") -> None:
    body, wire = message.body or b"", b""
    step = max(1, len(body) // chance.choice([1, 1, 2, 5]))
    for at in range(0, len(body), step):
        piece = body[at : at + step]
        size = chance.choice(SIZES) if chance.random() < 0.02 else b"%x" % len(piece)
        wire += size + chance.choice(EXTENSIONS) + b"\r\n" + piece + (b"\r\n" if chance.random() < 0.98 else b"XX")
    message.framing = ["Transfer-Encoding: chunked"]
    message.wire = wire + chance.choice([b"0\r\n"] * 8 + [b"000;x\r\n", b"0\n", b""]) + tail


def _other_line(chance: Random, message: Message) -> None:
    """Say something else, or something more, in a header that means something."""
    known = [at for at, said in enumerate(message.lines) if said.partition(":")[0] in POOLS]
    if known and chance.random() < 0.6:
        at = chance.choice(known)
        name = message.lines.pop(at).partition(":")[0]
    else:
        at = chance.randint(0, len(message.lines))
        name = chance.choice(NAMES[:OURS] if chance.random() < 0.6 else NAMES)
    message.lines.insert(at, f"{name}: {chance.choice(POOLS[name])}")


def _no_line(chance: Random, message: Message) -> None:
    if message.lines:
        message.lines.remove(chance.choice(message.lines))


def _twice(chance: Random, message: Message) -> None:
    if message.lines:
        message.lines.append(chance.choice(message.lines))


def _odd_line(chance: Random, message: Message) -> None:
    message.lines.insert(chance.randint(0, len(message.lines)), chance.choice(LINES))


def _other_start(chance: Random, message: Message) -> None:
    match chance.randint(0, 2):
        case 0:
            message.method = chance.choice(METHODS)
        case 1:
            message.target = chance.choice(TARGETS)
        case _:
            message.version = chance.choice(VERSIONS)


def _other_body(chance: Random, message: Message) -> None:
    message.body = message.wire = chance.choice(BODIES)
    message.framing = [f"Content-Length: {len(message.wire)}"]


def _other_framing(chance: Random, message: Message) -> None:
    match chance.randint(0, 5):
        case 0 | 1:
            _chunk(chance, message)
        case 2:
            _trailed(chance, message)
        case 3:
            message.framing = [f"Content-Length: {len(message.wire) + chance.choice([-1, 1, 5, 100_000])}"]
        case 4:
            message.framing = ["Transfer-Encoding: chunked", f"Content-Length: {len(message.wire)}"]
        case _:
            message.framing = []


SPOILERS = [*[_other_line] * 6, _no_line, _twice, _odd_line, _other_start, _other_body, *[_other_framing] * 3]


def _sums(body: bytes) -> dict[str, str]:
    return {
        f"{{{name}}}": base64.b64encode(hashlib.new(name, body, usedforsecurity=False).digest()).decode()
        for name in ("sha1", "sha256")
    }


def _placed(text: str, places: Places, chance: Random) -> str:
    """Put addresses of this run in."""
    if "{" not in text:
        return text
    names: Iterable[tuple[str, str]] = (
        ("{a}", places.parts[0]),
        ("{b}", places.parts[1]),
        ("{o}", places.origin),
        ("{fresh}", places.fresh),
        ("{done}", places.done),
        ("{gone}", places.gone),
        ("{u}", chance.choice([places.fresh, places.begun, places.deferred, places.done, places.gone, *places.parts])),
    )
    for name, value in names:
        text = text.replace(name, value)
    return text

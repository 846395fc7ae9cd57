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

from web.words import (
    BODIES,
    CHECKSUMS,
    DECISIVE,
    EXTENSIONS,
    HEADERS,
    LINES,
    METHODS,
    RIGHT_PAIRS,
    SIZES,
    TARGETS,
    TRAILERS,
    VERSIONS,
    WRONG,
)

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
    joined: str  # made of them
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
    for _ in range(chance.choice([0, 0, 1, 1, 1, 1, 2, 4])):
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
    checked = ["Upload-Checksum: sha1 {sha1}", "Upload-Checksum: sha256 {sha256}", f"Upload-Checksum: {WRONG}", "X: y"]
    offered = chance.choice([f"Upload-Length: {len(body)}", "Upload-Length: 1000", "Upload-Defer-Length: 1"])
    about = f"Upload-Metadata: {chance.choice(RIGHT_PAIRS)}"
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
            lambda: Message("PATCH", places.joined, TUS, BODY, "Upload-Offset: 10", body=b""),
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
    value = chance.choice(["sha1 {sha1}", "sha256 {sha256}", *CHECKSUMS])
    for name, digest in _sums(message.body or b"").items():
        value = value.replace(name, digest)
    chosen = [f"Upload-Checksum: {value}", *chance.choices(TRAILERS, k=chance.choice([0, 0, 0, 1]))]
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
    known = [at for at, said in enumerate(message.lines) if said.partition(":")[0] in HEADERS]
    if known and chance.random() < 0.6:
        at = chance.choice(known)
        name = message.lines.pop(at).partition(":")[0]
    else:
        at = chance.randint(0, len(message.lines))
        name = chance.choice(list(DECISIVE if chance.random() < 0.6 else HEADERS))
    message.lines.insert(at, f"{name}: {chance.choice(HEADERS[name])}")


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


SPOILERS = [*[_other_line] * 9, _no_line, _twice, _odd_line, _other_start, _other_body, *[_other_framing] * 3]


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
        ("{joined}", places.joined),
        ("{u}", chance.choice([*places[:5], *places.parts, places.joined])),
    )
    for name, value in names:
        text = text.replace(name, value)
    return text

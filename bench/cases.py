"""The cases: what is done to one running server, and the figures that come out.

Owns one function per case. Must not know how servers are started, how often a case is repeated or how
figures are shown. Invariant: a case measures exactly one server, uses fresh content, and raises
`ClientError` or `OSError` where the server cannot do it.
"""

import base64
import hashlib
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench import process
from bench.client import ClientError, Connection, Sent
from bench.load import Lanes, send_together, stall_together
from bench.payload import GIB, KIB, MIB, Payload, payload
from bench.servers import Running

Figures = dict[str, float]

STALL = 300_000  # bytes that arrive before a client goes silent
PATCH = 8 * MIB
_PARTIALS = 8
_CROWD = 100
_STALLED = 2.0  # seconds that stalled clients are watched
_TAKEOVER_LIMIT = 8.0  # seconds after which a takeover counts as not possible
_TAIL_BUFFER = 256 * KIB  # a fixed send buffer, so that what waits in it does not grow with the upload


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is sent: everything, or just enough to see that it works."""

    large: int
    huge: int
    tails: tuple[int, ...]
    small_seconds: float
    crowd_each: int
    checked: int
    partial: int
    published: int
    killed: int
    ends: tuple[int, ...]
    slow_each: int
    slow_seconds: float


FULL = Sizes(
    large=GIB,
    huge=4 * GIB,
    tails=(16 * MIB, 64 * MIB, 256 * MIB, GIB, 4 * GIB),
    small_seconds=1.0,
    crowd_each=16 * MIB,
    checked=256 * MIB,
    partial=512 * MIB,
    published=GIB,
    killed=512 * MIB,
    ends=(64 * MIB, GIB),
    slow_each=150_000_000,
    slow_seconds=120.0,
)
QUICK = Sizes(
    large=64 * MIB,
    huge=128 * MIB,
    tails=(16 * MIB, 32 * MIB, 64 * MIB),
    small_seconds=0.4,
    crowd_each=MIB,
    checked=32 * MIB,
    partial=16 * MIB,
    published=128 * MIB,
    killed=160 * MIB,
    ends=(64 * MIB, 128 * MIB),
    slow_each=40_000_000,
    slow_seconds=10.0,
)

Measure = Callable[[Running, Sizes], Figures]


@dataclass(frozen=True, slots=True)
class Case:
    """One case.

    Attributes:
        name: for `--only`; a prefix is enough.
        measure: does it once.
        share: rounds of this case for each round that was asked for.
        fresh: needs a new process each time.
        limits: which limits take part (`Server.limit`).
    """

    name: str
    measure: Measure
    share: float = 1.0
    fresh: bool = False
    limits: str = ""


def _check_digest(running: Running, body: Payload, sent: Sent) -> None:
    if not running.server.ours:
        return
    expected = f"sha-256=:{base64.b64encode(body.sha256()).decode()}:"
    if sent.reply.headers.get("repr-digest") != expected:
        raise ClientError(f"the reply has Repr-Digest {sent.reply.headers.get('repr-digest')}, not {expected}")


def _throughput(running: Running, length: int, step: int, name: str) -> Figures:
    body = payload(length)
    with Connection(running.port) as connection:
        path = connection.create(running.server.path, length)
        cpu = process.cpu_seconds(running.pid)
        begun = time.perf_counter()
        sent = [connection.append(path, body, at, min(at + step, length)) for at in range(0, length, step)]
        seconds = time.perf_counter() - begun
        cpu = process.cpu_seconds(running.pid) - cpu
    _check_digest(running, body, sent[-1])
    return {f"{name} MiB/s": length / MIB / seconds, f"{name} CPU s/GiB": cpu * GIB / length}


def one_patch(running: Running, sizes: Sizes) -> Figures:
    """Throughput and CPU of one PATCH."""
    return _throughput(running, sizes.large, sizes.large, "one PATCH")


def many_patches(running: Running, sizes: Sizes) -> Figures:
    """Throughput and CPU of the same bytes in PATCHes of 8 MiB on one connection."""
    return _throughput(running, sizes.large, PATCH, "8 MiB PATCHes")


def small_uploads(connections: int) -> Measure:
    """Return the case: complete uploads per second (create, PATCH of 64 KiB) on that many connections."""

    def measure(running: Running, sizes: Sizes) -> Figures:
        with Lanes(running.port, running.server.path, connections) as lanes:
            lanes.run(0.2)
            cpu = process.cpu_seconds(running.pid)
            completed, seconds = lanes.run(sizes.small_seconds)
            cpu = process.cpu_seconds(running.pid) - cpu
        if not completed:
            raise ClientError(f"no small upload was completed within {seconds:.1f} s")
        name = f"small, {connections} conn"
        return {f"{name} /s": completed / seconds, f"{name} CPU ms": cpu * 1000 / completed}

    return measure


def _longest(running: Running, sizes: Sizes) -> int:
    """Only ours has to show that the longest upload is no dearer; with the peers it would take many minutes."""
    return sizes.huge if running.server.ours else sizes.large


def _memory(running: Running, name: str) -> Figures:
    peak = process.memory(running.pid).peak
    return {"RSS idle MiB": running.idle, f"RSS {name} MiB": peak - running.idle}


def memory_one(write: int, label: str) -> Measure:
    """Return the case: peak memory of one huge PATCH, sent in writes of `write` bytes."""

    def measure(running: Running, sizes: Sizes) -> Figures:
        length = _longest(running, sizes) if write > KIB else sizes.large  # so many writes are slow in any client
        body = payload(length)
        with Connection(running.port) as connection:
            path = connection.create(running.server.path, length)
            connection.append(path, body, 0, length, write)
        return _memory(running, f"one, {label} writes")

    return measure


def memory_active(running: Running, sizes: Sizes) -> Figures:
    """Peak memory of a hundred uploads in flight at once."""
    send_together(running.port, running.server.path, _CROWD, sizes.crowd_each)
    return _memory(running, "100 active")


def memory_stalled(running: Running, _sizes: Sizes) -> Figures:
    """Peak memory while a hundred clients have gone silent after 300 KB."""
    stall_together(running.port, running.server.path, _CROWD, STALL, _STALLED)
    return _memory(running, "100 stalled")


def head_latency(running: Running, sizes: Sizes) -> Figures:
    """Latency of HEAD on other uploads, one after the other, while one body comes in at full speed."""
    body = payload(sizes.large)
    failed: list[Exception] = []
    taken: list[float] = []
    with Connection(running.port) as sender, Connection(running.port) as prober:
        path = sender.create(running.server.path, body.length)
        others = [prober.create(running.server.path, MIB) for _ in range(16)]

        def ingest() -> None:
            try:
                sender.append(path, body, 0, body.length)
            except (ClientError, OSError) as error:
                failed.append(error)

        thread = threading.Thread(target=ingest)
        thread.start()
        try:
            while thread.is_alive():
                taken.append(_timed_head(prober, others[len(taken) % len(others)]))
                time.sleep(0.002)
        finally:
            thread.join()
    if failed:
        raise failed[0]
    taken.sort()
    return {"HEAD p50 ms": quantile(taken, 0.5) * 1000, "HEAD p99 ms": quantile(taken, 0.99) * 1000}


def _timed_head(prober: Connection, path: str) -> float:
    begun = time.perf_counter()
    reply = prober.offset(path)
    seconds = time.perf_counter() - begun
    if reply.headers.get("upload-offset") != "0":
        raise ClientError(f"HEAD answered {reply.status}")
    return seconds


def quantile(ordered: list[float], share: float) -> float:
    """Return the value below which such a share of them is."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def tail(running: Running, sizes: Sizes) -> Figures:
    """Time from the last byte to the reply, by length. Short ones are repeated, and the median is taken."""
    figures = {}
    for length in sizes.tails:
        if length > _longest(running, sizes):
            continue
        repeats = max(1, min(5, 256 * MIB // length))
        taken = []
        for _ in range(repeats):
            body = payload(length)
            with Connection(running.port, send_buffer=_TAIL_BUFFER) as connection:
                path = connection.create(running.server.path, length)
                sent = connection.append(path, body, 0, length)
            _check_digest(running, body, sent)
            taken.append(sent.tail * 1000)
            running.clear()
        figures[f"last byte to reply, {length // MIB} MiB ms"] = statistics.median(taken)
    return figures


def takeover(running: Running, _sizes: Sizes) -> Figures:
    """Time until a second request has finished an upload whose first request hangs: HEAD, then PATCH, then again."""
    body = payload(MIB)
    with Connection(running.port) as stalled:
        path = stalled.create(running.server.path, body.length)
        stalled.begin_patch(path, body, body.length, STALL)
        time.sleep(0.3)
        begun = time.perf_counter()
        kept = None
        while (left := _TAKEOVER_LIMIT - (time.perf_counter() - begun)) > 0:
            offset, done = _try_takeover(running, path, body, left)
            kept = offset if kept is None else kept
            if done:
                return {"takeover ms": (time.perf_counter() - begun) * 1000, "takeover kept KB": kept / 1000}
            time.sleep(0.02)
    raise ClientError(f"not taken over within {_TAKEOVER_LIMIT:.0f} s")


def _try_takeover(running: Running, path: str, body: Payload, limit: float) -> tuple[int, bool]:
    with Connection(running.port, timeout=limit) as newcomer:
        reply = newcomer.offset(path)
        offset = int(reply.headers.get("upload-offset", "0"))
        if reply.status != 200:
            return offset, False
        sent = newcomer.patch(path, body, offset, body.length)
        return offset, sent.reply.status == 204 and sent.reply.headers.get("upload-offset") == str(body.length)


def takeover_by(method: str) -> Measure:
    """Return the case: time until a HEAD, PATCH or DELETE is answered while an older request for the upload hangs."""

    def measure(running: Running, _sizes: Sizes) -> Figures:
        body = payload(MIB)
        with Connection(running.port) as stalled, Connection(running.port, timeout=_TAKEOVER_LIMIT) as newcomer:
            path = stalled.create(running.server.path, body.length)
            stalled.begin_patch(path, body, body.length, STALL)
            time.sleep(0.3)
            begun = time.perf_counter()
            if method == "HEAD":
                reply = newcomer.offset(path)
            elif method == "DELETE":
                reply = newcomer.delete(path)
            else:
                reply = newcomer.patch(path, body, STALL, body.length).reply
            seconds = time.perf_counter() - begun
        if reply.status not in {200, 204}:
            raise ClientError(f"{method} answered {reply.status}")
        return {f"takeover by {method} ms": seconds * 1000}

    return measure


def checksum(running: Running, sizes: Sizes) -> Figures:
    """Throughput of four PATCHes that each bring their SHA-256, beside the same without it, in turn.

    But for the first one that is another digest than the one of the whole, so two run at once.
    """
    with Connection(running.port) as connection:
        if "checksum" not in connection.extensions(running.server.path):
            raise ClientError("checksum is not offered")
        spent = {False: 0.0, True: 0.0}
        for checked in (False, True, True, False):
            body, step = payload(sizes.checked), sizes.checked // 4
            path = connection.create(running.server.path, body.length)
            for start in range(0, body.length, step):
                extra = _checksum_line(body, start, start + step) if checked else ""
                spent[checked] += connection.append(path, body, start, start + step, extra=extra).seconds
            running.clear()
    rates = {checked: 2 * sizes.checked / MIB / seconds for checked, seconds in spent.items()}
    return {
        "without checksum MiB/s": rates[False],
        "sha256 checksum MiB/s": rates[True],
        "sha256 checksum / without": rates[True] / rates[False],
    }


def concatenation(running: Running, sizes: Sizes) -> Figures:
    """Eight partial uploads into a final one: until the reply, until HEAD says it is whole, and what the disk did."""
    with Connection(running.port) as connection:
        if "concatenation" not in connection.extensions(running.server.path):
            raise ClientError("concatenation is not offered")
        partials = []
        for _ in range(_PARTIALS):
            body = payload(sizes.partial)
            path = connection.create(running.server.path, body.length, extra="Upload-Concat: partial\r\n")
            connection.append(path, body, 0, body.length)
            partials.append(path)
        read, written = process.disk_bytes(running.pid)
        begun = time.perf_counter()
        path = connection.concatenate(running.server.path, partials)
        replied = time.perf_counter() - begun
        total = _PARTIALS * sizes.partial
        while connection.offset(path).headers.get("upload-offset") != str(total):
            time.sleep(0.05)
        done = time.perf_counter() - begun
        read_after, written_after = process.disk_bytes(running.pid)
    return {
        "concatenation, reply ms": replied * 1000,
        "concatenation, MiB/s": total / MIB / done,
        "concatenation, disk reads / length": (read_after - read) / total,
        "concatenation, disk writes / length": (written_after - written) / total,
        **_memory(running, "concatenating"),
    }


def _checksum_line(body: Payload, start: int, stop: int) -> str:
    digest = hashlib.sha256()
    for view in body.pieces(start, stop, MIB):
        digest.update(view)
    return f"Upload-Checksum: sha256 {base64.b64encode(digest.digest()).decode()}\r\n"


CASES = (
    Case("throughput-one", one_patch, limits="body"),
    Case("throughput-8mib", many_patches, limits="body"),
    Case("small-1", small_uploads(1), limits="small"),
    Case("small-32", small_uploads(32), limits="small"),
    Case("memory-1k", memory_one(KIB, "1 KiB"), share=0, fresh=True),
    Case("memory-64k", memory_one(64 * KIB, "64 KiB"), share=0, fresh=True),
    Case("memory-8m", memory_one(8 * MIB, "8 MiB"), share=0, fresh=True),
    Case("memory-active", memory_active, share=0, fresh=True),
    Case("memory-stalled", memory_stalled, share=0, fresh=True),
    Case("head", head_latency, share=1 / 3),
    Case("tail", tail, share=1 / 3),
    Case("takeover", takeover, share=1 / 3),
    *(Case(f"takeover-{method.lower()}", takeover_by(method), share=1 / 3) for method in ("HEAD", "PATCH", "DELETE")),
    Case("checksum", checksum),
    Case("concatenation", concatenation, share=0, fresh=True),
)

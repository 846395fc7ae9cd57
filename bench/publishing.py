"""The cases of publishing to a bucket.

Owns one function per case, and what it starts for it. Must not know how often a case is repeated or how figures are
shown. Invariant: as `bench.cases`; each case starts servers and buckets of its own, and the figures are by column of
the table: `OURS`, `BOTO`.
"""

import base64
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import buckets, process
from bench.buckets import Bucket, Request
from bench.cases import Figures, Sizes, quantile
from bench.client import ClientError, Connection, Sent
from bench.load import send_different
from bench.payload import MIB, Payload, payload
from bench.servers import ROOT, Running, configured, prepared, run, started
from tusplyr.settings import TABLE

OURS, BOTO = "tusplyr", "boto3"
MARK = "bucket: "  # begins every figure of these cases
PART = 16 * MIB
FLYING = 4  # parts that are sent at once
SLOW = 10_000_000 / 8  # bytes a second: 10 Mbit
CROWD = 8
_POLL = 0.01  # seconds between two looks whether an upload is stored
_PATIENCE = 600.0  # seconds until it is
_HALF_RATE = 64.0 * MIB  # of the bucket that is there when the server is killed
_TAIL_BUFFER = 256 * 1024  # as in `cases.tail`
_NETWORK = 40.0 * MIB  # bytes a second of a client on a network
_WAIT = {"TUSPLYR_WAIT_FOR_STORED": "300s"}
_OVERLAP = any(setting.name == "overlap" for setting in TABLE)
_PARTS = {"TUSPLYR_S3_PART_SIZE": str(PART), "TUSPLYR_S3_CONCURRENCY": str(FLYING)}


@dataclass(frozen=True, slots=True)
class Room:
    """What a case is given: where it may write, how much it sends, and which round it is."""

    work: Path
    sizes: Sizes
    number: int


Measure = Callable[[Room], dict[str, Figures]]


@dataclass(frozen=True, slots=True)
class BucketCase:
    """One case; as `cases.Case`."""

    name: str
    measure: Measure
    share: float = 1.0


def versions() -> dict[str, str]:
    """Say what takes part beside us."""
    pinned = re.search(r"/versitygw@v(\S+)", (ROOT / "Makefile").read_text())
    return {
        "boto3": f"{importlib.metadata.version('boto3')}, `upload_file`, set up as R2 needs it",
        "versitygw": f"{pinned[1] if pinned else 'version unknown'}, the bucket beside boto3",
    }


def _settings(bucket: Bucket, *, overlap: bool, **other: str) -> dict[str, str]:
    if overlap and not _OVERLAP:
        raise ClientError("this tusplyr has no OVERLAP")
    known = {"TUSPLYR_OVERLAP": str(overlap).lower()} if _OVERLAP else {}
    return bucket.settings | _PARTS | known | other


def _declared(body: Payload) -> str:
    return f"Repr-Digest: sha-256=:{base64.b64encode(body.sha256()).decode()}:\r\n"


def _await_stored(port: int, path: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    with Connection(port) as asking:
        while (status := asking.status(path)) != "stored":
            if time.monotonic() > deadline:
                raise ClientError(f"after {_PATIENCE:.0f} s an upload is {status}")
            time.sleep(_POLL)


def _send(running: Running, body: Payload, extra: str = "") -> str:
    with Connection(running.port) as connection:
        path = connection.create(running.server.path, body.length, extra=extra)
        connection.append(path, body, 0, body.length)
    return path


def _upload(
    running: Running,
    body: Payload,
    *,
    extra: str = "",
    rate: float | None = None,
    meter: Callable[[], None] | None = None,
) -> Sent:
    """Send a content to a server whose reply waits until it is stored; `meter` is called when all of it is sent."""
    with Connection(running.port, timeout=_PATIENCE, send_buffer=_TAIL_BUFFER) as connection:
        path = connection.create(running.server.path, body.length, extra=extra)
        sent = connection.append(path, body, 0, body.length, _TAIL_BUFFER, rate=rate, meter=meter)
        if (status := connection.status(path)) != "stored":
            raise ClientError(f"after the reply that waits for it, an upload is {status}")
    return sent


# As fast as boto3


def as_fast(scheme: str) -> Measure:
    """Return the case: from the last byte of a client until it is stored, beside `upload_file` of such a file."""

    def measure(room: Room) -> dict[str, Figures]:
        with buckets.gateway(room.work, tls=scheme == "TLS") as bucket:
            ways = [_publish, _upload_file]
            found: dict[str, Figures] = {}
            for way in ways if room.number % 2 == 0 else reversed(ways):
                column, seconds, cpu = way(room, bucket)
                mib = room.sizes.published / MIB
                found[column] = {
                    f"{MARK}publish over {scheme} MiB/s": mib / seconds,
                    f"{MARK}publish over {scheme} CPU s/GiB": cpu * 1024 / mib,
                }
                bucket.clear()
        return found

    return measure


def _publish(room: Room, bucket: Bucket) -> tuple[str, float, float]:
    body = payload(room.sizes.published)
    with run(configured(_settings(bucket, overlap=False, **_WAIT)), room.work) as running:
        _upload(running, payload(MIB))  # it has asked something before, as boto3 has
        received: list[float] = []
        sent = _upload(running, body, meter=lambda: received.append(process.cpu_seconds(running.pid)))
        return OURS, sent.tail, process.cpu_seconds(running.pid) - received[0]


def _upload_file(room: Room, bucket: Bucket) -> tuple[str, float, float]:
    file = room.work / "file"
    try:
        _write(file, payload(room.sizes.published))
        words = [bucket.url, bucket.name, str(file), "audio/file.wav", str(PART), str(FLYING)]
        done = subprocess.run(
            [sys.executable, "-m", "bench.boto", *words],
            cwd=ROOT,
            env=os.environ | bucket.environment,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
    finally:
        file.unlink(missing_ok=True)
    if done.returncode:
        raise ClientError(f"boto3: {done.stderr.strip()[-300:]}")
    said = json.loads(done.stdout)
    return BOTO, said["seconds"], said["cpu"]


def _write(file: Path, body: Payload) -> None:
    """Write a file that is on the disk and nowhere else, as a staged one is."""
    with file.open("wb", buffering=0) as output:
        for view in body.pieces(0, body.length, MIB):
            output.write(view)
        os.fsync(output.fileno())
        os.posix_fadvise(output.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


# A bucket that is slower than its clients


def slow(*, overlap: bool) -> Measure:
    """Return the case: eight uploads at full speed, and for a while after; peak memory and whether it lives."""

    def measure(room: Room) -> dict[str, Figures]:
        with buckets.elsewhere(room.work, rate=SLOW) as bucket:
            server = configured(_settings(bucket, overlap=overlap))
            with run(server, room.work) as running, _probed(running.port) as answers:
                bodies = [payload(room.sizes.slow_each) for _ in range(CROWD)]
                begun = time.perf_counter()
                send_different(running.port, server.path, {each: _declared(each) * overlap for each in bodies})
                arrived = time.perf_counter() - begun
                time.sleep(room.sizes.slow_seconds)
                peak = process.memory(running.pid).peak
            taken = sum(each.length for each in bucket.requests())
            found = {
                "RSS idle MiB": running.idle,
                "RSS above idle MiB": peak - running.idle,
                "arrived s": arrived,
                "taken meanwhile MB": taken / 1e6,
                "live asked": float(len(answers)),
                "live p50 ms": quantile(answers, 0.5) * 1000,
                "live p99 ms": quantile(answers, 0.99) * 1000,
                "live longest ms": answers[-1] * 1000,
            }
        return {OURS: {f"{MARK}slow{_way(overlap=overlap)}, {name}": value for name, value in found.items()}}

    return measure


def _way(*, overlap: bool) -> str:
    return " with overlap" if overlap else ""


@contextmanager
def _probed(port: int) -> Iterator[list[float]]:
    """Ask a server whether it lives for as long as the block takes; then its list has the seconds, shortest first."""
    taken: list[float] = []
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-m", "bench.probe", str(port)], cwd=ROOT, stdin=pipe, stdout=pipe
    ) as asking:
        try:
            yield taken
        finally:
            said = json.loads(asking.communicate()[0])
    if said["failed"]:
        raise ClientError(f"{said['failed']} of {len(said['taken'])} times it did not say that it lives")
    taken += sorted(said["taken"])


# From the last byte to stored


def ends(*, overlap: bool) -> Measure:
    """Return the case: from the last byte of a client on a network until it is stored, by length."""

    def measure(room: Room) -> dict[str, Figures]:
        found: Figures = {}
        with buckets.elsewhere(room.work) as bucket:
            with run(configured(_settings(bucket, overlap=overlap, **_WAIT)), room.work) as running:
                for length in room.sizes.ends:
                    body = payload(length)
                    sent = _upload(running, body, extra=_declared(body), rate=_NETWORK)
                    way = _way(overlap=overlap)
                    found[f"{MARK}last byte to stored{way}, {length // MIB} MiB ms"] = sent.tail * 1000
                    running.clear()
            asked = bucket.requests("CompleteMultipartUpload")
        found[f"{MARK}Complete{_way(overlap=overlap)}, longest ms"] = max(_seconds(each) for each in asked) * 1000
        return {OURS: found}

    return measure


def _seconds(request: Request) -> float:
    return (request.ended or request.begun) - request.begun


# What is asked of the bucket


def killed(room: Room) -> dict[str, Figures]:
    """Kill it once half of the parts have landed, start it again, and count what is sent twice."""
    body = payload(room.sizes.killed)
    parts = -(-body.length // PART)
    with buckets.elsewhere(room.work, rate=_HALF_RATE) as bucket:
        server = configured(_settings(bucket, overlap=False))
        with prepared(server, room.work) as place:
            with started(server, place) as running:
                path = _send(running, body)
                landed = _landed(bucket, parts // 2)
                running.kill()
            with started(server, place) as running:
                _await_stored(running.port, path)
        sent = bucket.requests("UploadPart")
    if len({each.part for each in sent}) != parts:
        raise ClientError(f"{parts} parts were to be sent, and {len({each.part for each in sent})} were")
    found = {"parts": parts, "landed": landed, "in flight": FLYING, "sent again": len(sent) - parts}
    return {OURS: {f"{MARK}killed half-way, {name}": float(value) for name, value in found.items()}}


def _landed(bucket: Bucket, wanted: int) -> int:
    """Wait until so many parts have landed; return how many have."""
    deadline = time.monotonic() + _PATIENCE
    while (count := sum(each.ended is not None for each in bucket.requests("UploadPart"))) < wanted:
        if time.monotonic() > deadline:
            raise ClientError(f"after {_PATIENCE:.0f} s {count} parts have landed")
        time.sleep(_POLL)
    return count


def calls(room: Room) -> dict[str, Figures]:
    """Count the requests for a short content and for one in parts."""
    parts = -(-room.sizes.killed // PART)
    asked = []
    with buckets.elsewhere(room.work) as bucket:
        for length in (3 * MIB, room.sizes.killed):
            before = len(bucket.requests())
            with run(configured(_settings(bucket, overlap=False)), room.work) as running:
                _await_stored(running.port, _send(running, payload(length)))
            asked.append(len(bucket.requests()) - before)
    short, long = asked
    figures = {"requests for 3 MiB": short, f"requests for {parts} parts": long, "requests beyond parts": long - parts}
    return {OURS: {MARK + name: float(value) for name, value in figures.items()}}


BUCKET_CASES = (
    BucketCase("s3-publish-tls", as_fast("TLS")),
    BucketCase("s3-publish-http", as_fast("HTTP")),
    BucketCase("s3-slow", slow(overlap=False), share=0),
    BucketCase("s3-slow-overlap", slow(overlap=True), share=0),
    BucketCase("s3-tail", ends(overlap=False), share=1 / 3),
    BucketCase("s3-tail-overlap", ends(overlap=True), share=1 / 3),
    BucketCase("s3-killed", killed, share=1 / 3),
    BucketCase("s3-calls", calls, share=0),
)

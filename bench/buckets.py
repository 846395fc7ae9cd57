"""The buckets to publish to, and how tusplyr and boto3 are told of them.

Owns the life of their processes: versitygw, which is a real S3 server that keeps its objects in a folder, and
`bench.bucket`, which keeps nothing. Must not know the cases. Invariant: as `bench.servers`.
"""

import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import trustme

from bench.bucket import LOG
from bench.servers import ROOT, SMALL_BODY, StartError, end, free_port

GATEWAY = ROOT / ".work" / "bin" / "versitygw"
MISSING = "versitygw is missing: make .work/bin/versitygw"
_NAME = "bench"
_REGION = "us-east-1"
_ACCESS_KEY = "bench-access-key"
_SECRET_KEY = "bench-secret-key"
_START = 20.0  # seconds until it listens


@dataclass(frozen=True)
class Request:
    """One request, as `bench.bucket.Seen` tells it."""

    operation: str
    key: str
    part: int
    begun: float
    length: int
    ended: float | None


@dataclass(frozen=True)
class Bucket:
    """A bucket that answers.

    Attributes:
        url: endpoint.
        ca: the certificate to trust; None without TLS.
        data: where it keeps objects; None where it keeps nothing.
    """

    url: str
    ca: Path | None
    data: Path | None = None
    name: str = _NAME

    @property
    def settings(self) -> dict[str, str]:
        """What tusplyr is told."""
        return {
            "TUSPLYR_STORE": "s3",
            "TUSPLYR_S3_ENDPOINT_URL": self.url,
            "TUSPLYR_S3_BUCKET": self.name,
            "TUSPLYR_S3_REGION": _REGION,
            "TUSPLYR_S3_ADDRESSING": "path",
            **self.environment,
        }

    @property
    def environment(self) -> dict[str, str]:
        """What every AWS tool is told."""
        trusted = {"AWS_CA_BUNDLE": str(self.ca)} if self.ca else {}
        keys = {"AWS_ACCESS_KEY_ID": _ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": _SECRET_KEY, "AWS_DEFAULT_REGION": _REGION}
        return keys | trusted

    def requests(self, operation: str = "") -> list[Request]:
        """Return what `bench.bucket` has been asked so far for content, or one kind of it."""
        connection = http.client.HTTPSConnection(self.url.removeprefix("https://"), context=self._context)
        try:
            connection.request("GET", LOG)
            seen = [Request(**each) for each in json.loads(connection.getresponse().read())]
        finally:
            connection.close()
        known = [each for each in seen if each.operation not in {"ListObjectsV2", "unknown"}]
        return [each for each in known if operation in {"", each.operation}]

    def clear(self) -> None:
        """Remove the long objects, and leave nothing to be written."""
        for path in self.data.rglob("*") if self.data else ():
            with suppress(FileNotFoundError):
                if path.is_file() and path.stat().st_size > SMALL_BODY:
                    path.unlink()
        os.sync()

    @cached_property
    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ca)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate for loopback: who vouches for it, its own file, its key, and both in one."""

    ca: Path
    chain: Path
    key: Path
    both: Path


def certificate(folder: Path) -> Certificate:
    """Make one."""
    made = Certificate(*(folder / name for name in ("ca.pem", "chain.pem", "key.pem", "both.pem")))
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(str(made.ca))
    issued.cert_chain_pems[0].write_to_path(str(made.chain))
    issued.private_key_pem.write_to_path(str(made.key))
    issued.private_key_and_cert_chain_pem.write_to_path(str(made.both))
    return made


@contextmanager
def gateway(work: Path, *, tls: bool) -> Iterator[Bucket]:
    """Run versitygw with one bucket. Raises `StartError`."""
    if not GATEWAY.exists():
        raise StartError(MISSING)
    port = free_port()
    folder = work / f"gateway-{port}"
    data, users = folder / "data", folder / "users"
    for each in (data / _NAME, users):
        each.mkdir(parents=True)
    made = certificate(folder)
    words = ["--port", f"127.0.0.1:{port}", "--access", _ACCESS_KEY, "--secret", _SECRET_KEY, "--region", _REGION]
    words += ["--cert", str(made.chain), "--key", str(made.key)] if tls else []
    words += ["--iam-dir", str(users), "--keep-alive", "--quiet", "posix", str(data)]
    with _listening([str(GATEWAY), *words], port, folder):
        url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        yield Bucket(url, made.ca if tls else None, data / _NAME)


@contextmanager
def elsewhere(work: Path, *, rate: float = 0.0) -> Iterator[Bucket]:
    """Run `bench.bucket`, which takes `rate` bytes a second; 0: as fast as it goes. Raises `StartError`."""
    port = free_port()
    folder = work / f"bucket-{port}"
    folder.mkdir()
    made = certificate(folder)
    words = ["-m", "bench.bucket", str(port), str(made.both), "--rate", str(rate)]
    with _listening([sys.executable, *words], port, folder):
        yield Bucket(f"https://127.0.0.1:{port}", made.ca)


@contextmanager
def _listening(command: Sequence[str], port: int, folder: Path) -> Iterator[None]:
    log = folder / "log"
    with log.open("wb") as output:
        child = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + _START
        while not _answers(port):
            if child.poll() is not None or time.monotonic() > deadline:
                raise StartError(log.read_text(errors="replace").strip()[-500:] or f"{command[0]} does not listen")
            time.sleep(0.05)
        yield
    finally:
        end(child)
        shutil.rmtree(folder, ignore_errors=True)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True

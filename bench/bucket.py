"""A bucket elsewhere: an S3 server over TLS that takes bytes and keeps only their number.

Owns the record of every request. Must not know who asks, nor signatures: it believes the `Content-MD5` of a part and
makes its ETag of it. Invariants: it costs this machine neither disk nor hash, as a bucket in another place would not;
completing a transfer takes no time, as with R2; all connections together get `--rate` bytes a second.

    python -m bench.bucket PORT CERTIFICATE [--rate BYTES]
"""

import argparse
import base64
import hashlib
import json
import re
import socket
import ssl
import threading
import time
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from urllib.parse import parse_qsl, urlsplit
from xml.sax.saxutils import escape

LOG = "/.log"  # where the record is read
READ = 256 * 1024
_PIECES = 50  # a second, of what is taken at a limited rate
_RECEIVE_BUFFER = 64 * 1024  # else the kernel takes in far more than is read at a limited rate
_PART = re.compile(rb"<PartNumber>(\d+)</PartNumber>")
_MARKS = ("partNumber", "uploadId", "uploads", "list-type")
_OPERATIONS = {
    ("PUT", "partNumber"): "UploadPart",
    ("PUT", ""): "PutObject",
    ("POST", "uploads"): "CreateMultipartUpload",
    ("POST", "uploadId"): "CompleteMultipartUpload",
    ("DELETE", "uploadId"): "AbortMultipartUpload",
    ("HEAD", ""): "HeadObject",
    ("GET", "uploads"): "ListMultipartUploads",
    ("GET", "list-type"): "ListObjectsV2",
}


@dataclass(slots=True)
class Seen:
    """One request: seconds are of the clock that all processes of a machine share."""

    operation: str
    key: str
    part: int
    begun: float
    length: int = 0
    ended: float | None = None


@dataclass(frozen=True, slots=True)
class Thing:
    """An object or a part."""

    length: int
    etag: str
    sha256: str = ""


@dataclass(slots=True)
class Transfer:
    """A multipart transfer that has begun."""

    sha256: str
    parts: dict[int, Thing] = field(default_factory=dict)


class Pace:
    """So many bytes a second for all who ask; 0 is as fast as it goes."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._free = 0.0
        self._lock = threading.Lock()
        self.piece = max(1, min(READ, int(rate / _PIECES))) if rate else READ

    def wait(self, taken: int) -> None:
        if not self._rate:
            return
        with self._lock:
            now = time.monotonic()
            self._free = max(self._free, now) + taken / self._rate
            pause = self._free - now
        time.sleep(pause)


class State:
    """What all connections share."""

    def __init__(self, rate: float) -> None:
        self.pace = Pace(rate)
        self.seen: list[Seen] = []
        self.objects: dict[str, Thing] = {}
        self.transfers: dict[str, Transfer] = {}
        self.serial = count(1)


def joined(parts: list[Thing], sha256: str) -> Thing:
    """Return the object of these parts."""
    digests = b"".join(bytes.fromhex(part.etag) for part in parts)
    etag = f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"
    return Thing(sum(part.length for part in parts), etag, sha256)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    state: State

    def _exchange(self) -> None:
        target = urlsplit(self.path)
        if target.path == LOG:
            self._answer(200, json.dumps([asdict(seen) for seen in self.state.seen]).encode())
            return
        query = dict(parse_qsl(target.query, keep_blank_values=True))
        mark = next((mark for mark in _MARKS if mark in query), "")
        operation = _OPERATIONS.get((self.command, mark), "unknown")
        seen = Seen(operation, target.path, int(query.get("partNumber", "0")), time.monotonic())
        self.state.seen.append(seen)
        body = self._read(seen)
        status, headers, text = self._carried_out(seen, query.get("uploadId", ""), body)
        seen.ended = time.monotonic()
        self._answer(status, text.encode(), headers)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _exchange  # noqa: N815 - http.server looks for these names

    def _read(self, seen: Seen) -> bytes:
        """Take the body; keep it only where it is a document."""
        left = int(self.headers.get("Content-Length", "0"))
        if self.command == "POST":
            return self.rfile.read(left)
        view = memoryview(bytearray(self.state.pace.piece))
        while left:
            taken = self.rfile.readinto1(view[:left])
            if not taken:
                raise ConnectionResetError("the client left in the middle of a body")
            left -= taken
            seen.length += taken
            self.state.pace.wait(taken)
        return b""

    def _carried_out(self, seen: Seen, upload: str, body: bytes) -> tuple[int, dict[str, str], str]:
        state = self.state
        sha256 = self.headers.get("x-amz-meta-sha256", "")
        thing = Thing(seen.length, base64.b64decode(self.headers.get("Content-MD5", "")).hex(), sha256)
        if seen.part or seen.operation in {"CompleteMultipartUpload", "AbortMultipartUpload"}:
            if upload not in state.transfers:
                return 404, {}, "<Error><Code>NoSuchUpload</Code></Error>"
            if seen.part:
                state.transfers[upload].parts[seen.part] = thing
                return 200, {"ETag": f'"{thing.etag}"'}, ""
            ended = state.transfers.pop(upload)
            return self._completed(seen.key, ended, body) if body else (204, {}, "")
        if seen.operation == "PutObject":
            state.objects[seen.key] = thing
            return 200, {"ETag": f'"{thing.etag}"'}, ""
        if seen.operation == "CreateMultipartUpload":
            upload = f"transfer-{next(state.serial)}"
            state.transfers[upload] = Transfer(sha256)
            text = f"<UploadId>{upload}</UploadId>"
            return 200, {}, f"<InitiateMultipartUploadResult>{text}</InitiateMultipartUploadResult>"
        return self._told(seen)

    def _completed(self, key: str, transfer: Transfer, body: bytes) -> tuple[int, dict[str, str], str]:
        numbers = [int(number) for number in _PART.findall(body)]
        if numbers != sorted(transfer.parts):
            return 400, {}, "<Error><Code>InvalidPart</Code></Error>"
        made = self.state.objects[key] = joined([transfer.parts[number] for number in numbers], transfer.sha256)
        text = f"<Key>{escape(key)}</Key><ETag>&quot;{made.etag}&quot;</ETag>"
        return 200, {}, f"<CompleteMultipartUploadResult>{text}</CompleteMultipartUploadResult>"

    def _told(self, seen: Seen) -> tuple[int, dict[str, str], str]:
        if seen.operation == "HeadObject":
            found = self.state.objects.get(seen.key)
            if found is None:
                return 404, {}, ""
            etag = {"ETag": f'"{found.etag}"', "x-amz-meta-sha256": found.sha256}
            return 200, etag | {"Content-Length": str(found.length)}, ""
        if seen.operation in {"ListObjectsV2", "ListMultipartUploads"}:
            return 200, {}, "<ListResult><IsTruncated>false</IsTruncated></ListResult>"
        return 501, {}, "<Error><Code>NotImplemented</Code></Error>"

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing: the record is at `LOG`."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_: object) -> None:
        """A client that is killed in the middle of a body is what one case is about."""


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(prog="python -m bench.bucket")
    parser.add_argument("port", type=int)
    parser.add_argument("certificate", help="file with the key and the certificate")
    parser.add_argument("--rate", type=float, default=0.0, help="bytes a second; 0: as fast as it goes")
    arguments = parser.parse_args()
    Handler.state = State(arguments.rate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(arguments.certificate)
    server = _Server(("127.0.0.1", arguments.port), Handler)
    if arguments.rate:
        server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()


if __name__ == "__main__":
    main()

"""What an S3 server and its client say to each other, as values: a request, a reply, a refusal, and bytes that came.

Must not know what an operation does, nor connections. Invariant: what a body hashes to is known once it is whole, and
no body is ever copied: an object is made of the bytes of its parts as they came.
"""

import hashlib
import zlib
from base64 import b64encode
from collections.abc import Iterator, Mapping
from email.utils import formatdate
from functools import cached_property
from http import HTTPStatus
from io import BufferedReader
from pathlib import Path
from typing import Self
from urllib.parse import parse_qsl, unquote
from xml.sax.saxutils import escape

from msgspec import Struct, field

from rig.proxy import Coded

READ = 1 << 18
MARKS = ("uploads", "uploadId", "cors", "lifecycle", "location", "delete", "list-type")  # in a query: which operation
OPERATIONS = {  # method, whether there is a key, what marks the query
    ("GET", False, "cors"): "GetBucketCors",
    ("PUT", False, "cors"): "PutBucketCors",
    ("GET", False, "lifecycle"): "GetBucketLifecycleConfiguration",
    ("PUT", False, "lifecycle"): "PutBucketLifecycleConfiguration",
    ("GET", False, "location"): "GetBucketLocation",
    ("GET", False, "uploads"): "ListMultipartUploads",
    ("GET", False, "list-type"): "ListObjectsV2",
    ("POST", False, "delete"): "DeleteObjects",
    ("HEAD", False, ""): "HeadBucket",
    ("PUT", True, ""): "PutObject",
    ("GET", True, ""): "GetObject",
    ("HEAD", True, ""): "HeadObject",
    ("DELETE", True, ""): "DeleteObject",
    ("POST", True, "uploads"): "CreateMultipartUpload",
    ("PUT", True, "uploadId"): "UploadPart",
    ("GET", True, "uploadId"): "ListParts",
    ("POST", True, "uploadId"): "CompleteMultipartUpload",
    ("DELETE", True, "uploadId"): "AbortMultipartUpload",
}


class Refused(Exception):
    """An answer in the words of S3 instead of what was asked for."""

    def __init__(self, status: int, code: str, message: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, code, message)
        self.status = status
        self.code = code
        self.message = message or code
        self.headers = dict(headers or {})

    def reply(self) -> "Reply":
        inner = tag("Code", self.code) + tag("Message", self.message)
        text = f'<?xml version="1.0" encoding="UTF-8"?><Error>{inner}</Error>'
        return Reply(
            status=self.status, headers={"Content-Type": "application/xml"} | self.headers, body=[text.encode()]
        )


class Ended(Exception):
    """The connection is over, or is to be."""


class Blob:
    """Bytes in the order in which they came, in memory or in a file of their own."""

    def __init__(self, file: Path | None = None) -> None:
        self.length = 0
        self._memory = bytearray()
        self._file = file
        self._sink = file.open("wb") if file else None
        self._md5 = hashlib.md5()

    def write(self, data: bytes) -> None:
        self.length += len(data)
        self._md5.update(data)
        if self._sink is None:
            self._memory += data
        else:
            self._sink.write(data)

    def close(self) -> None:
        if self._sink is not None:
            self._sink.close()

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        if self._file is None:
            yield from (bytes(memoryview(self._memory)[at : min(at + READ, stop)]) for at in range(start, stop, READ))
            return
        with self._file.open("rb") as source:
            source.seek(start)
            for at in range(start, stop, READ):
                yield source.read(min(READ, stop - at))

    @property
    def md5(self) -> bytes:
        return self._md5.digest()

    @cached_property
    def sha256(self) -> bytes:
        digest = hashlib.sha256()
        for data in self.read(0, self.length):
            digest.update(data)
        return digest.digest()

    def checksum(self, algorithm: str) -> str:
        """Say what they hash to, as a header of S3 has it."""
        if algorithm == "sha256":
            return base64(self.sha256)
        crc32 = 0
        for data in self.read(0, self.length):
            crc32 = zlib.crc32(data, crc32)
        return base64(crc32.to_bytes(4))


class Request(Struct):
    """One request; its body is whole when an operation sees it."""

    method: str
    path: str  # as it was sent
    query: dict[str, str]
    headers: dict[str, str]  # names in lower case
    bucket: str
    key: str
    operation: str
    body: Blob = field(default_factory=Blob)

    @classmethod
    def read(cls, line: str, headers: dict[str, str]) -> Self:
        method, target, _ = line.split(" ")
        path, _, query = target.partition("?")
        words = dict(parse_qsl(query, keep_blank_values=True))
        bucket, _, key = unquote(path[1:]).partition("/")
        mark = next((mark for mark in MARKS if mark in words), "")
        operation = OPERATIONS.get((method, bool(key), mark), f"{method} {mark}".strip())
        return cls(method, path, words, headers, bucket, key, operation)

    @property
    def length(self) -> int | None:
        """How long its body is; None when it does not say."""
        value = self.headers.get("content-length")
        if value is None:
            return 0 if self.method in {"GET", "HEAD", "DELETE"} else None
        return int(value)

    @property
    def upload_id(self) -> str:
        return self.query.get("uploadId", "")

    @property
    def part(self) -> int | None:
        return int(self.query["partNumber"]) if "partNumber" in self.query else None


class Reply(Struct):
    """One reply; its body is made while it is sent."""

    status: int = 200
    headers: dict[str, str] = {}
    body: Iterator[bytes] | list[bytes] = []
    length: int | None = None  # None: what the body comes to

    def head(self, *, now: float) -> bytes:
        length = sum(map(len, self.body)) if self.length is None else self.length
        fixed = {"Date": formatdate(now, usegmt=True), "Server": "double", "Content-Length": str(length)}
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in (fixed | self.headers).items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


def pieces(request: Request, reader: BufferedReader, length: int) -> Iterator[bytes]:
    """Read the body of a request, at most so many bytes at once. Raises `Ended` when it ends too early."""
    if "transfer-encoding" in request.headers:  # it will be refused, once the client has sent it all
        body = Coded()
        while not body.over:
            line = reader.readline()
            body.take(line)
            if not line:
                raise Ended
        return
    left = request.length or 0
    while left:
        data = reader.read1(min(left, length))
        if not data:
            raise Ended
        left -= len(data)
        yield data


def document(name: str, *inner: str) -> Reply:
    """Answer with a document of XML."""
    space = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
    text = f'<?xml version="1.0" encoding="UTF-8"?><{name} {space}>{"".join(inner)}</{name}>'
    return Reply(headers={"Content-Type": "application/xml"}, body=[text.encode()])


def tag(name: str, value: object) -> str:
    """One element of XML that has no others in it; nothing when there is nothing to say."""
    return "" if value is None else f"<{name}>{escape(str(value))}</{name}>"


def base64(data: bytes) -> str:
    """Bytes as headers of S3 carry them."""
    return b64encode(data).decode()

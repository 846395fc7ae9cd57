"""The S3 operations of the R2 double, one method each.

Must not know sockets, signatures or faults. Invariant: one operation at a time sees the buckets.
"""

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from email.utils import formatdate
from itertools import islice
from urllib.parse import quote
from xml.etree import ElementTree as ET

from rig.r2_refusals import CHECKSUM, CHECKSUMS, CLASS, META
from rig.r2_state import Bucket, Condition, Multipart, Object, Part, Rules
from rig.s3_wire import Blob, Refused, Reply, Request, base64, document, tag

KEPT = ("content-type", "cache-control", "content-disposition", "content-encoding", "content-language", "expires")
PARTS = 10_000


class Api:
    """All operations over all buckets; one at a time."""

    def __init__(self, rules: Rules, names: Sequence[str]) -> None:
        self.rules = rules
        self.buckets = {name: Bucket() for name in names}
        self._lock = threading.Lock()
        self._operations: dict[str, Callable[[Bucket, Request], Reply]] = {
            "HeadBucket": lambda _bucket, _request: Reply(),
            "GetBucketLocation": lambda _bucket, _request: document("LocationConstraint", "auto"),
            "GetBucketCors": lambda bucket, _request: _text(bucket.cors, "NoSuchCORSConfiguration"),
            "PutBucketCors": _put_cors,
            "GetBucketLifecycleConfiguration": lambda bucket, _: _text(
                bucket.lifecycle, "NoSuchLifecycleConfiguration"
            ),
            "PutBucketLifecycleConfiguration": _put_lifecycle,
            "ListObjectsV2": self.list_objects,
            "ListMultipartUploads": self.list_multiparts,
            "PutObject": self.put_object,
            "GetObject": self.get_object,
            "HeadObject": self.get_object,
            "DeleteObject": self.delete_object,
            "DeleteObjects": self.delete_objects,
            "CreateMultipartUpload": self.create_multipart,
            "UploadPart": self.upload_part,
            "ListParts": self.list_parts,
            "CompleteMultipartUpload": self.complete_multipart,
            "AbortMultipartUpload": self.abort_multipart,
        }

    def carry_out(self, request: Request) -> Reply:
        """Do what a request asks for, once its body is whole."""
        operation = self._operations.get(request.operation)
        if operation is None:
            raise Refused(501, "NotImplemented", f"{request.operation} not implemented")
        with self._lock:
            if request.bucket not in self.buckets:
                raise Refused(404, "NoSuchBucket", "The specified bucket does not exist.")
            return operation(self.buckets[request.bucket], request)

    def put_object(self, bucket: Bucket, request: Request) -> Reply:
        checksum = _verified(request)
        self.rules.admit(bucket, request.key, request.headers)
        etag = f'"{request.body.md5.hex()}"'
        made = Object(
            blobs=[request.body], etag=etag, headers=_kept(request), checksum=checksum, modified=self.rules.clock()
        )
        self.rules.write(bucket, request.key, made)
        return Reply(headers={"ETag": etag} | _checksum_headers(checksum))

    def get_object(self, bucket: Bucket, request: Request) -> Reply:
        """Answer HEAD too, with the same head."""
        found = bucket.objects.get(request.key)
        if found is None:
            raise Refused(404, "NoSuchKey", "The specified key does not exist.")
        if (wanted := request.headers.get("if-match")) not in {None, "*", found.etag}:
            raise Refused(412, "PreconditionFailed", f"At least one of the preconditions did not hold: {wanted}")
        headers = {
            "ETag": found.etag,
            "Last-Modified": formatdate(found.modified, usegmt=True),
            "Accept-Ranges": "bytes",
            **found.headers,
            **{
                name.removeprefix("response-"): value
                for name, value in request.query.items()
                if name.startswith("response-")
            },
        }
        if request.headers.get("if-none-match") in {"*", found.etag}:
            return Reply(status=304, headers=headers, length=0)
        if request.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED" and "range" not in request.headers:
            headers |= _checksum_headers(found.checksum)
        start, stop = _range(request.headers.get("range"), found.length)
        status = 200
        if "range" in request.headers:
            status = 206
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{found.length}"
        body = found.read(start, stop) if request.method == "GET" else iter(())
        return Reply(status=status, headers=headers, body=body, length=stop - start)

    def delete_object(self, bucket: Bucket, request: Request) -> Reply:
        bucket.objects.pop(request.key, None)
        return Reply(status=204)

    def delete_objects(self, bucket: Bucket, request: Request) -> Reply:
        _verified(request, needed=True)
        keys = [element.text or "" for element in _xml(request.body).iter() if element.tag.endswith("Key")]
        for key in keys:
            bucket.objects.pop(key, None)
        return document("DeleteResult", *(f"<Deleted>{tag('Key', key)}</Deleted>" for key in keys))

    def list_objects(self, bucket: Bucket, request: Request) -> Reply:
        query = request.query
        if query.get("delimiter"):
            raise Refused(501, "NotImplemented", "The double knows no delimiter")
        prefix, limit = query.get("prefix", ""), int(query.get("max-keys", 1000))
        after = query.get("continuation-token") or query.get("start-after", "")
        keys = sorted((key for key in bucket.objects if key.startswith(prefix) and key > after), key=str.encode)
        rows, rest = keys[:limit], keys[limit:]
        written = _spelling(request)
        return document(
            "ListBucketResult",
            tag("Name", request.bucket) + tag("Prefix", written(prefix)) + tag("MaxKeys", limit),
            tag("EncodingType", query.get("encoding-type")) + tag("KeyCount", len(rows)),
            tag("IsTruncated", "true" if rest else "false") + tag("NextContinuationToken", rows[-1] if rest else None),
            *(_object(written(key), bucket.objects[key]) for key in rows),
        )

    def create_multipart(self, bucket: Bucket, request: Request) -> Reply:
        algorithm = request.headers.get(f"{CHECKSUM}algorithm", "").lower() or None
        if algorithm not in {None, "sha256"} or request.headers.get(f"{CHECKSUM}type", "COMPOSITE") != "COMPOSITE":
            raise Refused(501, "NotImplemented", "The double knows SHA-256, which is composite, for multipart uploads")
        upload = Multipart(key=request.key, headers=_kept(request), algorithm=algorithm, began=self.rules.clock())
        bucket.multiparts[upload.upload_id] = upload
        inner = tag("Bucket", request.bucket) + tag("Key", request.key) + tag("UploadId", upload.upload_id)
        return document("InitiateMultipartUploadResult", inner)

    def upload_part(self, bucket: Bucket, request: Request) -> Reply:
        upload = _multipart(bucket, request)
        number = request.part or 0
        if not 1 <= number <= PARTS:
            raise Refused(400, "InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive.")
        checksum = _verified(request)
        part = Part(blob=request.body, checksum=checksum[1] if checksum else None, modified=self.rules.clock())
        upload.parts[number] = part
        return Reply(headers={"ETag": part.etag} | _checksum_headers(checksum))

    def list_parts(self, bucket: Bucket, request: Request) -> Reply:
        upload = _multipart(bucket, request)
        after, limit = int(request.query.get("part-number-marker") or 0), int(request.query.get("max-parts", 1000))
        numbers = [number for number in sorted(upload.parts) if number > after]
        rows, rest = numbers[:limit], numbers[limit:]
        return document(
            "ListPartsResult",
            tag("Bucket", request.bucket) + tag("Key", upload.key) + tag("UploadId", upload.upload_id),
            tag("PartNumberMarker", after) + tag("MaxParts", limit) + tag("IsTruncated", "true" if rest else "false"),
            tag("NextPartNumberMarker", rows[-1] if rest else None),
            *(_part(number, upload.parts[number]) for number in rows),
        )

    def list_multiparts(self, bucket: Bucket, request: Request) -> Reply:
        query = request.query
        prefix, limit = query.get("prefix", ""), int(query.get("max-uploads", 1000))
        after = (query.get("key-marker", ""), query.get("upload-id-marker", "\U0010ffff"))
        uploads = sorted(bucket.multiparts.values(), key=lambda one: (one.key, one.upload_id))
        rows = [one for one in uploads if one.key.startswith(prefix) and (one.key, one.upload_id) > after]
        shown = list(islice(rows, limit))
        more = len(rows) > limit
        written = _spelling(request)
        return document(
            "ListMultipartUploadsResult",
            tag("Bucket", request.bucket) + tag("Prefix", written(prefix)) + tag("MaxUploads", limit),
            tag("EncodingType", query.get("encoding-type")) + tag("IsTruncated", "true" if more else "false"),
            tag("NextKeyMarker", written(shown[-1].key)) + tag("NextUploadIdMarker", shown[-1].upload_id)
            if more
            else "",
            *(_upload(written(one.key), one) for one in shown),
        )

    def complete_multipart(self, bucket: Bucket, request: Request) -> Reply:
        upload = _multipart(bucket, request)
        wanted = [
            (int(element.findtext("{*}PartNumber", "0")), element.findtext("{*}ETag", ""))
            for element in _xml(request.body).iter()
            if element.tag.endswith("}Part")
        ]
        conditions = {name: value for name, value in request.headers.items() if name in {"if-match", "if-none-match"}}
        if conditions and self.rules.completion is Condition.REFUSED:
            raise Refused(501, "NotImplemented", f"Headers {conditions} not implemented")
        self.rules.admit(bucket, upload.key, conditions if self.rules.completion is Condition.HONOURED else {})
        made = self.rules.assemble(upload, wanted)
        self.rules.write(bucket, upload.key, made)
        del bucket.multiparts[upload.upload_id]
        inner = tag("Bucket", request.bucket) + tag("Key", upload.key) + tag("ETag", made.etag)
        return document("CompleteMultipartUploadResult", inner)

    def abort_multipart(self, bucket: Bucket, request: Request) -> Reply:
        del bucket.multiparts[_multipart(bucket, request).upload_id]
        return Reply(status=204)


def _multipart(bucket: Bucket, request: Request) -> Multipart:
    upload = bucket.multiparts.get(request.upload_id)
    if upload is None or upload.key != request.key:  # 10024
        raise Refused(404, "NoSuchUpload", "The specified multipart upload does not exist.")
    return upload


def _verified(request: Request, *, needed: bool = False) -> tuple[str, str] | None:
    """Hold a body against what was said of it; return the checksum to store (algorithm, value)."""
    body, headers = request.body, request.headers
    md5 = headers.get("content-md5")
    if md5 is not None and md5 != base64(body.md5):
        raise Refused(400, "BadDigest", "The Content-MD5 you specified did not match what we received.")
    found = [(name, headers[CHECKSUM + name]) for name in CHECKSUMS if CHECKSUM + name in headers]
    for name, value in found:
        if value != body.checksum(name):
            raise Refused(400, "BadDigest", f"The {name} you specified did not match the calculated checksum.")
    if needed and md5 is None and not found:
        raise Refused(400, "InvalidRequest", "Missing required header for this request: Content-MD5")
    return found[0] if found else None


def _kept(request: Request) -> dict[str, str]:
    kept = {name: value for name, value in request.headers.items() if name in KEPT or name.startswith(META)}
    if request.headers.get(CLASS, "STANDARD") != "STANDARD":
        kept[CLASS] = request.headers[CLASS]
    return {"content-type": "application/octet-stream"} | kept


def _checksum_headers(checksum: tuple[str, str] | None) -> dict[str, str]:
    return {CHECKSUM + checksum[0]: checksum[1]} if checksum else {}


def _range(text: str | None, length: int) -> tuple[int, int]:
    """Say which bytes a header asks for: from where, and where they stop."""
    if text is None:
        return 0, length
    first, _, last = text.removeprefix("bytes=").partition("-")
    start = int(first) if first else max(length - int(last), 0)
    stop = min(int(last) + 1, length) if first and last else length
    if start >= stop:
        raise Refused(
            416, "InvalidRange", "The requested range is not satisfiable", {"Content-Range": f"bytes */{length}"}
        )
    return start, stop


def _spelling(request: Request) -> Callable[[str], str]:
    """Say how keys are to be written in a list."""
    return quote if request.query.get("encoding-type") == "url" else str


def _xml(body: Blob) -> ET.Element:
    try:
        return ET.fromstring(b"".join(body.read(0, body.length)))
    except ET.ParseError as error:
        raise Refused(400, "MalformedXML", str(error)) from None


def _text(xml: str | None, missing: str) -> Reply:
    if xml is None:
        raise Refused(404, missing, "The configuration does not exist.")
    return Reply(headers={"Content-Type": "application/xml"}, body=[xml.encode()])


def _put_cors(bucket: Bucket, request: Request) -> Reply:
    _verified(request, needed=True)
    bucket.cors = b"".join(request.body.read(0, request.body.length)).decode()
    return Reply()


def _put_lifecycle(bucket: Bucket, request: Request) -> Reply:
    _verified(request, needed=True)
    bucket.lifecycle = b"".join(request.body.read(0, request.body.length)).decode()
    return Reply()


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _object(key: str, one: Object) -> str:
    words = tag("Key", key) + tag("LastModified", _iso(one.modified)) + tag("ETag", one.etag) + tag("Size", one.length)
    return f"<Contents>{words}{tag('StorageClass', one.headers.get(CLASS, 'STANDARD'))}</Contents>"


def _part(number: int, part: Part) -> str:
    words = tag("PartNumber", number) + tag("LastModified", _iso(part.modified)) + tag("ETag", part.etag)
    return f"<Part>{words}{tag('Size', part.blob.length)}{tag('ChecksumSHA256', part.checksum)}</Part>"


def _upload(key: str, one: Multipart) -> str:
    words = tag("Key", key) + tag("UploadId", one.upload_id) + tag("Initiated", _iso(one.began))
    return f"<Upload>{words}{tag('StorageClass', one.headers.get(CLASS, 'STANDARD'))}</Upload>"

"""One S3 request each, by content key.

Owns the client; with `s3_errors` the only file that knows boto3. Must not know in which order requests are made.
Invariant: each is made in the way that R2 takes: no trailers, no expectations, `Content-MD5` on what has a body.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from msgspec import Struct

from tusplyr.core.headers import content_disposition
from tusplyr.core.media import media_of
from tusplyr.core.model import Content
from tusplyr.stores.s3_errors import ABSENT, UNKNOWN_CONDITION, Rejected, Vanished, code_of, strange, translated
from tusplyr.stores.s3_options import S3Options
from tusplyr.stores.s3_parts import Window

SPARE = 8  # connections kept open for requests that are not parts
IMMUTABLE = "public, max-age=31536000, immutable"  # a key is made of its content
SHA256 = "sha256"  # name of the metadata


class Found(Struct, frozen=True):
    """What the store says of an object.

    Attributes:
        length: bytes.
        sha256: hex digest, as whoever wrote it said; None where somebody else wrote it.
        etag: changes when the object does.
    """

    length: int
    sha256: str | None
    etag: str


class S3Client:
    """The client, bound to its buckets. Threads may share it. Raises `StoreDown`."""

    def __init__(self, options: S3Options) -> None:
        self._options = options
        self._aware = {"put_object": options.conditional, "complete_multipart_upload": options.conditional}
        self._s3 = connect(options)

    @property
    def puts_once(self) -> bool:
        """A `put` onto a key that is taken is refused, as far as is known."""
        return self._aware["put_object"]

    def head(self, key: str) -> Found | None:
        """Say what is under a key."""
        with self._asking(key) as place:
            try:
                answer = self._s3.head_object(**place)
            except ClientError as error:
                if code_of(error) in ABSENT:
                    return None
                raise
            metadata = {name.lower(): value for name, value in answer.get("Metadata", {}).items()}
            return Found(answer["ContentLength"], metadata.get(SHA256), answer["ETag"])

    def look(self, key: str) -> None:
        """Raise `StoreDown` where a key has no bucket: `head` finds nothing there, since its answer has no words."""
        with self._asking(key) as place:
            look(self._s3, place["Bucket"], place["Key"])

    def put(self, content: Content, body: Window, md5: str) -> str:
        """Write an object in one request; return its ETag.

        `Taken` where there is one; it is overwritten unless `puts_once`.
        """
        with self._asking(content.key):
            written = self._once("put_object", **self._described(content), Body=body, ContentMD5=md5)
            return str(written.get("ETag", ""))

    def create(self, content: Content) -> tuple[str, bool]:
        """Begin a multipart transfer; return its id, and whether no other one can have begun, its answer lost."""
        with self._asking(content.key):
            answer = self._s3.create_multipart_upload(**self._described(content))
            return str(answer["UploadId"]), not answer["ResponseMetadata"].get("RetryAttempts")

    def upload_part(self, key: str, multipart_id: str, number: int, body: Window, md5: str) -> str:
        """Send a part; return its ETag. `Vanished` where the transfer is not known."""
        named = {"UploadId": multipart_id, "PartNumber": number}
        with self._asking(key) as place:
            return str(self._s3.upload_part(**place, **named, Body=body, ContentMD5=md5)["ETag"])

    def complete(self, key: str, multipart_id: str, parts: Mapping[int, str]) -> str:
        """Make an object of the parts; return its ETag. `Vanished`, `Taken` or `Spoiled` where that cannot be."""
        listed = {"Parts": [{"PartNumber": number, "ETag": parts[number]} for number in sorted(parts)]}
        target = {"UploadId": multipart_id, "MultipartUpload": listed}
        with self._asking(key) as place:
            return str(self._once("complete_multipart_upload", **place, **target).get("ETag", ""))

    def abort(self, key: str, multipart_id: str) -> None:
        """Give a transfer up. No error when it is not known."""
        try:
            with self._asking(key) as place:
                self._s3.abort_multipart_upload(**place, UploadId=multipart_id)
        except Vanished:
            return

    def multiparts(self, key: str) -> list[str]:
        """Return the ids of all transfers under exactly this key that have begun and not ended."""
        pages = self._s3.get_paginator("list_multipart_uploads")
        with self._asking(key) as place:
            return [
                str(upload["UploadId"])
                for page in pages.paginate(Bucket=place["Bucket"], Prefix=place["Key"])
                for upload in page.get("Uploads", ())
                if upload["Key"] == place["Key"]
            ]

    def get(self, key: str, start: int, etag: str) -> Any:
        """Return the body of an object from an offset on, to be closed; `Taken` where it is another by now."""
        with self._asking(key) as place:
            return self._s3.get_object(**place, Range=f"bytes={start}-", IfMatch=etag)["Body"]

    def keys(self) -> Iterator[str]:
        """Yield the content keys in every folder."""
        pages = self._s3.get_paginator("list_objects_v2")
        for folder, bucket in self._options.buckets.items():
            with translated(f"{folder}/ in bucket {bucket}"):
                for page in pages.paginate(Bucket=bucket, Prefix=f"{self._options.prefix}{folder}/"):
                    recognise(page, bucket)
                    for listed in page.get("Contents", ()):
                        yield listed["Key"].removeprefix(self._options.prefix)

    def presigned(self, key: str, seconds: int) -> str:
        """Return an address at which everybody may read an object for so long. Asks nobody."""
        with self._asking(key) as place:
            return str(self._s3.generate_presigned_url("get_object", Params=place, ExpiresIn=seconds))

    def name(self, key: str) -> str:
        """Name a key and its bucket, for a person."""
        return f"{key} in bucket {self._at(key)['Bucket']}"

    def close(self) -> None:
        """Close the connections."""
        self._s3.close()

    @contextmanager
    def _asking(self, key: str) -> Iterator[dict[str, Any]]:
        """Say where a key is, for a request about it, and translate what that raises."""
        place = self._at(key)
        with translated(self.name(key)):
            yield place

    def _at(self, key: str) -> dict[str, Any]:
        folder = key.partition("/")[0]
        if folder not in self._options.buckets:
            raise Rejected(f"{key}: there is no bucket for {folder}/")
        return {"Bucket": self._options.buckets[folder], "Key": self._options.prefix + key}

    def _described(self, content: Content) -> dict[str, Any]:
        described = self._at(content.key) | {
            "Metadata": {SHA256: content.sha256},
            "ContentType": media_of(content.key).media_type,
            "ContentDisposition": content_disposition(content.key),
            "CacheControl": IMMUTABLE,
        }
        if self._options.storage_class:
            described["StorageClass"] = self._options.storage_class
        return described

    def _once(self, operation: str, **parameters: Any) -> Any:
        """Write where nothing is, or refuse, as far as the server can.

        One that says that it does not know the condition is not asked again: R2 documents it for PUT alone.
        """
        if self._aware[operation]:
            try:
                return getattr(self._s3, operation)(**parameters, IfNoneMatch="*")
            except ClientError as error:
                if code_of(error) not in UNKNOWN_CONDITION:
                    raise
                self._aware[operation] = False
                if operation == "put_object":
                    text = "it does not know If-None-Match; what is there is asked for first from now on"
                    raise Rejected(f"bucket {parameters['Bucket']}: {text}") from error
        return getattr(self._s3, operation)(**parameters)


def look(client: Any, bucket: str, prefix: str) -> Any:
    """List one object with a bare client, whose errors it raises; `StoreDown` where it is no bucket that answers."""
    answer = client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
    recognise(answer, bucket)
    return answer


def recognise(listed: Mapping[str, Any], bucket: str) -> None:
    """Raise `StoreDown` where a list is not that of a bucket: what answers everybody with a page is no store."""
    if not listed.get("Name"):
        raise strange(f"bucket {bucket}", "a list without the name of its bucket")


def connect(options: S3Options) -> Any:
    """Return boto3's client, set up as R2 needs it. Raises `StoreDown` for what it cannot be made of."""
    with translated(str(options.endpoint_url or "AWS")):
        client: Any = boto3.client(
            "s3",
            endpoint_url=options.endpoint_url,
            verify=options.ca,
            region_name=None if options.region == "auto" and options.endpoint_url is None else options.region,
            aws_access_key_id=options.access_key,
            aws_secret_access_key=options.secret_key,
            config=_config(options),
        )
    # R2 does not know the expectation: each request with a body would wait a second for an answer to it.
    client.meta.events.register_last("before-call.s3", _expect_nothing)
    pools = client._endpoint.http_session._pool_classes_by_scheme  # noqa: SLF001 - there is no other way in
    pools.update({scheme: _patient(pool, options.read_timeout) for scheme, pool in pools.items()})
    return client


def _patient(pool: Any, seconds: float) -> Any:
    """Make connections that wait so long while they send, too.

    Without it the time-out of connecting, which is short, holds until a request has been sent.
    """

    def request(self: Any, *arguments: Any, **named: Any) -> None:
        if self.sock is None:
            self.connect()
        self.timeout = seconds
        pool.ConnectionCls.request(self, *arguments, **named)

    connection = type("Patient", (pool.ConnectionCls,), {"request": request})
    return type(pool.__name__, (pool,), {"ConnectionCls": connection})


def _config(options: S3Options) -> Config:
    return Config(
        signature_version="s3v4",
        s3={"addressing_style": options.addressing} | _signing(options),
        request_checksum_calculation="when_required",  # R2 refuses the trailers that would be sent otherwise
        response_checksum_validation="when_required",
        connect_timeout=options.connect_timeout,
        read_timeout=options.read_timeout,
        retries={"mode": "standard", "total_max_attempts": options.attempts},
        max_pool_connections=options.concurrency + SPARE,
    )


def _signing(options: S3Options) -> dict[str, bool]:
    """Leave bodies unsigned over plain HTTP, too: their `Content-MD5` is signed, and they need not be read again."""
    plain = (options.endpoint_url or "").startswith("http://")
    return {"payload_signing_enabled": False} if plain else {}


def _expect_nothing(params: dict[str, Any], **_: Any) -> None:
    params["headers"].pop("Expect", None)

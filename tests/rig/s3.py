"""Our own store over a bucket of a test: what it asks of the server, and what goes wrong on the way.

Owns the hooks into the client. Must not know a server. Invariant: a request is recorded before it is sent.
"""

import threading
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ConnectTimeoutError, ReadTimeoutError

from rig.buckets import MIB, Bucket
from tusplyr.ports import Journal
from tusplyr.stores.s3 import S3Store
from tusplyr.stores.s3_client import S3Client
from tusplyr.stores.s3_options import S3Options


def options(bucket: Bucket, **other: Any) -> S3Options:
    """Make small options for a bucket: parts as small as it takes, one try for each request."""
    given: dict[str, Any] = {
        "buckets": {"audio": bucket.name, "files": bucket.name, "images": bucket.other},
        "endpoint_url": bucket.endpoint_url,
        "region": bucket.region,
        "ca": str(bucket.ca) if bucket.ca else None,
        "access_key": bucket.access_key,
        "secret_key": bucket.secret,
        "addressing": "path",
        "part_size": bucket.part,
        "single_put_limit": bucket.part,
        "attempts": 1,
        "timeout": 10,
    }
    return S3Options(**given | other)


class Watched(S3Store):
    """A store whose requests are recorded, and of which one can be lost.

    Attributes:
        calls: name of every request, in order.
        lose: number of the request (from 1) that never arrives.
        deafen: number of the request whose answer never arrives.
        then: called before each request with its number.
    """

    def __init__(self, options: S3Options, journal: Journal) -> None:
        super().__init__(options, journal)
        self.calls: list[str] = []
        self.lose = 0
        self.deafen = 0
        self.then: Callable[[int], None] = lambda _: None
        self._deaf = threading.local()
        events = self._client._s3.meta.events
        events.register("before-send.s3", self._sent)
        events.register("response-received.s3", self._answered)

    def _sent(self, event_name: str, **_: Any) -> None:
        self.calls.append(event_name.rpartition(".")[2])
        number = len(self.calls)
        self._deaf.now = number == self.deafen
        self.then(number)
        if number == self.lose:
            raise ConnectTimeoutError(endpoint_url="lost")

    def _answered(self, **_: Any) -> None:
        if getattr(self._deaf, "now", False):
            self._deaf.now = False
            raise ReadTimeoutError(endpoint_url="deaf")


def raw(bucket: Bucket) -> Any:
    """Return the bare client of a store of its own, to look at a bucket. The caller closes it."""
    return S3Client(options(bucket))._s3


def unfinished(bucket: Bucket) -> list[str]:
    """Return the keys of all multipart transfers in the buckets of a test."""
    client = raw(bucket)
    try:
        return [
            upload["Key"]
            for name in (bucket.name, bucket.other)
            for upload in client.list_multipart_uploads(Bucket=name).get("Uploads", ())
        ]
    finally:
        client.close()


__all__ = ["MIB", "Watched", "options", "raw", "unfinished"]

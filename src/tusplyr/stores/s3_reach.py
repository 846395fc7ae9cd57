"""Whether a bucket can be used at all, seen in passing: at the start of the server, and before it is probed.

Owns the first look. Must not know what else is tried. Invariant: nothing is written, and what is begun is aborted; it
asks once, and waits briefly.
"""

import secrets
from contextlib import closing
from typing import Any

from msgspec.structs import replace

from tusplyr.core.errors import StoreDown
from tusplyr.stores import s3_client
from tusplyr.stores.s3_client import connect
from tusplyr.stores.s3_errors import Taken, Vanished, translated
from tusplyr.stores.s3_options import S3Options

NAME = ".tusplyr-doctor/"  # no content key begins so
PATIENCE = 10.0  # seconds that an answer may take


class Elsewhere(StoreDown):
    """The region is wrong. The client corrects it for some requests, not for all, and not in presigned addresses."""

    def __init__(self, bucket: str, said: str, *rest: str) -> None:
        super().__init__(f"bucket {bucket}: the region is wrong: it is {rest[-1]}, and not {said}")
        self.change = f"Set S3_REGION={rest[-1]}."


def reach(options: S3Options) -> list[str]:
    """Return what keeps each bucket from being used, as far as a list and an empty transfer show it. Blocking."""
    try:
        client = connect(brisk(options))
    except StoreDown as error:
        return [str(error)]
    with closing(client):
        problems = [_reach(client, bucket, options.prefix) for bucket in buckets_of(options)]
    return [problem for problem in problems if problem]


def _reach(client: Any, bucket: str, prefix: str) -> str:
    """Return what keeps a bucket from being used. What is begun in it for that is aborted, and nothing is written."""
    key = f"{prefix}{NAME}{secrets.token_hex(8)}"
    try:
        with translated(f"bucket {bucket}"):
            look(client, bucket, prefix)
        with translated(f"bucket {bucket} cannot be written to"):
            begun = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        with translated(f"bucket {bucket} does not let unfinished transfers be aborted"):
            client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=begun)
    except (StoreDown, Taken, Vanished) as error:
        return str(error)
    return ""


def look(client: Any, bucket: str, prefix: str) -> Any:
    """Do as `s3_client.look`, and raise `Elsewhere` where the client had to correct the region."""
    regions: list[str] = []

    def note(request: Any, **_: Any) -> None:
        regions.append(str(request.context.get("signing", {}).get("region")))

    client.meta.events.register("before-sign.s3", note)
    try:
        answer = s3_client.look(client, bucket, prefix)
    finally:
        client.meta.events.unregister("before-sign.s3", note)
    if len(set(regions)) > 1:
        raise Elsewhere(bucket, *regions)
    return answer


def brisk(options: S3Options) -> S3Options:
    """Ask once and wait briefly: somebody is waiting, and a bucket that is slow to answer is worth a word."""
    return replace(options, attempts=1, timeout=min(options.timeout, PATIENCE))


def buckets_of(options: S3Options) -> list[str]:
    """Return each bucket once."""
    return list(dict.fromkeys(options.buckets.values()))

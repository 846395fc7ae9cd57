"""Whether a reader gets an object at the address that is given out for it.

Owns the request of a reader, who has no credentials. Must not know how the object came there. Invariant: it counts as
readable only where the bytes are those that were written: a page of somebody's login is no object.
"""

import ssl
import urllib.request
from collections.abc import Collection, Iterator
from http.client import HTTPException
from typing import Any
from urllib.parse import quote

from botocore.httpsession import get_cert_path
from msgspec import Struct

from tusplyr.core.findings import Finding, Verdict
from tusplyr.stores.s3_options import S3Options
from tusplyr.stores.s3_reach import PATIENCE

SETTINGS = {"audio": "S3_PUBLIC_URL", "images": "S3_IMAGE_PUBLIC_URL", "files": "S3_FILE_PUBLIC_URL"}
MOST = 1024  # bytes that are read


class Sample(Struct, frozen=True):
    """An object that readers should get.

    Attributes:
        client: boto3's.
        bucket: where it is.
        key: its whole key.
        bodies: what it may hold.
    """

    client: Any
    bucket: str
    key: str
    bodies: Collection[bytes]

    def found(self, verdict: Verdict, text: str, change: str = "") -> Finding:
        """Say something about its bucket."""
        return Finding(verdict, f"bucket {self.bucket}", text, change)


def readers(sample: Sample, options: S3Options, *, redirects: bool) -> Iterator[Finding]:
    """Read it at every address that readers of this bucket may be sent to."""
    folders = [folder for folder, bucket in options.buckets.items() if bucket == sample.bucket]
    public = {options.public_urls[folder]: folder for folder in reversed(folders) if folder in options.public_urls}
    for url, folder in public.items():
        yield _public(sample, url, SETTINGS[folder])
    if redirects and options.presign_seconds and not options.public_urls.keys() >= set(folders):
        yield _presigned(sample)


def _public(sample: Sample, url: str, setting: str) -> Finding:
    why = _unread(sample, f"{url.rstrip('/')}/{quote(sample.key)}")
    if not why:
        return sample.found(Verdict.OK, f"everybody can read what is in it at {url}")
    change = f"Correct {setting}, or make the bucket readable there (on R2: connect that domain to it)."
    return sample.found(Verdict.WARN, f"what was written cannot be read at {url}: {why}", change)


def _presigned(sample: Sample) -> Finding:
    place = {"Bucket": sample.bucket, "Key": sample.key}
    why = _unread(sample, sample.client.generate_presigned_url("get_object", Params=place, ExpiresIn=60))
    if not why:
        return sample.found(Verdict.OK, "a presigned address, as readers get it, can be read")
    change = "Check S3_REGION, S3_ADDRESSING and S3_ENDPOINT_URL, or DOWNLOADS=stream."
    return sample.found(Verdict.FAIL, f"a presigned address, as readers get it, cannot be read: {why}", change)


def _unread(sample: Sample, address: str) -> str:
    """Return why a reader does not get it; nothing where it is got."""
    request = urllib.request.Request(address, headers={"User-Agent": "tusplyr-doctor"})  # noqa: S310 - see the settings
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE, context=_trust(sample.client)) as answer:  # noqa: S310
            body = answer.read(MOST)
    except (OSError, HTTPException, ValueError) as error:
        return " ".join(str(error).split()) or type(error).__name__
    return "" if body in sample.bodies else "what is there is something else"


def _trust(client: Any) -> ssl.SSLContext:
    """Trust what the client trusts, and what everybody does: a public address may be signed by others."""
    context = ssl.create_default_context()
    context.load_verify_locations(get_cert_path(verify=True))
    own = client._endpoint.http_session._verify  # noqa: SLF001 - from AWS_CA_BUNDLE or a file of AWS, and told nowhere else
    if isinstance(own, str):
        context.load_verify_locations(own)
    return context

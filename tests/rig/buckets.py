"""Buckets for tests: where one is and how to sign for it, over servers that are not alike.

Owns the struct that a test is given and the client that a test looks with. Must not know a test, nor our own store.
Invariant: two tests never share a bucket.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from moto.server import ThreadedMotoServer
from msgspec import Struct

from rig.r2 import R2
from rig.r2_state import Rules

MIB = 1 << 20
Fresh = Callable[[], "Bucket"]


class Bucket(Struct, frozen=True, kw_only=True):
    """Where a bucket is, and how to sign for it.

    Attributes:
        server: `moto`, `r2` or `versitygw`.
        ca: the certificate to trust, a file; None where there is no TLS.
        name: of the bucket of this test, which is empty.
        other: a second one on the same server, empty too.
        part: the least bytes of a part that is not the last.
        double: the server itself where it is ours, for faults and for its record.
    """

    server: str
    endpoint_url: str
    ca: Path | None = None
    region: str
    access_key: str
    secret: str
    name: str
    other: str
    part: int = 5 * MIB
    double: R2 | None = None


def connect(bucket: Bucket, *, expects: bool = False, **options: Any) -> Any:
    """Make a client of boto3 as R2 needs it: no trailers, no expectations; one try. The caller closes it."""
    config = {
        "signature_version": "s3v4",
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
        "retries": {"total_max_attempts": 1},
        "s3": {"addressing_style": "path"},
        "connect_timeout": 20,
        "read_timeout": 20,
    }
    client = _session().client(
        "s3",
        endpoint_url=bucket.endpoint_url,
        verify=str(bucket.ca) if bucket.ca else False,
        region_name=bucket.region,
        aws_access_key_id=bucket.access_key,
        aws_secret_access_key=bucket.secret,
        config=Config(**config | options),
    )
    if not expects:
        client.meta.events.register_last("before-call.s3", _expect_nothing)
    return client


@cache
def _session() -> boto3.session.Session:
    """Read the description of S3 once: that takes longer than most tests."""
    return boto3.session.Session()


def _expect_nothing(params: dict[str, Any], **_: Any) -> None:
    params["headers"].pop("Expect", None)


def at_double(double: R2, name: str = "first", other: str = "second") -> Bucket:
    """Describe buckets of a double."""
    return Bucket(
        server="r2",
        endpoint_url=double.url,
        ca=double.ca,
        region=double.region,
        access_key=double.access_key,
        secret=double.secret,
        name=name,
        other=other,
        part=double.rules.part_minimum,
        double=double,
    )


@contextmanager
def r2(**rules: Any) -> Iterator[Bucket]:
    """Run a double for one test. Writes of a key may follow each other, unless its rules say otherwise."""
    with R2(rules=Rules(**{"write_pause": 0.0} | rules)) as double:
        yield at_double(double)


@contextmanager
def moto() -> Iterator[Fresh]:
    """Run moto in threads of this process; it gives two new buckets whenever it is asked."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    numbers = count()

    def fresh() -> Bucket:
        number = next(numbers)
        made = Bucket(
            server="moto",
            endpoint_url=f"http://{host}:{port}",
            region="us-east-1",
            access_key="access",
            secret="secret",
            name=f"test-{number}",
            other=f"test-{number}-other",
        )
        client = connect(made)
        for name in (made.name, made.other):
            client.create_bucket(Bucket=name)
        client.close()
        return made

    try:
        yield fresh
    finally:
        server.stop()

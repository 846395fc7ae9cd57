"""What an S3 store has to be told.

Owns the plain values. Must not know settings or boto3: it can be imported where the extra is not installed.
"""

from typing import Literal

from msgspec import Struct

MIB = 1024 * 1024


class S3Options(Struct, frozen=True, kw_only=True):
    """Where the buckets are, and how they are spoken to.

    Attributes:
        buckets: bucket by folder of the content key (`audio`, `images`, `files`); several may share one.
        endpoint_url: of R2, MinIO and the like; None is AWS.
        region: `auto` is R2's, and on AWS what its own configuration says.
        ca: file of the certificates to trust; None trusts what the client brings with it.
        prefix: goes before every content key. One ledger per prefix: what is under it is taken for ours.
        storage_class: None is the bucket's own.
        addressing: bucket in the path or in the host name.
        access_key: None looks for both keys, and more, where every AWS tool does.
        secret_key: the same.
        part_size: bytes of a part, at least 5 MiB. Grows where 10,000 of them would not do.
        single_put_limit: bytes up to which content goes in one request.
        concurrency: parts that are sent at once to each bucket, of all contents together.
        timeout: seconds in which the server must have said or taken something.
        attempts: how often one request is sent before it has failed.
        conditional: the server honours `If-None-Match: *`. Where it does not, it is asked before it is written to.
        public_urls: address of a public bucket by folder, under which the objects are.
        presign_seconds: how long a reader's address of an object in a private bucket holds; 0 makes none.
    """

    buckets: dict[str, str]
    endpoint_url: str | None = None
    region: str = "auto"
    ca: str | None = None
    prefix: str = ""
    storage_class: str | None = None
    addressing: Literal["path", "virtual", "auto"] = "auto"
    access_key: str | None = None
    secret_key: str | None = None
    part_size: int = 16 * MIB
    single_put_limit: int = 16 * MIB
    concurrency: int = 4
    timeout: float = 30.0
    attempts: int = 3
    conditional: bool = True
    public_urls: dict[str, str] = {}
    presign_seconds: int = 0

    def __repr__(self) -> str:
        return f"S3Options({self.endpoint_url}, {self.buckets}, prefix={self.prefix!r})"  # no keys in a log

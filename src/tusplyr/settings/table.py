"""The one table of settings: name, kind, default and a sentence of doc each.

Owns what can be set. Must not know where a value came from or how the application is wired.
Invariant: flags, variables, TOML keys and the reference page are all derived from the fields of
`Settings`, so a setting is added in one place.
"""

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Struct

from tusplyr.settings import kinds
from tusplyr.settings.kinds import Kind, Secret, choice, duration, size, whole

PREFIX = "TUSPLYR_"
MIB = 2**20
GIB = 2**30
DAY = 86_400.0


class Settings(Struct, frozen=True, kw_only=True):
    """Every choice of the operator, checked. Sizes are bytes, durations are seconds."""

    host: Annotated[
        str, kinds.HOST, "Address to listen on; beyond loopback it needs AUTH_TOKEN or ALLOW_ANONYMOUS."
    ] = "127.0.0.1"
    port: Annotated[int, kinds.PORT, "Port to listen on; 0 takes any free one."] = 8000
    socket: Annotated[
        Path | None,
        kinds.SOCKET,
        "Unix socket to listen on, instead of HOST and PORT; its peers are trusted as proxies and need no AUTH_TOKEN.",
    ] = None
    data_dir: Annotated[
        Path, kinds.DIRECTORY, "Where everything is kept: tusplyr.db, spool/ and store/; one server at a time."
    ] = Path("data")
    base_path: Annotated[str, kinds.BASE_PATH, "Path under which uploads are created and found."] = "/files"
    public_url: Annotated[
        str | None, kinds.URL, "What clients see in front of BASE_PATH; unset, Location follows the request's Host."
    ] = None
    trusted_proxies: Annotated[
        tuple[IPv4Network | IPv6Network, ...],
        kinds.NETWORKS,
        "Peers whose Forwarded or X-Forwarded-Proto and -Host decide how Location begins; PUBLIC_URL goes before them.",
    ] = ()
    auth_token: Annotated[
        Secret | None,
        kinds.SECRET,
        "Bearer token of every request but OPTIONS and health; flags are seen by all users of a machine.",
    ] = None
    allow_anonymous: Annotated[bool, kinds.SWITCH, "Listen beyond loopback without AUTH_TOKEN: anybody may upload."] = (
        False
    )
    try_it: Annotated[
        bool | None,
        kinds.SWITCH,
        "Serve a page at / to try uploads from a browser; unset, it is there on loopback and on a SOCKET.",
    ] = None
    cors_origins: Annotated[
        tuple[str, ...], kinds.ORIGINS, "Web pages that may upload from a browser; * is all of them, empty is none."
    ] = ("*",)
    max_length: Annotated[int | None, size(1), "Longest upload that is accepted; unset, only the disk limits it."] = (
        None
    )
    reserve: Annotated[
        int, size(0), "Free space below which no more bytes are taken (507), so that deleting still works."
    ] = 64 * MIB
    expire_after: Annotated[
        float, duration(zero=True), "Time without progress after which an unfinished upload expires; 0 is never."
    ] = DAY
    gone_as_not_found: Annotated[
        bool, kinds.SWITCH, "Answer 404 where 410 is due: tus-java-client starts again after a 404 alone."
    ] = False
    retain: Annotated[
        float, duration(zero=True), "How long a finished upload still answers; the stored content stays for ever."
    ] = 7 * DAY
    sweep_interval: Annotated[float, duration(), "Time between two sweeps of the running server."] = 600.0
    idle_timeout: Annotated[
        float, duration(), "A body that sends nothing for so long is checkpointed and ended (503)."
    ] = 30.0
    takeover_timeout: Annotated[
        float, duration(), "How long a newcomer waits for the request that holds the upload (423 after that)."
    ] = 5.0
    checkpoint_bytes: Annotated[int, size(1), "A body is made durable each time so many bytes of it have come in."] = (
        16 * MIB
    )
    checkpoint_seconds: Annotated[float, duration(), "A body is made durable at least so often while it comes in."] = (
        2.0
    )
    buffers: Annotated[int, whole(2, 65_536), "Buffers of 1 MiB each: the memory of all request bodies together."] = 16
    threads: Annotated[int, whole(1, 256), "Threads that read, write and hash on disk."] = 8
    direct_body: Annotated[
        bool, kinds.SWITCH, "Receive bodies straight into the buffers; false takes every body the slower, plain way."
    ] = True
    store_kind: Annotated[
        Literal["filesystem", "s3"],
        choice("filesystem", "s3"),
        "Where finished content is published: under DATA_DIR, or in a bucket of S3, R2 or what speaks like them.",
    ] = msgspec.field(name="store", default="filesystem")
    downloads: Annotated[
        Literal["stream", "redirect"],
        choice("stream", "redirect"),
        "How GET hands out content that is in a bucket: through this server, or by sending the reader there (307).",
    ] = "stream"
    publish_slots: Annotated[
        int, whole(1, 64), "Uploads that are sent to the bucket at once; each reads its own file from disk."
    ] = 2
    overlap: Annotated[
        bool,
        kinds.SWITCH,
        "Send full parts of an upload to the bucket while the rest is still coming, where its client has declared the "
        "SHA-256 of it all.",
    ] = True
    wait_for_stored: Annotated[
        float,
        duration(zero=True, most=300.0),
        "How long the reply to the last byte waits for the bucket; 0 answers as soon as all bytes are durable here.",
    ] = 0.0
    s3_endpoint_url: Annotated[
        str | None, kinds.URL, "Where the bucket is, such as https://ACCOUNT.r2.cloudflarestorage.com; unset is AWS."
    ] = None
    s3_bucket: Annotated[str | None, kinds.BUCKET, "Bucket of finished content; it has to exist."] = None
    s3_image_bucket: Annotated[str | None, kinds.BUCKET, "Bucket of images/; unset, S3_BUCKET."] = None
    s3_file_bucket: Annotated[str | None, kinds.BUCKET, "Bucket of files/; unset, S3_BUCKET."] = None
    s3_prefix: Annotated[
        str, kinds.KEY_PREFIX, "What goes before every key in the buckets; one server to a bucket and prefix."
    ] = ""
    s3_region: Annotated[str, kinds.WORD, "Region of the bucket; auto is right for R2."] = "auto"
    s3_storage_class: Annotated[str | None, kinds.WORD, "Storage class of new objects; unset, the bucket's own."] = None
    s3_addressing: Annotated[
        Literal["path", "virtual", "auto"],
        choice("path", "virtual", "auto"),
        "Whether the bucket is named in the path or in the host name; path suits servers at home.",
    ] = "auto"
    s3_access_key_id: Annotated[
        Secret | None,
        kinds.CREDENTIAL,
        "First half of the credentials; unset, they are looked for where every AWS tool does.",
    ] = None
    s3_secret_access_key: Annotated[
        Secret | None, kinds.CREDENTIAL, "Second half of the credentials; flags are seen by all users of a machine."
    ] = None
    s3_public_url: Annotated[
        str | None,
        kinds.URL,
        "Where everybody can read S3_BUCKET, such as https://cdn.example.org; redirects lead there.",
    ] = None
    s3_image_public_url: Annotated[
        str | None, kinds.URL, "Where everybody can read images/; unset, S3_PUBLIC_URL where they are in S3_BUCKET."
    ] = None
    s3_file_public_url: Annotated[
        str | None, kinds.URL, "Where everybody can read files/; unset, S3_PUBLIC_URL where they are in S3_BUCKET."
    ] = None
    s3_presign: Annotated[
        float,
        duration(most=7 * DAY),
        "How long the address holds to which a reader is sent where there is no public one.",
    ] = 3600.0
    s3_part_size: Annotated[
        int, size(5 * MIB, 4 * GIB), "Bytes of a part; it grows for what would need more than 10,000 of them."
    ] = 16 * MIB
    s3_put_limit: Annotated[int, size(0, 4 * GIB), "Content up to this length is sent in one request."] = 16 * MIB
    s3_concurrency: Annotated[int, whole(1, 64), "Parts that are sent at once, of all uploads together."] = 4
    s3_timeout: Annotated[
        float, duration(most=3600.0), "How long the bucket may say and take nothing before a request has failed."
    ] = 30.0
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        choice("debug", "info", "warning", "error"),
        "Least severe message that is logged.",
    ] = "info"
    log_format: Annotated[
        Literal["text", "json"], choice("text", "json"), "Lines for a person, or one JSON object a line."
    ] = "text"

    @property
    def is_local(self) -> bool:
        """Whether only this machine can connect."""
        return self.socket is not None or kinds.is_loopback(self.host)

    @property
    def has_page(self) -> bool:
        """Whether there is a page to try uploads."""
        return self.is_local if self.try_it is None else self.try_it

    @property
    def buckets(self) -> dict[str, str | None]:
        """Bucket by folder of the content key."""
        main = self.s3_bucket
        return {"audio": main, "images": self.s3_image_bucket or main, "files": self.s3_file_bucket or main}

    @property
    def public_urls(self) -> dict[str, str]:
        """Where everybody can read what is in a folder; those that have no such place are missing."""
        own = {"images": self.s3_image_public_url, "files": self.s3_file_public_url}
        shared = {folder: self.s3_public_url for folder, bucket in self.buckets.items() if bucket == self.s3_bucket}
        places = shared | {folder: place for folder, place in own.items() if place}
        return {folder: place for folder, place in places.items() if place}

    @property
    def place(self) -> str:
        """Where content is published. Compared with what earlier versions wrote down: the words must stay these."""
        if self.store_kind == "filesystem":
            return "store/ in DATA_DIR"
        folders: dict[str | None, list[str]] = {}
        for folder, bucket in self.buckets.items():
            folders.setdefault(bucket, []).append(folder)
        many = len(folders) > 1
        buckets = [
            f"s3://{bucket}/{self.s3_prefix}" + (f" ({', '.join(inside)})" if many else "")
            for bucket, inside in folders.items()
        ]
        return f"{', '.join(buckets)} at {self.s3_endpoint_url or 'AWS'}"

    @property
    def database(self) -> Path:
        """The ledger's file."""
        return self.data_dir / "tusplyr.db"

    @property
    def spool(self) -> Path:
        """The directory of staged bytes."""
        return self.data_dir / "spool"

    @property
    def store(self) -> Path:
        """The directory of published content."""
        return self.data_dir / "store"


class Setting(Struct, frozen=True):
    """One row of the table.

    Attributes:
        name: key in TOML; the flag and the variable are made of it.
        field: attribute of `Settings`.
        kind: grammar of its values.
        doc: one sentence for the operator.
        default: value when no source has one; None: unset.
    """

    name: str
    field: str
    kind: Kind
    doc: str
    default: Any

    @property
    def title(self) -> str:
        """The name in capitals, as documents and messages write it."""
        return self.name.upper()

    @property
    def flag(self) -> str:
        """The name on the command line, e.g. ``--data-dir``."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """The name in the environment, e.g. ``TUSPLYR_DATA_DIR``."""
        return PREFIX + self.title

    @property
    def shown_default(self) -> str:
        """The default as an operator would write it; empty when there is none."""
        return "" if self.default is None else self.kind.show(self.default)


def _setting(field: msgspec.structs.FieldInfo) -> Setting:
    _, kind, doc = get_args(field.type)
    return Setting(field.encode_name, field.name, kind, doc, field.default)


TABLE: tuple[Setting, ...] = tuple(_setting(field) for field in msgspec.structs.fields(Settings))

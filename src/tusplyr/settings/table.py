"""The one table of settings: name, kind, default and a sentence of doc each.

Owns what can be set. Must not know where a value came from or how the application is wired.
Invariant: flags, variables, TOML keys and the reference page are all derived from the fields of
`Settings`, so a setting is added in one place.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Struct

from tusplyr.settings import kinds
from tusplyr.settings.kinds import Kind, Secret, choice, duration, size, whole

PREFIX = "TUSPLYR_"
MIB = 2**20
DAY = 86_400.0


class Settings(Struct, frozen=True, kw_only=True):
    """Every choice of the operator, checked. Sizes are bytes, durations are seconds."""

    host: Annotated[
        str, kinds.HOST, "Address to listen on; beyond loopback it needs AUTH_TOKEN or ALLOW_ANONYMOUS."
    ] = "127.0.0.1"
    port: Annotated[int, kinds.PORT, "Port to listen on; 0 takes any free one."] = 8000
    data_dir: Annotated[
        Path, kinds.DIRECTORY, "Where everything is kept: tusplyr.db, spool/ and store/; one server at a time."
    ] = Path("data")
    base_path: Annotated[str, kinds.BASE_PATH, "Path under which uploads are created and found."] = "/files"
    public_url: Annotated[
        str | None, kinds.URL, "What clients see in front of BASE_PATH; unset, Location follows the request's Host."
    ] = None
    auth_token: Annotated[
        Secret | None,
        kinds.SECRET,
        "Bearer token of every request but OPTIONS and health; flags are seen by all users of a machine.",
    ] = None
    allow_anonymous: Annotated[bool, kinds.SWITCH, "Listen beyond loopback without AUTH_TOKEN: anybody may upload."] = (
        False
    )
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
        Literal["filesystem"], choice("filesystem", planned=("s3",)), "Where finished content is published."
    ] = msgspec.field(name="store", default="filesystem")
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        choice("debug", "info", "warning", "error"),
        "Least severe message that is logged.",
    ] = "info"
    log_format: Annotated[
        Literal["text", "json"], choice("text", "json"), "Lines for a person, or one JSON object a line."
    ] = "text"

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

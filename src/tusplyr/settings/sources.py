"""Where settings come from, and which of several sources counts.

Owns the order (flag, variable or the file it names, TOML, default) and the report of everything
that is wrong. Must not know what a setting is for, except for the rules that join several.
Invariant: all problems are told at once, each with where its value came from, and no secret is
ever part of a message.
"""

import difflib
import tomllib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct

from tusplyr.core.errors import TusplyrError
from tusplyr.settings.table import PREFIX, TABLE, Setting, Settings

CONFIG = "tusplyr.toml"
MAX_FILE = 1024 * 1024  # bytes of a configuration or of a file that holds one value
_MAX_SHOWN = 60  # characters of a wrong value in a message
_NAMES = {setting.name: setting for setting in TABLE}
_SUFFIX = "_FILE"


class BadSettings(TusplyrError):
    """What is wrong with the settings: `problems`, one line each, for the operator."""

    code = "bad_settings"

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class Found(Struct, frozen=True):
    """The text of a setting and where it was found."""

    text: str
    origin: str


class Rule(Struct, frozen=True):
    """What must hold between settings that are each right by themselves.

    Attributes:
        about: name of the setting that the message starts with.
        needs: names that the rule looks at; it is not asked while one of them is wrong.
        check: looks at the settings and at the names of those that were given; returns what is wrong, or None.
    """

    about: str
    needs: frozenset[str]
    check: Callable[[Settings, Collection[str]], str | None]


def _exposed(settings: Settings, _given: Collection[str]) -> str | None:
    if settings.is_local or settings.auth_token or settings.allow_anonymous:
        return None
    return (
        f"is {settings.host}, which other machines can reach; set AUTH_TOKEN ({PREFIX}AUTH_TOKEN or "
        f"{PREFIX}AUTH_TOKEN{_SUFFIX}), or ALLOW_ANONYMOUS if anybody may upload."
    )


def _two_places(_settings: Settings, given: Collection[str]) -> str | None:
    also = [name.upper() for name in ("host", "port") if name in given]
    return f"takes the place of {' and '.join(also)}; keep one." if "socket" in given and also else None


def _no_bucket(settings: Settings, _given: Collection[str]) -> str | None:
    missing = settings.store_kind == "s3" and not settings.s3_bucket
    return f"is s3, and there is no bucket; set S3_BUCKET ({PREFIX}S3_BUCKET)." if missing else None


def _no_store(_settings: Settings, given: Collection[str]) -> str | None:
    """To publish to disk because STORE was forgotten would be a surprise; whoever names a store has chosen."""
    idle = sorted(name.upper() for name in given if name.startswith("s3_"))
    if "store" in given or not idle:
        return None
    return (
        f"is filesystem, and {', '.join(idle)} would be left aside; set STORE to s3, or to filesystem if it is meant."
    )


def _half(settings: Settings, _given: Collection[str]) -> str | None:
    if (settings.s3_access_key_id is None) is (settings.s3_secret_access_key is None):
        return None
    return "and S3_SECRET_ACCESS_KEY go together; one of them is missing."


def _bucket_twice(settings: Settings, _given: Collection[str]) -> str | None:
    """R2 shows the address of a bucket with its name at the end; the client adds it once more."""
    endpoint = settings.s3_endpoint_url or ""
    bucket = urlsplit(endpoint).path.strip("/")
    if settings.store_kind != "s3" or not bucket or bucket not in settings.buckets.values():
        return None
    bare = endpoint.removesuffix(bucket).rstrip("/")
    return f"ends with the bucket {bucket}, which is added to it; set it to {bare} instead."


ENDPOINT = frozenset({"store", "s3_endpoint_url", "s3_bucket", "s3_image_bucket", "s3_file_bucket"})
STORING = (
    Rule("store", frozenset({"store", "s3_bucket"}), _no_bucket),
    Rule("store", frozenset({"store"}), _no_store),
    Rule("s3_endpoint_url", ENDPOINT, _bucket_twice),
    Rule("s3_access_key_id", frozenset({"s3_access_key_id", "s3_secret_access_key"}), _half),
)
LISTENING = (
    Rule("host", frozenset({"host", "socket", "auth_token", "allow_anonymous"}), _exposed),
    Rule("socket", frozenset(), _two_places),
)


def load(
    flags: Mapping[str, object], environ: Mapping[str, str], cwd: Path, *, rules: Collection[Rule] = LISTENING
) -> Settings:
    """Return the settings from flags, environment, TOML and defaults, in this order of precedence.

    `flags` holds text or booleans by the names of the table, None for a flag that was not given, and
    ``config``: the TOML file to read (else ``TUSPLYR_CONFIG``, else ``tusplyr.toml`` in `cwd` if there is one).
    Relative paths start at `cwd`. A command that does not listen passes fewer `rules`.

    Raises:
        BadSettings: with every problem of every source.
    """
    problems: list[str] = []
    found = _from_toml(flags, environ, cwd, problems)
    found |= _from_environ(environ, cwd, problems)
    found |= _from_flags(flags)
    values, wrong = {}, set()
    for name, value in found.items():
        setting = _NAMES[name]
        try:
            values[setting.field] = setting.kind.parse(value.text)
        except ValueError:
            wrong.add(name)
            problems.append(_refused(setting, value.origin, _shortened(value.text)))
    settings = Settings(**values)
    problems += [
        f"{_source(rule.about, found)} {complaint}"
        for rule in rules
        if not rule.needs & wrong and (complaint := rule.check(settings, found.keys()))
    ]
    if problems:
        raise BadSettings(problems)
    placed = {"data_dir": cwd / settings.data_dir, "socket": settings.socket and cwd / settings.socket}
    return Settings(**values | placed)


def _from_flags(flags: Mapping[str, object]) -> dict[str, Found]:
    return {
        name: Found(_text(value, _NAMES[name]), _NAMES[name].flag)
        for name, value in flags.items()
        if value is not None and name != "config"
    }


def _from_environ(environ: Mapping[str, str], cwd: Path, problems: list[str]) -> dict[str, Found]:
    plain = {setting.variable: setting for setting in TABLE}
    files = {name + _SUFFIX: setting for name, setting in plain.items()}
    found: dict[str, Found] = {}
    for name in sorted(environ):
        if setting := plain.get(name):
            found[setting.name] = Found(environ[name], name)
        elif setting := files.get(name):
            if setting.variable in environ:
                problems.append(f"{setting.title} is set twice, by {setting.variable} and {name}; keep one.")
            elif value := _from_file(setting, name, cwd / environ[name], problems):
                found[setting.name] = value
        elif name.startswith(PREFIX) and name != PREFIX + "CONFIG":
            problems.append(_unknown(name, "is not a variable of tusplyr", [*plain, *files]))
    return found


def _from_file(setting: Setting, variable: str, path: Path, problems: list[str]) -> Found | None:
    try:
        text = _read(path).decode()
    except (OSError, ValueError) as error:
        # The path stays out of the message: a secret itself is put there by mistake often enough.
        problems.append(f"{setting.title}: the file that {variable} names cannot be used ({_why(error)}).")
        return None
    return Found(text.removesuffix("\n").removesuffix("\r"), variable)


def _from_toml(
    flags: Mapping[str, object], environ: Mapping[str, str], cwd: Path, problems: list[str]
) -> dict[str, Found]:
    given = flags.get("config") or environ.get(PREFIX + "CONFIG")
    path = cwd / str(given or CONFIG)
    if not given and not path.exists():
        return {}
    try:
        document = tomllib.loads(_read(path).decode())
    except (OSError, ValueError) as error:
        problems.append(f"{path} cannot be used ({_why(error)}).")
        return {}
    found: dict[str, Found] = {}
    for key, value in document.items():
        if key not in _NAMES:
            problems.append(_unknown(key, f"in {path} is not a setting of tusplyr", _NAMES))
            continue
        try:
            found[key] = Found(_text(value, _NAMES[key]), str(path))
        except TypeError:
            problems.append(_refused(_NAMES[key], str(path), f"a {type(value).__name__}"))
    return found


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(MAX_FILE + 1)
    if len(content) > MAX_FILE:
        raise ValueError(f"more than {MAX_FILE} bytes")
    return content


def _text(value: object, setting: Setting) -> str:
    match value:
        case str():
            return value
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value)
        case list() if setting.kind.many:
            return ",".join(_text(item, setting) for item in value)
        case _:
            raise TypeError


def _source(name: str, found: Mapping[str, Found]) -> str:
    return f"{name.upper()} ({found[name].origin if name in found else 'default'})"


def _refused(setting: Setting, origin: str, shown: str) -> str:
    verdict = "is not usable" if setting.kind.secret else f"is {shown}"
    return f"{setting.title} ({origin}) {verdict}; it must be {setting.kind.must}."


def _shortened(text: str) -> str:
    return ascii(text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "...")


def _why(error: OSError | ValueError) -> str:
    match error:
        case OSError():
            return error.strerror or "unreadable"
        case UnicodeDecodeError():
            return "not UTF-8 text"
        case tomllib.TOMLDecodeError():
            return f"not TOML: {error}"
        case _:
            return str(error)


def _unknown(name: str, what: str, names: Collection[str]) -> str:
    close = difflib.get_close_matches(name.replace("-", "_"), names, n=1, cutoff=0.75)
    return f"{name} {what}" + (f"; did you mean {close[0]}?" if close else ".")

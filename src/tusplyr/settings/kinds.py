"""How a value of a setting is written down.

Owns the grammar of sizes, durations, addresses and the like, both ways: text to value and value to
text. Must not know which settings there are or where the text came from. Invariant: every source
speaks the same text, and what does not match in full raises `ValueError`; nothing is guessed.
"""

import ipaddress
import re
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from msgspec import Struct

from tusplyr.core.model import MAX_INTEGER

MIN_SECRET = 16  # characters
MAX_SECONDS = 10 * 365 * 86_400  # longer waits overflow the timers of the standard library

Number = TypeVar("Number", int, float)

SIZES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
SIZES |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
SPANS = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}

_SIZE = re.compile(r"([0-9]{1,19}) ?([a-z]*)", re.IGNORECASE)
_SPAN = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?) ?([a-z]*)", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]{1,19}")
_HOST = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*\.?")
_BASE_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~-]+)+")
_PRINTABLE = re.compile(r"[!-~]+")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"(?:(?!\.{1,2}/)[A-Za-z0-9._-]{1,64}/){0,8}")
_WORD = re.compile(r"[A-Za-z0-9_-]{1,64}")
_OURS = re.compile(r"/(?:health|metrics)(?:/|\Z)")


class Secret(str):
    """Text that compares and encodes as itself and is never shown by a repr, so not by that of its struct either."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret(…)"


class Kind(Struct, frozen=True):
    """A grammar of values.

    Attributes:
        must: completes "it must be …", for a person whose value was refused.
        parse: text to value; raises `ValueError` for what is not of the grammar.
        show: value to text that `parse` reads back as the same value.
        unit: what a plain number counts; empty when there is nothing to count.
        metavar: placeholder in ``--help``; empty for a switch.
        secret: the text is never shown.
        many: TOML may write it as a list.
    """

    must: str
    parse: Callable[[str], Any]
    show: Callable[[Any], str] = str
    unit: str = ""
    metavar: str = "TEXT"
    secret: bool = False
    many: bool = False


def whole(low: int, high: int) -> Kind:
    """Return the kind of a whole number between two bounds, both included."""
    return Kind(f"a whole number from {low} to {high}", lambda text: _bounded(_whole(text), low, high), metavar="N")


def size(low: int, high: int = MAX_INTEGER) -> Kind:
    """Return the kind of an amount of bytes, at least `low` and at most `high`."""
    least = f", at least {low} byte" if low else ""
    least = f", from {show_size(low)} to {show_size(high)}" if high < MAX_INTEGER else least
    return Kind(
        f"a size such as 64MiB, 1GB or a plain number of bytes{least}",
        lambda text: _bounded(_scaled(_SIZE, SIZES, text, int), low, high),
        show_size,
        unit="bytes",
        metavar="SIZE",
    )


def duration(*, zero: bool = False, most: float = MAX_SECONDS) -> Kind:
    """Return the kind of a length of time, in seconds as a float."""
    least = "" if zero else ", more than 0"
    return Kind(
        f"a time such as 30s, 5m, 24h, 7d or a plain number of seconds{least}, at most {show_duration(most)}",
        lambda text: _bounded(_scaled(_SPAN, SPANS, text, float), 0.0 if zero else 1e-6, most),
        show_duration,
        unit="seconds",
        metavar="TIME",
    )


def choice(*names: str) -> Kind:
    """Return the kind of one word out of a few."""
    return Kind(" or ".join(names), lambda text: _member(text, names), metavar="|".join(names))


def show_size(value: int) -> str:
    """Return bytes in the largest binary unit that divides them (``64MiB``), or plainly."""
    for unit, factor in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if value and value % factor == 0:
            return f"{value // factor}{unit}"
    return str(value)


def show_duration(value: float) -> str:
    """Return seconds in the largest unit that divides them (``7d``), or plainly."""
    for unit in "dhm":
        if value and value % SPANS[unit] == 0:
            return f"{value / SPANS[unit]:.0f}{unit}"
    return f"{value:.6f}".rstrip("0").rstrip(".") + "s"


def show_path(value: Path) -> str:
    """Return a path; a relative one says that it is (``./data``)."""
    return str(value) if value.is_absolute() else f"./{value}"


def is_loopback(host: str) -> bool:
    """Return whether an address or name is this machine's alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _whole(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise ValueError
    return int(text)


def _bounded(value: Number, low: Number, high: Number) -> Number:
    if not low <= value <= high:
        raise ValueError
    return value


def _scaled(pattern: re.Pattern[str], units: dict[str, int], text: str, number: Callable[[str], Number]) -> Number:
    match = pattern.fullmatch(text)
    if match is None or (factor := units.get(match[2].lower())) is None:
        raise ValueError
    return number(match[1]) * factor


def _member(text: str, names: tuple[str, ...]) -> str:
    if text not in names:
        raise ValueError
    return text


def _matched(pattern: re.Pattern[str], text: str) -> str:
    if not pattern.fullmatch(text):
        raise ValueError
    return text


def _switch(text: str) -> bool:
    return {"true": True, "false": False}[_member(text.lower(), ("true", "false"))]


def _host(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        if text.replace(".", "").isdigit():  # 127.0.0.256 is a mistake, not a name
            raise
        return _matched(_HOST, text)


def _path(text: str) -> Path:
    if not text or "\0" in text:
        raise ValueError
    return Path(text)


def _base_path(text: str) -> str:
    if _OURS.match(text):
        raise ValueError
    return _matched(_BASE_PATH, text)


def _url(text: str) -> str:
    parts = urlsplit(_matched(_PRINTABLE, text))
    whole_address = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    if not whole_address or any(mark in text for mark in '?#@"<>\\'):
        raise ValueError
    return text.rstrip("/")


def _origins(text: str) -> tuple[str, ...]:
    origins = tuple(origin.strip().lower() for origin in text.split(",")) if text.strip() else ()
    if origins == ("*",):
        return origins
    for origin in origins:
        if _url(origin) != origin or origin.count("/") != len("//"):
            raise ValueError
    return origins


def _networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ipaddress.ip_network(network.strip()) for network in text.split(",")) if text.strip() else ()


def _secret(text: str) -> Secret:
    if len(text) < MIN_SECRET:
        raise ValueError
    return Secret(_matched(_PRINTABLE, text))


SWITCH = Kind("true or false", _switch, lambda value: str(value).lower(), metavar="")
HOST = Kind("an IP address or a host name", _host, metavar="ADDRESS")
PORT = whole(0, 65_535)
DIRECTORY = Kind("the path of a directory", _path, show_path, metavar="DIR")
SOCKET = Kind("the path of a socket", _path, show_path, metavar="PATH")
BASE_PATH = Kind(
    "a path such as /files, in plain characters, without / at its end and not under /health or /metrics",
    _base_path,
    metavar="PATH",
)
URL = Kind("an absolute http or https URL without user, query and fragment", _url, metavar="URL")
ORIGINS = Kind(
    "* alone, or origins such as https://example.org with commas between them",
    _origins,
    ",".join,
    metavar="ORIGINS",
    many=True,
)
NETWORKS = Kind(
    "IP addresses or networks such as 10.0.0.0/8, with commas between them",
    _networks,
    lambda value: ",".join(map(str, value)),
    metavar="NETWORKS",
    many=True,
)
BUCKET = Kind("the name of a bucket", lambda text: _matched(_BUCKET, text), metavar="NAME")
KEY_PREFIX = Kind(
    "a path such as tusplyr/ in plain characters, with / at its end",
    lambda text: _matched(_PREFIX, text),
    metavar="PATH",
)
WORD = Kind("a word of letters, digits, - and _", lambda text: _matched(_WORD, text), metavar="WORD")
CREDENTIAL = Kind(
    "printable ASCII without blanks",
    lambda text: Secret(_matched(_PRINTABLE, text)),
    lambda _: "…",
    secret=True,
)
SECRET = Kind(
    f"at least {MIN_SECRET} characters, printable ASCII without blanks",
    _secret,
    lambda _: "…",
    secret=True,
)

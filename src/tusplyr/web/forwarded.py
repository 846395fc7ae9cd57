"""Where a request was sent to, as its client sees it.

Owns the grammar of `Forwarded` (RFC 7239) and of `X-Forwarded-Proto` and `-Host`, and whose word counts. Must not
know uploads, nor sockets: it is pure. Invariants: a hop that is not trusted decides nothing; what comes out is a
scheme and a plain host, or no host at all, whatever was sent.
"""

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

from msgspec import Struct

from tusplyr.core.headers import Headers, parse_headers

LONGEST = 4096  # characters of a line that is looked at
_LONGEST_HOST = 255  # characters, a port included
_PORTS = 65_535

_HOST = re.compile(r"(?:(?:[A-Za-z0-9_-]+\.)*[A-Za-z0-9_-]+\.?|\[([0-9A-Fa-f:.]+)\])(?::([0-9]{1,5}))?\Z")
_NODE = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::[0-9A-Za-z._-]+)?\Z")  # an address, perhaps with a port
_PAIR = re.compile(
    r"""[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)=   # name
        (?:"((?:[^"\\]|\\.)*)"|([^\s",;]+))    # quoted or plain; ":" and "[" are let pass where a quote is missing
        [ \t]*(;|,|\Z)""",
    re.VERBOSE,
)
_EMPTY = re.compile(r"[ \t]*(;|,|\Z)")

Network = IPv4Network | IPv6Network
Element = dict[str, str]  # of `Forwarded`: name in lower case -> value


class Proxies(Struct, frozen=True):
    """Whose `Forwarded` and `X-Forwarded-*` are believed.

    Attributes:
        networks: addresses of proxies.
        local: a peer without an address is one, too: it came through a socket in the file system.
    """

    networks: tuple[Network, ...] = ()
    local: bool = False

    def trust(self, peer: str | None) -> bool:
        """Return whether this peer is a proxy of ours."""
        if peer is None:
            return self.local
        address = _address(peer)
        if isinstance(address, IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        return address is not None and any(address in network for network in self.networks)


def origin(scope: Any, proxies: Proxies) -> str | None:
    """Return scheme and host of a request as its client sees them, e.g. ``https://example.org``.

    None where there is no host that could stand in an address.
    """
    headers = parse_headers(scope["headers"])
    client = scope.get("client")
    scheme, host = None, None
    if proxies.trust(client[0] if client else None):
        scheme, host = _from_forwarded(headers, proxies) if "forwarded" in headers else _from_others(headers)
    host = host or _plain_host(headers.get("host", ("",))[-1])
    return f"{scheme or scope['scheme']}://{host}" if host else None


def _from_forwarded(headers: Headers, proxies: Proxies) -> tuple[str | None, str | None]:
    """Follow the elements from the last one, which the peer wrote, to the one that the first trusted proxy wrote.

    Each says from whom its writer had the request (`for`): if that is a proxy of ours, the element before is its.
    """
    scheme = host = None
    for line in reversed(headers["forwarded"]):
        for element in reversed(_elements(line)):
            scheme = _plain_scheme(element.get("proto", "")) or scheme
            host = _plain_host(element.get("host", "")) or host
            node = _NODE.match(element.get("for", ""))
            if not node or not proxies.trust(node[1] or node[2]):
                return scheme, host
    return scheme, host


def _elements(line: str) -> list[Element]:
    """Return the elements of a line, one without anything where the line is not of the grammar."""
    elements: list[Element] = [{}]
    at = 0
    while len(line) <= LONGEST and at <= len(line):
        match = _EMPTY.match(line, at) or _PAIR.match(line, at)
        if not match:
            break
        if match.re is _PAIR:
            name, quoted, plain, _ = match.groups()
            if name.lower() in elements[-1]:
                break  # no name may stand twice (section 4)
            elements[-1][name.lower()] = plain or re.sub(r"\\(.)", r"\1", quoted)
        if match.end() == len(line) and not match[0].endswith((",", ";")):
            return [element for element in elements if element]
        if match[0].endswith(","):
            elements.append({})
        at = match.end()
    return [{}]


def _from_others(headers: Headers) -> tuple[str | None, str | None]:
    """Return the last value of each: a proxy that adds to what its client sent leaves its own there."""
    scheme, host = (
        headers.get(f"x-forwarded-{name}", ("",))[-1].rpartition(",")[2].strip() for name in ("proto", "host")
    )
    return _plain_scheme(scheme), _plain_host(host)


def _plain_scheme(text: str) -> str | None:
    return text.lower() if text.lower() in {"http", "https"} else None


def _plain_host(text: str) -> str | None:
    match = _HOST.match(text) if len(text) <= _LONGEST_HOST else None
    if not match or int(match[2] or 0) > _PORTS or (match[1] and not _address(match[1])):
        return None
    return text


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None

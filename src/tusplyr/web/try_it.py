"""The page at `/` where a person can try uploads.

Owns its addresses and the headers that keep it in its place. Must not know uploads: the page uses the same addresses
as every client. Its files are built from `web/page` of the repository (`make page`) and are read when the server
starts. Invariant: the page loads nothing, and talks to nobody, outside of this server.
"""

import hashlib
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

from litestar import HttpMethod, Request, route
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from tusplyr.web.edge import raw
from tusplyr.web.response import Rendered

TYPES = {
    "index.html": "text/html; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "licences.txt": "text/plain; charset=utf-8",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src {connect}; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

Call = Request[Any, Any, Any]


def routes(base_path: str, public_url: str | None, *, asks: bool) -> list[HTTPRouteHandler]:
    """Return the handlers, one for each file. `asks`: the server wants a token, and the page has a field for it."""
    connect = "'self'"
    if public_url:  # the addresses of uploads begin with it
        connect += " {0.scheme}://{0.netloc}".format(urlsplit(public_url))
    policy = POLICY.format(connect=connect)
    filled = {b"{endpoint}": base_path[1:].encode(), b"{token}": b"yes" if asks else b"no"}
    return [_handler(name, policy, filled if name == "index.html" else {}) for name in TYPES]


def _handler(name: str, policy: str, filled: dict[bytes, bytes]) -> HTTPRouteHandler:
    content = files("tusplyr.web").joinpath("page", name).read_bytes()
    for mark, value in filled.items():
        content = content.replace(mark, value)
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = raw(
        [
            ("ETag", etag),
            ("Cache-Control", "no-cache"),  # kept, and asked about each time: an upgrade shows at once
            ("Content-Security-Policy", policy),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
        ]
    )
    described = raw([("Content-Type", TYPES[name]), ("Content-Length", str(len(content)))])

    @route("/" if name == "index.html" else f"/{name}", http_method=[HttpMethod.GET, HttpMethod.HEAD])
    async def page(request: Call) -> ASGIApp:
        if _has(request, etag):
            return Rendered(304, headers, b"")
        return Rendered(200, (*headers, *described), content)

    return page


def _has(request: Call, etag: str) -> bool:
    """Whether the client has this content already (RFC 9110, section 13.1.2)."""
    tags = ",".join(request.headers.getall("if-none-match", [])).split(",")
    return bool({"*", etag} & {tag.strip().removeprefix("W/") for tag in tags})

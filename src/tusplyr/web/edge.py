"""The thin ASGI wrapper outside Litestar.

Owns what must hold for every response, routed or not: the method override before routing, the headers of
the protocol on 404 and 405 too, CORS, and OPTIONS. Must not know uploads. Invariant: no response leaves an
upload address without the protocol's headers, nor any response to a request with an allowed `Origin`
without those of CORS. (Litestar's middleware runs after routing, and its CORS swallows every OPTIONS.)
"""

import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from msgspec import Struct

from tusplyr.core.commands import Reply
from tusplyr.web.exchange import TRAILERS

# Frameworks type these each in their own way; what passes is plain ASGI.
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Scope = Any
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Raw = tuple[tuple[bytes, bytes], ...]
Discovery = Callable[[bool], Reply]

METHODS = "POST, HEAD, PATCH, DELETE, OPTIONS, GET, PUT"
DRAFT = ("Upload-Complete", "Upload-Incomplete", "Upload-Draft-Interop-Version")  # of the IETF's protocol
REQUEST_HEADERS = (  # with those of the protocol: what pages of the field's clients send
    *("Authorization", "Content-Type", "X-HTTP-Method-Override", "X-Requested-With", "X-Request-ID"),
    *("Idempotency-Key", *DRAFT, "Content-Disposition", "Content-Digest", "Repr-Digest", "Want-Repr-Digest"),
)
RESPONSE_HEADERS = (*DRAFT, "Upload-Limit", "Repr-Digest", "Retry-After", "X-Request-ID")
PREFLIGHT_AGE = "86400"  # seconds; each upload address is preflighted on its own

_SLASHES = re.compile("/{2,}")


class Cors(Struct, frozen=True):
    """Who may call from another origin.

    Attributes:
        origins: exact origins; `*` lets every origin in, without credentials.
        request_headers: what a page may send, beside what this file names.
        response_headers: what a page may read, likewise.
    """

    origins: tuple[str, ...]
    request_headers: tuple[str, ...] = ()
    response_headers: tuple[str, ...] = ()

    def headers(self, origin: str | None) -> Raw:
        """Return the headers for every response to this origin; only `Vary` when it is not let in."""
        if origin is None:
            return () if "*" in self.origins else raw([("Vary", "Origin")])
        if "*" in self.origins:
            allowed = [("Access-Control-Allow-Origin", "*")]
        elif origin in self.origins:
            allowed = [
                ("Access-Control-Allow-Origin", origin),
                ("Access-Control-Allow-Credentials", "true"),
                ("Vary", "Origin"),
            ]
        else:
            return raw([("Vary", "Origin")])
        exposed = ", ".join((*self.response_headers, *RESPONSE_HEADERS))
        return raw([*allowed, ("Access-Control-Expose-Headers", exposed)])

    def preflight(self, origin: str | None) -> Raw:
        """Return what a preflight from this origin is told beside `headers`; nothing when it is not let in."""
        if origin is None or not {"*", origin} & {*self.origins}:
            return ()
        return raw(
            [
                ("Access-Control-Allow-Methods", METHODS),
                ("Access-Control-Allow-Headers", ", ".join((*self.request_headers, *REQUEST_HEADERS))),
                ("Access-Control-Max-Age", PREFLIGHT_AGE),
            ]
        )


class Edge:
    """Wraps the application.

    Args:
        app: Litestar.
        base_path: where uploads live, e.g. ``/files``.
        standard: headers of the protocol, on every response of an upload address.
        discovery: makes the answer to OPTIONS there, told whether trailer sections are delivered.
        cors: see `Cors`.
    """

    def __init__(self, app: App, *, base_path: str, standard: dict[str, str], discovery: Discovery, cors: Cors) -> None:
        self._app = app
        self._base_path = base_path
        self._standard = raw(standard.items())
        self._discovery = {trailers: raw(discovery(trailers).headers) for trailers in (False, True)}
        self._cors = cors
        self._by_origin: dict[str | None, Raw] = {origin: cors.headers(origin) for origin in (None, *cors.origins)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; pass everything that is not HTTP through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        origin, override = _origin_and_override(scope["headers"])
        path: str = scope["path"]
        if "//" in path:  # Litestar would route it without a word, and the headers below would be missing
            path = _SLASHES.sub("/", path)
            scope = {**scope, "path": path}
        uploads = path == self._base_path or path.startswith(self._base_path + "/")
        extra = self._extra(origin) + (self._standard if uploads else ())
        if uploads and override:
            scope = {**scope, "method": override}
        if scope["method"] == "OPTIONS" and (uploads or origin):
            offered = self._discovery[TRAILERS in (scope.get("extensions") or {})] if uploads else ()
            await self._answer_options(send, offered, origin, extra)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *extra]
            await send(message)

        await self._app(scope, receive, send_with_headers if extra else send)

    def unasked(self, headers: Iterable[tuple[bytes, bytes]]) -> Raw:
        """Return what an answer needs that is given without asking the application, since the head is no good.

        `headers` are those that could be read. Where `Origin` is not among them, it may have been there.
        """
        origin, _ = _origin_and_override(headers)
        return self._extra(origin or "*")

    def _extra(self, origin: str | None) -> Raw:
        known = self._by_origin.get(origin)
        return known if known is not None else self._cors.headers(origin)

    async def _answer_options(self, send: Send, offered: Raw, origin: str | None, extra: Raw) -> None:
        headers = [*extra, *offered, *self._cors.preflight(origin)]
        await send({"type": "http.response.start", "status": 204, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


def _origin_and_override(headers: Iterable[tuple[bytes, bytes]]) -> tuple[str | None, str | None]:
    origin = override = None
    for name, value in headers:
        if name == b"origin":
            origin = value.decode("latin-1")
        elif name == b"x-http-method-override":
            override = value.decode("latin-1").strip().upper()
    return origin, override


def raw(headers: Iterable[tuple[str, str]]) -> Raw:
    """Return headers as ASGI wants them."""
    return tuple((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers)

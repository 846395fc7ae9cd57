"""A finished response.

Owns how a reply becomes bytes on the wire. Must not know what it says. Invariant: no response is sent with
a body where HTTP allows none, nor with a length where it forbids one (RFC 9110, section 8.6).
"""

import msgspec

from tusplyr.core.commands import Reply
from tusplyr.web.edge import Raw, Receive, Scope, Send, raw

NO_CONTENT = 204


class Rendered:
    """An ASGI application that sends one response, prepared beforehand."""

    def __init__(self, status: int, headers: Raw, body: bytes) -> None:
        self._status = status
        self._headers = headers
        self._body = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - as ASGI calls it
        """Send it."""
        await send({"type": "http.response.start", "status": self._status, "headers": self._headers})
        await send({"type": "http.response.body", "body": self._body})


def text(reply: Reply) -> Rendered:
    """Return a reply as plain text; without a body there is no type, and with 204 no length either."""
    body = reply.body.encode()
    headers = [*raw(reply.headers)]
    if body:
        headers += [(b"content-type", b"text/plain; charset=utf-8"), (b"x-content-type-options", b"nosniff")]
    if reply.status != NO_CONTENT:
        headers.append((b"content-length", b"%d" % len(body)))
    if reply.close:
        headers.append((b"connection", b"close"))
    return Rendered(reply.status, tuple(headers), body)


def json(status: int, value: object, headers: tuple[tuple[str, str], ...] = ()) -> Rendered:
    """Return a value as JSON."""
    body = msgspec.json.encode(value)
    return Rendered(
        status,
        (*raw(headers), (b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))),
        body,
    )

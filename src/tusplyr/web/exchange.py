"""One request and its reply, between uvicorn and the application.

Owns what uvicorn's own cycle does not do: offering the direct body, keeping bytes that arrived before a cut,
and replying to a request whose body was not read. Must not know uploads. Invariant: a reply is never lost
to a reset by bytes that nobody read, unless there are more of them than the bounds below allow.
"""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import TYPE_CHECKING, Any

from tusplyr.core.errors import ShuttingDown
from tusplyr.web.direct import DirectBody
from tusplyr.web.pool import MIB, Pool

if TYPE_CHECKING:
    from tusplyr.web.protocol import TusplyrProtocol

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Receive, Send], Awaitable[None]]

DIRECT = "tusplyr.direct"  # key in scope["extensions"]: takes the body of the request, see `Exchange.take`
TRAILERS = "tusplyr.trailers"  # likewise: the trailer section, a list that is complete when the body has ended
KEEP_LIMIT = MIB  # bytes of an unread body that are worth a connection kept
LONGEST = 19  # digits of a length; Python refuses to convert thousands of them
UNKNOWN = 1 << 62  # bytes left of a body whose length was not promised


class Exchange:
    """Stands between one of uvicorn's cycles and the application."""

    def __init__(self, http: "TusplyrProtocol", cycle: Any) -> None:
        self._http = http
        self._cycle = cycle
        self._body: DirectBody | None = None
        self._unsent = False  # the client waits for `100 Continue`, and will not get it
        self._receive: Receive = cycle.receive
        self._send: Send = cycle.send
        # uvicorn itself replies 500 through `cycle.send`: that reply needs the same care.
        cycle.send = self.send

    def around(self, app: App) -> App:
        """Return the application as it is run for this request."""

        async def serve(scope: Any, _receive: Receive, _send: Send) -> None:
            scope["extensions"] = {**scope.get("extensions", {}), DIRECT: self.take}
            try:
                await app(scope, self.receive, self.send)
            finally:
                self._cycle.body = bytearray()  # the cycle refers to itself, and would keep it until it is collected
                if self._body is not None:
                    await self._body.close()

        return serve

    def take(self, pool: Pool, *, idle: float, at: int = 0) -> DirectBody | None:
        """Return the body of this request read directly, None when it must be read by `receive`.

        Called at most once, and only when the body is wanted: this sends `100 Continue`. `idle` is in seconds.
        """
        http, cycle = self._http, self._cycle
        length = _direct_length(cycle.scope)
        if length is None or self._body is not None or cycle.response_started or not http.can_mount(cycle):
            return None
        first, cycle.body = cycle.body, bytearray()
        left = length - http.counted
        self._body = body = DirectBody(http, pool, first=first, left=left, idle=idle, at=at)
        http.pause_reading()
        if left and cycle.waiting_for_100_continue and not http.gone(cycle):
            http.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            cycle.waiting_for_100_continue = False
        if left and not http.gone(cycle):
            http.mount(body)
        body.begin()
        if http.ending:
            body.stop(ShuttingDown())
        elif left and http.gone(cycle):
            body.cut()
        return body

    async def receive(self) -> Message:
        """`receive` of ASGI; hands out what arrived before it tells of a cut.

        Raises:
            ShuttingDown: the server stops, and the end of the body has not arrived.
        """
        http, cycle = self._http, self._cycle
        message: Message = {"type": "http.disconnect"}
        if self._body is not None:
            # The cycle's own would resume reading, against the pause of the body.
            await cycle.message_event.wait()
            return message if cycle.disconnected else {"type": "http.request", "body": b"", "more_body": False}
        if not cycle.more_body:
            cycle.waiting_for_100_continue = False  # it came without being asked for
        if not (http.ending and cycle.more_body):
            message = await self._receive()
            if message["type"] == "http.request" and (message["body"] or not message["more_body"]):
                if message["more_body"]:
                    http.pause_reading()  # until it is asked again: one message is enough to hold
                return message
        if cycle.body and not cycle.response_complete:
            body, cycle.body = bytes(cycle.body), bytearray()
            return {"type": "http.request", "body": body, "more_body": cycle.more_body}
        if http.ending and cycle.more_body and not cycle.disconnected:
            raise ShuttingDown
        return message

    async def send(self, message: Message) -> None:
        """`send` of ASGI; sees to it that the rest of an unread body does not spoil the reply."""
        cycle = self._cycle
        if message["type"] == "http.response.start":
            left = self._left()
            self._unsent = left > 0 and cycle.waiting_for_100_continue and not self._http.counted
            if self._unsent or left > KEEP_LIMIT:
                cycle.keep_alive = False  # uvicorn adds `Connection: close`
        elif message["type"] == "http.response.body" and not message.get("more_body", False):
            left = self._left()
            if self._body is not None:
                self._body.detach()
            if left and not self._unsent and not cycle.disconnected:
                self._http.drain_after_reply(left, keep=cycle.keep_alive)
                cycle.keep_alive = True  # uvicorn must not close what is still to be drained
        await self._send(message)

    def _left(self) -> int:
        """Bytes of the body that nobody has read from the connection, as far as was promised."""
        if self._body is not None:
            return self._body.left
        http, cycle = self._http, self._cycle
        if http.cycle is not cycle or not cycle.more_body:
            return 0
        length = _length(cycle.scope["headers"])
        return UNKNOWN if length is None else max(length - http.counted, 0)


def _direct_length(scope: Any) -> int | None:
    """Return the length of a body that can be read directly, None where it cannot."""
    names = {name for name, _ in scope["headers"]}
    if scope["http_version"] != "1.1" or names & {b"transfer-encoding", b"upgrade"}:
        return None
    return _length(scope["headers"])


def _length(headers: Iterable[tuple[bytes, bytes]]) -> int | None:
    values = [value for name, value in headers if name == b"content-length"]
    digits = values[0].lstrip(b"0") or b"0" if len(values) == 1 else b""
    return int(digits) if digits.isdigit() and len(digits) <= LONGEST else None

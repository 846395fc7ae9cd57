"""Our HTTP protocol for uvicorn: what its own does, and six things that it does not.

Owns every name inside uvicorn and httptools that we lean on (`NAMES`, `missing`). Must not know uploads. It
lends the connection to a direct body and takes it back, drains what a refused request still sends, lets a
peer that has closed its side read the reply, closes a connection whose request head never ends, and
ends live bodies when the server stops. Invariant: whoever is on the transport, uvicorn's protocol learns
when the connection is lost.
"""

import asyncio
import functools
import sys
from collections.abc import Callable
from typing import Any

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from tusplyr.core.errors import ShuttingDown
from tusplyr.web.direct import DirectBody
from tusplyr.web.drain import Drain
from tusplyr.web.exchange import TRAILERS, App, Exchange
from tusplyr.web.pool import MIB

HEAD_LIMIT = 64 * 1024  # bytes of a request head, or of trailers; the parser itself has no limit
WAITING_LIMIT = 64 * 1024  # bytes of the body of a request that has to wait, and the one read that passes it
PIPELINE_LIMIT = 32  # requests that wait behind the one that is being answered; uvicorn has no limit
LINGER_LIMIT = 8 * MIB  # bytes that are discarded before a connection is closed
HASTY_LAPSE = 0.5  # seconds of the same when the server is stopping

NAMES: dict[type, tuple[str, ...]] = {
    HttpToolsProtocol: (
        *("_start_asgi_task", "_unset_keepalive_if_required", "connection_lost", "connection_made", "data_received"),
        *("eof_received", "on_body", "on_header", "on_headers_complete", "on_message_begin", "on_response_complete"),
        *("pause_writing", "resume_writing", "send_400_response", "shutdown", "timeout_keep_alive_handler"),
        *(
            "cycle",
            "flow",
            "headers",
            "loop",
            "parser",
            "pipeline",
            "scope",
            "timeout_keep_alive",
            "timeout_keep_alive_task",
            "transport",
        ),
    ),
    RequestResponseCycle: (
        *("body", "disconnected", "keep_alive", "message_event", "more_body", "receive", "response_complete"),
        *("response_started", "scope", "send", "waiting_for_100_continue"),
    ),
    FlowControl: ("pause_reading", "resume_reading"),
    httptools.HttpRequestParser: ("feed_data", "set_dangerous_leniencies", "should_upgrade"),
}


def missing(names: dict[type, tuple[str, ...]] | None = None) -> list[str]:
    """Return the names that this uvicorn and httptools do not have, as `Class.name`; none when all is well."""
    return [
        f"{owner.__name__}.{name}"
        for owner, wanted in (NAMES if names is None else names).items()
        for name in wanted
        if not hasattr(owner, name) and name not in _attributes(owner)
    ]


def _attributes(owner: type) -> tuple[str, ...]:
    """What a class gives its instances is named in the code of its constructor."""
    code = getattr(vars(owner).get("__init__"), "__code__", None)
    return code.co_names if code is not None else ()


@functools.cache
def direct_possible() -> bool:
    """Whether a body can be read directly here: all names are there, and the loop reads in one step."""
    return sys.platform != "win32" and not missing()


def _announces_body(field: tuple[bytes, bytes]) -> bool:
    return field[0] == b"transfer-encoding" or (field[0] == b"content-length" and field[1].strip(b"0 \t") != b"")


class _Flow(FlowControl):
    """Does not read on for as long as a request that has to wait has `WAITING_LIMIT` of its body here.

    uvicorn reads on whenever one ahead of it is answered or asks for its body.
    """

    def __init__(self, transport: asyncio.Transport, full: Callable[[], bool]) -> None:
        super().__init__(transport)
        self._full = full

    def resume_reading(self) -> None:
        """Read on, or not yet."""
        if not self._full():
            super().resume_reading()


class TusplyrProtocol(HttpToolsProtocol):
    """Given to uvicorn as `http=TusplyrProtocol`. One per connection; also the `Line` of direct bodies."""

    head_lapse = 30.0  # seconds for a request head, from the connection or from its first byte
    linger_lapse = 2.0  # seconds that the rest of a body is discarded before a connection is closed

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.counted = 0  # bytes of the current request's body that went through the parser
        self.ending = False
        self._unheard = 0  # bytes since the parser last came to the end of a head, or to a piece of a body
        self._headed = False  # the head is complete: fields that follow are trailers
        self._trailers: list[tuple[bytes, bytes]] = []  # of the request that is being parsed
        self._running: RequestResponseCycle | None = None  # the request that is being answered
        self._deaf = False  # what came behind it was nonsense
        self._mounted: asyncio.BufferedProtocol | None = None
        self._drain_next: tuple[int, bool] | None = None
        self._head_timer: asyncio.TimerHandle | None = None

    # What uvicorn calls

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn narrows it too
        """See asyncio; the first head is awaited from here."""
        super().connection_made(transport)
        self.flow = _Flow(transport, self._one_waits)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio; the request that is being answered is told, too, not only the one that came last."""
        self._forget_head()
        self._mounted = None
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See asyncio; whatever is not yet a request counts as the beginning of a head."""
        if self._deaf:
            return
        self._unheard += len(data)
        super().data_received(data)
        if self._unheard > HEAD_LIMIT and not self.transport.is_closing():
            self._refuse_head()
            return
        cycle: Any = self.cycle  # None before the first request, whatever uvicorn declares
        if (
            self._head_timer is None
            and (cycle is None or cycle.response_complete)
            and self.transport.get_protocol() is self  # not a WebSocket by now
        ):
            self._await_head()

    def eof_received(self) -> bool | None:  # type: ignore[override]  # uvicorn says it returns nothing
        """Let a peer that has sent everything read its reply; otherwise the connection ends (TLS: always)."""
        cycle: Any = self.cycle
        whole = cycle is not None and not cycle.more_body and not cycle.response_complete
        if not whole or self.scheme == "https":
            return None
        cycle.keep_alive = False
        return True

    def on_message_begin(self) -> None:
        """See httptools."""
        self._headed = False
        self._trailers = []
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """See httptools; a trailer never passes for a field of the head (RFC 9110, section 6.5.1)."""
        if self._headed:
            self._trailers.append((name.lower(), value))
        else:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """See httptools. Raises `httptools.HttpParserError` for a request too many or a misleading upgrade."""
        self._forget_head()
        self._unheard = 0
        self._headed = True
        self.counted = 0
        if len(self.pipeline) >= PIPELINE_LIMIT:
            raise httptools.HttpParserError("too many requests at once")
        if self.parser.should_upgrade() and any(map(_announces_body, self.headers)):
            # The parser takes the request for ended: its body would be read as the next request.
            raise httptools.HttpParserError("an upgrade with a body")
        self.scope["extensions"] = {TRAILERS: self._trailers}  # type: ignore[dict-item]  # ours
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """See httptools; counts, so that a direct body knows what is left."""
        self._unheard = 0
        self.counted += len(body)
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        """See uvicorn; but a request that came whole before the nonsense gets its own answer first."""
        if not self._answer_first():
            super().send_400_response(msg)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        wrapped: App = Exchange(self, cycle).around(app)
        super()._start_asgi_task(cycle, wrapped)  # type: ignore[arg-type]  # the same in our words

    def on_response_complete(self) -> None:
        """See uvicorn; what the client is still sending is drained before anything else is read."""
        drain, self._drain_next = self._drain_next, None
        super().on_response_complete()
        if drain is not None and not self.transport.is_closing():
            self._unset_keepalive_if_required()
            self._drain(*drain)

    def shutdown(self) -> None:
        """See uvicorn; live bodies are ended, so that their requests can be answered now."""
        self.ending = True
        if isinstance(self._mounted, DirectBody):
            self._mounted.stop(ShuttingDown())
        elif isinstance(self._mounted, Drain):
            self._mounted.close()
        elif self.cycle is not None:
            self.cycle.message_event.set()
        super().shutdown()

    # What exchanges and bodies call

    def can_mount(self, cycle: RequestResponseCycle) -> bool:
        """Whether the connection stands at the body of this request, or right behind it."""
        return self.cycle is cycle and direct_possible()

    def gone(self, cycle: RequestResponseCycle) -> bool:
        """Whether nothing can be read from the connection any more."""
        return bool(cycle.disconnected or self.transport.is_closing())

    def mount(self, protocol: asyncio.BufferedProtocol) -> None:
        """Put a protocol on the connection, with reading paused."""
        self.pause_reading()
        self._mounted = protocol
        self.transport.set_protocol(protocol)

    def body_complete(self) -> None:
        """See `Line`. Reading stays paused until the reply is complete: a peer that closes now still gets it."""
        self.pause_reading()
        self._mounted = None
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self.cycle.more_body = False
        self.cycle.message_event.set()
        self.transport.set_protocol(self)
        if self.cycle.response_complete:
            self._go_on()

    def pause_reading(self) -> None:
        """See `Line`."""
        if not self.transport.is_closing():
            self.flow.pause_reading()

    def resume_reading(self) -> None:
        """See `Line`."""
        if not self.transport.is_closing():
            self.flow.resume_reading()

    def drain_after_reply(self, left: int, *, keep: bool) -> None:
        """Discard what is left of the body once the reply is written; then keep the connection or close it."""
        self._drain_next = (left, keep and not self.ending)

    def _one_waits(self) -> bool:
        """Whether the request that came last has to wait, and enough of its body is here."""
        cycle: Any = self.cycle
        return cycle is not None and cycle is not self._running and len(cycle.body) > WAITING_LIMIT

    def _drain(self, left: int, keep: bool) -> None:
        lapse = HASTY_LAPSE if self.ending else self.linger_lapse
        limit = left if keep else min(left, LINGER_LIMIT)
        self.mount(Drain(self, self.transport, limit=limit, lapse=lapse, keep=keep))
        if not keep and self.transport.can_write_eof():
            self.transport.write_eof()
        self.resume_reading()

    def _go_on(self) -> None:
        """Read the next head, for as long as uvicorn keeps an idle connection."""
        self.resume_reading()
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _answer_first(self) -> bool:
        """Listen no more, and close once the request that came whole has its answer; false where there is none."""
        running = self._running
        if running is None or running.response_complete or running.more_body:
            return False
        running.keep_alive = False
        self.pipeline.clear()
        self._deaf = True
        self.pause_reading()
        return True

    def _refuse_head(self) -> None:
        if self._answer_first():
            return
        text = b"The head of the request is too large."
        fields = b"content-type: text/plain\r\nconnection: close\r\ncontent-length: %d" % len(text)
        self.transport.write(b"HTTP/1.1 431 Request Header Fields Too Large\r\n" + fields + b"\r\n\r\n" + text)
        self.transport.close()

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(self.head_lapse, self.timeout_keep_alive_handler)

    def _forget_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

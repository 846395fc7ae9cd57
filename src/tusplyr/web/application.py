"""The web application: Litestar inside, the edge around it.

Owns how routes, errors and the edge are put together. Must not know adapters. Invariant: an error that no
handler expected becomes a fixed text and a log line, never a traceback or a path in a response.
"""

import logging
from typing import Any

from litestar import Litestar, Request
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.response import Response
from msgspec.structs import replace

from tusplyr.core.commands import Reply
from tusplyr.core.decide import Limits
from tusplyr.core.errors import Broken, MethodNotAllowed, NotFound, Refused, TusplyrError
from tusplyr.dialects import tus1
from tusplyr.web.edge import App, Cors, Edge

log = logging.getLogger(__name__)

Call = Request[Any, Any, Any]


def build(handlers: list[HTTPRouteHandler], *, base_path: str, limits: Limits, origins: tuple[str, ...]) -> App:
    """Return the ASGI application of these handlers."""
    bare = f"Nothing is here. Uploads are created at {base_path}; the page to try them is off (TRY_IT)."

    def on_http_error(request: Call, error: HTTPException) -> Response[str]:
        reply = _refuse(request, _spelled(error), limits)
        if request.scope["path"] == "/" and reply.status == NotFound.status and reply.body:
            reply = replace(reply, body=bare)  # with the page there is something
        return _text(reply)

    def on_error(request: Call, error: Exception) -> Response[str]:
        log.error("%s %s failed unexpectedly", request.method, request.scope["path"], exc_info=error)
        return _text(_refuse(request, Broken(), limits))

    litestar = Litestar(
        route_handlers=handlers,
        exception_handlers={HTTPException: on_http_error, Exception: on_error},
        request_max_body_size=None,  # bodies are bounded by the length that was promised, not by the framework
        openapi_config=None,
        logging_config=None,
    )
    return Edge(
        litestar,
        base_path=base_path,
        standard=tus1.HEADERS,
        discovery=lambda trailers: tus1.write_discovery(limits, trailers=trailers),
        cors=Cors(origins, tus1.REQUEST_HEADERS, tus1.RESPONSE_HEADERS),
    )


def _refuse(request: Call, error: TusplyrError, limits: Limits) -> Reply:
    return tus1.refuse(error, request.method, limits)


def _text(reply: Reply) -> Response[str]:
    return Response(reply.body, status_code=reply.status, headers=dict(reply.headers), media_type="text/plain")


def _spelled(error: HTTPException) -> TusplyrError:
    """Say an error of Litestar in our own words. It raises 404 and 405, and 400 for a host that is none."""
    match error.status_code:
        case 404:
            return NotFound()
        case 405:
            return MethodNotAllowed(tuple(sorted((error.headers or {}).get("allow", "").split(", "))))
        case status:
            return Broken() if status >= 500 else Refused("The request is malformed.")  # noqa: PLR2004 - server errors

"""The addresses of uploads: requests in, replies out.

Owns the routes of tus and of the status document. Must not know storage, nor decide anything: a dialect
reads, the engine acts, a dialect writes. Invariant: every request ends in exactly one response, also when
the client is gone (a host application's middleware may insist on one), and nobody reads the text of an
unexpected error.
"""

import hmac
import logging
import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any
from urllib.parse import urljoin, urlsplit

from litestar import HttpMethod, Request, delete, get, patch, post, route
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp
from msgspec import Struct

from tusplyr.core.commands import Concatenate, Head, Outcome, Reply
from tusplyr.core.decide import expires_at
from tusplyr.core.errors import (
    Broken,
    Cut,
    NotFound,
    Stopped,
    Superseded,
    TusplyrError,
    Unauthorized,
    Unavailable,
)
from tusplyr.core.headers import parse_headers, single
from tusplyr.core.model import Status, Upload
from tusplyr.dialects import tus1
from tusplyr.engine.engine import Engine
from tusplyr.web.body import Bodies, RequestBody
from tusplyr.web.download import Download, lacks
from tusplyr.web.exchange import TRAILERS
from tusplyr.web.forwarded import Proxies, origin
from tusplyr.web.response import Rendered, json, text

log = logging.getLogger(__name__)

ID = re.compile(r"[0-9a-f]{32}\Z")
TEMPORARY_REDIRECT = 307
NOT_PUBLISHED = "It could not be published yet; the server goes on trying."  # the reason is for operators alone

Call = Request[Any, Any, Any]
Work = Callable[[Call, Head], Awaitable[Reply]]


class Site(Struct, frozen=True):
    """Where this server is, and who may use it.

    Attributes:
        base_path: where uploads live, e.g. ``/files``.
        public_url: what addresses start with; None: whatever host the request names.
        token: what every request must bring as a bearer token; None: nothing.
        proxies: whose word counts on what host the client named, and by which scheme.
    """

    base_path: str
    public_url: str | None = None
    token: str | None = None
    proxies: Proxies = Proxies()

    def address(self, request: Call, upload_id: str) -> str:
        """Return the URL of an upload: absolute, or a path when the request's host is not a plain one."""
        path = f"{self.base_path}/{upload_id}"
        if self.public_url:
            return self.public_url.rstrip("/") + path
        return (origin(request.scope, self.proxies) or "") + path

    def locator(self, request: Call) -> tus1.Locate:
        """Return what finds the id of the upload at an address, absolute or relative to the request's."""
        start = self.address(request, "")  # once: a head may name many addresses
        return partial(_locate, start)

    def admit(self, headers: Head) -> None:
        """Let a request in, or not.

        Raises:
            Unauthorized: the bearer token is missing or wrong.
        """
        if self.token is None:
            return
        scheme, _, token = (single(headers.headers, "authorization") or "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(token.strip().encode(), self.token.encode()):
            raise Unauthorized


class StatusDocument(Struct, frozen=True):
    """`GET <upload>/status`: everything that may be known of an upload; null where it is not known yet."""

    id: str
    status: str
    offset: int
    length: int | None
    created_at: float
    expires_at: float | None
    file_id: str | None
    sha256: str | None
    media_type: str
    key: str | None
    url: str | None
    attempts: int
    error: str | None


class Uploads:
    """What the routes do, over one engine."""

    def __init__(self, engine: Engine, bodies: Bodies, site: Site) -> None:
        self._engine = engine
        self._bodies = bodies
        self._site = site

    async def create(self, request: Call, head: Head) -> Reply:
        """POST on the collection."""
        command = tus1.read_create(head, self._engine.limits, self._site.locator(request), _trailers(request))
        if isinstance(command, Concatenate):
            outcome = await self._engine.concatenate(command)
            return self._write(outcome, self._site.address(request, outcome.upload.id))
        body = self._body(request, head)
        try:
            outcome = await self._engine.create(command, body)
        finally:
            await body.close()
        return self._write(outcome, self._site.address(request, outcome.upload.id))

    async def append(self, request: Call, head: Head) -> Reply:
        """PATCH on an upload."""
        upload_id = _id(request)
        read = partial(tus1.read_append, head, self._engine.limits, _trailers(request))
        body = self._body(request, head)
        try:
            outcome = await self._engine.append(upload_id, read, body)
        finally:
            await body.close()
        return self._write(outcome)

    async def query(self, request: Call, head: Head) -> Reply:
        """HEAD on an upload. A monitor, which does not speak the protocol, never interrupts."""
        return self._write(await self._engine.query(_id(request), interrupts=tus1.speaks(head)))

    async def terminate(self, request: Call, head: Head) -> Reply:  # noqa: ARG002 - the same shape as the others
        """DELETE on an upload."""
        return self._write(await self._engine.terminate(_id(request)))

    async def answer(self, request: Call, work: Work) -> Rendered:
        """Admit a request, have it done and render the reply; whatever is refused on the way is one, too."""
        head = Head(request.method, parse_headers(request.scope["headers"]))
        upload_id = None
        try:
            self.admit(head)
            upload_id = request.path_params.get("upload_id")
            reply = await work(request, head)
        except TusplyrError as error:
            upload = await self._engine.peek(upload_id) if head.method == "PATCH" and upload_id else None
            reply = self._refuse(error, request, head, upload)
        return text(reply)

    async def download(self, request: Call) -> Rendered | Download:
        """GET on an upload: its content."""
        head = Head(request.method, parse_headers(request.scope["headers"]))
        try:
            self.admit(head)
            upload, file = await self._engine.content(_id(request), partial(lacks, head.headers))
        except TusplyrError as error:
            return text(self._refuse(error, request, head))
        if isinstance(file, str):
            return text(Reply(TEMPORARY_REDIRECT, (("Location", file),)))
        return Download(upload, file, head.headers, self._engine.run_blocking)

    async def status(self, request: Call) -> Rendered:
        """GET on the status document of an upload."""
        head = Head(request.method, parse_headers(request.scope["headers"]))
        try:
            self.admit(head)
            upload = (await self._engine.query(_id(request), interrupts=False)).upload
        except TusplyrError as error:
            reply = self._refuse(error, request, head)
            return json(reply.status, {"detail": reply.body}, reply.headers)
        return json(200, self._document(request, upload))

    def admit(self, head: Head) -> None:
        """Refuse the wrong version, then the wrong token (protocol.md 1.9)."""
        tus1.check_version(head)
        self._site.admit(head)

    def _body(self, request: Call, head: Head) -> RequestBody:
        return RequestBody(request.scope, request.receive, self._bodies, tus1.body_length(head))

    def _write(self, outcome: Outcome, address: str = "") -> Reply:
        return tus1.write(outcome, address, self._engine.limits)

    def _refuse(self, error: TusplyrError, request: Call, head: Head, upload: Upload | None = None) -> Reply:
        reply = tus1.refuse(error, head.method, self._engine.limits, upload)
        upload_id = request.path_params.get("upload_id") or error.upload_id or "-"
        if isinstance(error, Broken):
            unexpected = error if type(error) is Broken else None  # the others say what happened, in one line
            log.error("%s of upload %s failed: %s", head.method, upload_id, error, exc_info=unexpected)
        elif isinstance(error, (Cut, Stopped, Unavailable, Superseded)):
            log.info("%s of upload %s ended early (%d): %s", head.method, upload_id, reply.status, error)
        return reply

    def _document(self, request: Call, upload: Upload) -> StatusDocument:
        return StatusDocument(
            id=upload.id,
            status=upload.status,
            offset=upload.offset,
            length=upload.length,
            created_at=upload.created_at,
            expires_at=expires_at(upload, self._engine.limits),
            file_id=upload.file_id,
            sha256=upload.sha256,
            media_type=upload.media.media_type,
            key=upload.key,
            url=self._site.address(request, upload.id) if upload.status is Status.STORED else None,
            attempts=upload.attempts,
            error=upload.error and NOT_PUBLISHED,
        )


def routes(engine: Engine, bodies: Bodies, site: Site) -> list[HTTPRouteHandler]:
    """Return the handlers for `site`."""
    uploads = Uploads(engine, bodies, site)
    one = site.base_path + "/{upload_id:str}"

    @post(site.base_path)
    async def create(request: Call) -> ASGIApp:
        return await uploads.answer(request, uploads.create)

    @patch(one)
    async def append(request: Call) -> ASGIApp:
        return await uploads.answer(request, uploads.append)

    @route(one, http_method=[HttpMethod.HEAD])
    async def query(request: Call) -> ASGIApp:
        return await uploads.answer(request, uploads.query)

    @delete(one, status_code=200)  # what Litestar wants of a handler that may answer with text; the reply has its own
    async def terminate(request: Call) -> ASGIApp:
        return await uploads.answer(request, uploads.terminate)

    @get(one)
    async def download(request: Call) -> ASGIApp:
        return await uploads.download(request)

    @get(one + "/status")
    async def status(request: Call) -> ASGIApp:
        return await uploads.status(request)

    return [create, append, query, terminate, download, status]


def _locate(start: str, reference: str) -> str | None:
    """Return the id of the upload at an address; None where it is not one of those that begin with `start`."""
    if reference.startswith(start) and ID.match(reference[len(start) :]):
        return reference[len(start) :]
    try:
        base = urlsplit(start)
        target = urlsplit(urljoin(f"//{base.netloc}{base.path.rstrip('/')}", reference))
    except ValueError:  # a host that is none
        return None
    upload_id = target.path.removeprefix(base.path)
    ours = target.netloc.lower() == base.netloc.lower() and target.path == base.path + upload_id
    return upload_id if ours and ID.match(upload_id) and not (target.query or target.fragment) else None


def _trailers(request: Call) -> tus1.Trailers | None:
    extensions: dict[str, Any] = request.scope.get("extensions") or {}
    return extensions.get(TRAILERS)


def _id(request: Call) -> str:
    upload_id: str = request.path_params["upload_id"]
    if not ID.match(upload_id):
        raise NotFound
    return upload_id

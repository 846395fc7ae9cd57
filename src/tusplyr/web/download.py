"""Handing out the content of a stored upload.

Owns ranges and validators (RFC 9110, sections 13 and 14). Must not know where the bytes are kept: it reads
a seekable file. Invariants: a download holds one buffer of `READ` bytes, whatever the length, and reads no
further once its reader is gone; nothing that a client uploaded is shown inline or sniffed; the file is
closed however the download ends.
"""

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import Any, BinaryIO

from tusplyr.core.errors import Stopped
from tusplyr.core.headers import Headers, content_disposition, parse_metadata, repr_digest
from tusplyr.core.model import Upload
from tusplyr.web.edge import Receive, Scope, Send, raw

READ = 256 * 1024  # bytes per read and per ASGI message

_RANGE = re.compile(r"bytes=([0-9]{0,19})-([0-9]{0,19})\Z")  # a longer number is as if it were not there

Blocking = Callable[..., Awaitable[Any]]


class Download:
    """An ASGI application that sends one file once.

    Args:
        upload: whose content that is.
        file: None where the reader has it, see `lacks`.
        headers: of the request.
        run: runs what blocks.
    """

    def __init__(self, upload: Upload, file: BinaryIO | None, headers: Headers, run: Blocking) -> None:
        self._upload = upload
        self._file = file
        self._headers = headers
        self._run = run
        self._etag = _etag(upload)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - as ASGI calls it
        """Answer 200, 206, 304 or 416 with what was asked for."""
        if self._file is None:
            await self._start(send, 304, [])
            return
        try:
            span = self._span()
            if span is None:
                await self._start(
                    send, 416, [("Content-Range", f"bytes */{self._upload.offset}"), ("Content-Length", "0")]
                )
                return
            await self._send(self._file, receive, send, span)
        finally:
            await self._run(self._file.close)

    async def _send(self, file: BinaryIO, receive: Receive, send: Send, span: tuple[int, int, bool]) -> None:
        first, end, partial = span
        ranged = [("Content-Range", f"bytes {first}-{end - 1}/{self._upload.offset}")] if partial else []
        await self._start(send, 206 if partial else 200, [*ranged, ("Content-Length", str(end - first))], more=True)
        await self._run(file.seek, first)
        gone = asyncio.create_task(_gone(receive))  # a server may drop what is sent to nobody without a word
        try:
            while first < end and not gone.done():
                data = await self._run(file.read, min(READ, end - first))
                if not data:
                    raise OSError(f"object {self._upload.key} is shorter than its row says")
                first += len(data)
                await send({"type": "http.response.body", "body": data, "more_body": True})
        finally:
            gone.cancel()
        await send({"type": "http.response.body", "body": b""})

    def _span(self) -> tuple[int, int, bool] | None:
        """Return the first byte, the end and whether a range was asked for; None when there is nothing there.

        One range only; anything else is answered with the whole, as RFC 9110, section 14.2, allows.
        """
        length = self._upload.offset  # of a stored upload, where it ends
        asked = _RANGE.match(self._asked("range"))
        stale = (self._asked("if-range") or self._etag) != self._etag
        if not asked or stale or not any(asked.groups()):
            return 0, length, False
        first, last = asked.groups()
        if not first:
            start, end = max(0, length - int(last)), length
        else:
            start, end = int(first), min(int(last) + 1, length) if last else length
            if last and int(last) < int(first):
                return 0, length, False  # malformed: as if it were not there
        return (start, end, True) if start < end else None

    def _asked(self, name: str) -> str:
        return _joined(self._headers, name)

    async def _start(self, send: Send, status: int, headers: list[tuple[str, str]], *, more: bool = False) -> None:
        upload = self._upload
        described = [
            ("ETag", self._etag),
            ("Accept-Ranges", "bytes"),
            ("Last-Modified", formatdate(upload.updated_at, usegmt=True)),
            ("Repr-Digest", repr_digest(upload.sha256 or "")),
            ("Content-Type", upload.media.media_type),
            ("Content-Disposition", content_disposition(_name(upload))),
            ("X-Content-Type-Options", "nosniff"),
            ("Content-Security-Policy", "sandbox"),
        ]
        await send({"type": "http.response.start", "status": status, "headers": raw([*described, *headers])})
        if not more:
            await send({"type": "http.response.body", "body": b""})


def lacks(headers: Headers, upload: Upload) -> bool:
    """Say whether a request is by a reader that has no good copy of a content (RFC 9110, section 13.1.2)."""
    tags = {tag.strip().removeprefix("W/") for tag in _joined(headers, "if-none-match").split(",")}
    return tags.isdisjoint({"*", _etag(upload)})


def _etag(upload: Upload) -> str:
    return f'"{upload.sha256}"'


def _joined(headers: Headers, name: str) -> str:
    """Return a header of a request; several lines count as one list (RFC 9110, section 5.3)."""
    return ",".join(headers.get(name, ()))


async def _gone(receive: Receive) -> None:
    """Return when nobody reads the response any more."""
    with contextlib.suppress(Stopped):
        while (await receive())["type"] != "http.disconnect":
            pass  # a body that came with the GET


def _name(upload: Upload) -> str:
    pairs = parse_metadata((upload.metadata.decode("latin-1"),)) if upload.metadata else {}
    name = pairs.get("filename") or pairs.get("name") or b""
    return name.decode("utf-8", "replace") or f"{upload.file_id}{upload.media.extension}"

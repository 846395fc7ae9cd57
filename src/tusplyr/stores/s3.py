"""The store on S3 and what speaks like it: R2, MinIO, versitygw.

Owns published objects in buckets. Must not know uploads, offsets or the ledger. Invariants: a key is written where
nothing is under it, and never again; every object carries the SHA-256 of all of it, so that whoever finds a key taken
knows by what, without reading it. (On a server that ignores `If-None-Match` the first holds within one process.)
"""

import hashlib
import logging
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from functools import partial
from typing import BinaryIO, cast
from urllib.parse import quote

from tusplyr.core.errors import Conflict, SpoolDown, StoreDown, Suspended
from tusplyr.core.model import Content
from tusplyr.ports import Halted, Journal, Multipart, Staged, never
from tusplyr.stores.s3_carry import carry
from tusplyr.stores.s3_client import Found, S3Client
from tusplyr.stores.s3_errors import Rejected, Taken
from tusplyr.stores.s3_object import S3Object
from tusplyr.stores.s3_options import S3Options
from tusplyr.stores.s3_parts import READ, Window, heed, part_size
from tusplyr.stores.s3_transfer import Keys, Load, Transfers, look_at

KNOWN = 256  # objects of others of which it is remembered what they are

log = logging.getLogger(__name__)


class S3Store:
    """`ports.Store` and `ports.Shipper` over buckets that exist."""

    prompt = False

    def __init__(self, options: S3Options, journal: Journal) -> None:
        self._options = options
        self._journal = journal
        self._client = S3Client(options)
        self._transfers = Transfers(self._client, journal, options)
        self._keys = Keys()
        self._foreign: dict[tuple[str, str], str] = {}  # SHA-256 of objects that do not carry it, by key and ETag

    def publish(self, content: Content, source: Staged, *, compare: bool = True, halted: Halted = never) -> bool:
        """See `ports.Store.publish`. One request for a short content; for one of n parts, n + 3."""
        short = content.length <= self._options.single_put_limit
        work = partial(self._publish, content, source, halted, compare=compare, short=short)
        with nullcontext() if short else self._transfers.urgent():
            return carry("publish", work, halted)

    def _publish(self, content: Content, source: Staged, halted: Halted, *, compare: bool, short: bool) -> bool:
        """Publish under a key that nobody else of this process has, until the last request has ended."""
        with self._keys.hold(content.key, halted) as waited:
            try:
                # R2 does not say that it refuses the last request of a transfer on a taken key. And it takes one write
                # a second for each key, before it looks whether the write is to be refused.
                asks = waited or not short or not self._client.puts_once
                there = self._client.head(content.key) if asks else None
                if there is None:
                    put = self._short if short else self._transfers.send
                    put(content, source, halted)
                else:
                    self._clear(content.key)
            except Taken as error:
                there = self._client.head(content.key)
                if there is None:
                    raise StoreDown(f"{self._client.name(content.key)}: another process writes it right now") from error
            return there is None or (compare and self._same(content, there, halted))

    def stride(self, length: int) -> int | None:
        """See `ports.Shipper.stride`: a part."""
        return None if length <= self._options.single_put_limit else part_size(length, self._options.part_size)

    def ship(
        self, content: Content, source: Staged, upto: int, *, enough: Halted = never, halted: Halted = never
    ) -> None:
        """See `ports.Shipper.ship`. One request for each part, and one before the first."""

        def work() -> None:
            with self._keys.hold(content.key, _at_once):
                self._transfers.ship(Load(content, source, upto, halted, enough))

        carry("ship", work, halted)

    def address(self, key: str) -> str | None:
        """See `ports.Store.address`. A presigned one cannot be known in advance, and holds for a while."""
        public = self._options.public_urls.get(key.partition("/")[0])
        if public:
            return f"{public.rstrip('/')}/{quote(self._options.prefix + key)}"
        return self._client.presigned(key, self._options.presign_seconds) if self._options.presign_seconds else None

    def open(self, key: str) -> BinaryIO | None:
        """See `ports.Store.open`."""
        there = self._head(key)
        return cast("BinaryIO", S3Object(self._client, key, there)) if there else None

    def has(self, content: Content) -> bool:
        """See `ports.Store.has`: an object that long is, and that carries this SHA-256 if it carries one."""
        there = self._head(content.key)
        return there is not None and there.length == content.length and there.sha256 in {None, content.sha256}

    def keys(self) -> Iterator[str]:
        """See `ports.Store.keys`."""
        yield from self._client.keys()

    def sweep(self, older_than: float) -> int:
        """See `ports.Store.sweep`: abort the transfers in the journal that no upload goes on with.

        Nothing else is ever aborted, since it could be somebody else's: a transfer that is in no journal is left to the
        bucket's own rules. One that cannot be aborted does not keep the others.
        """
        swept = 0
        for transfer in self._journal.abandoned():
            if transfer.begun_at < older_than:
                try:
                    swept += self._swept(transfer)
                except Rejected as error:
                    log.warning("what was begun and is not needed stays there until the next sweep: %s", error)
        return swept

    def close(self) -> None:
        """See `ports.Store.close`."""
        self._client.close()

    def _short(self, content: Content, source: Staged, halted: Halted) -> None:
        """Write it in one request."""
        with source.open() as file:
            window = Window(file, 0, content.length, halted)
            digests = window.digests(sha256=True)
            if digests.sha256 != content.sha256:
                raise SpoolDown(f"the staged bytes of {content.key} are not what was received")
            if self._client.put(content, window, digests.md5).strip('"') != digests.etag:
                look_at(self._client, content)

    def _head(self, key: str) -> Found | None:
        """Say what is under a key, and nothing only where its bucket is there."""
        there = self._client.head(key)
        if there is None:
            self._client.look(key)
        return there

    def _clear(self, key: str) -> None:
        """Give up what was begun under a key that is taken. Where that fails it is left to the sweep."""
        begun = self._journal.find(key)
        try:
            if begun:
                self._transfers.drop(begun)
        except StoreDown as error:
            log.warning("what was begun and is not needed is left to the sweep: %s", error)

    def _swept(self, transfer: Multipart) -> bool:
        """Abort a transfer, unless somebody has begun anew under its key or is about to."""
        with suppress(Suspended), self._keys.hold(transfer.key, _at_once):
            if self._journal.find(transfer.key) == transfer:
                self._transfers.drop(transfer)
                return True
        return False

    def _same(self, content: Content, there: Found, halted: Halted) -> bool:
        """Return True, or raise `Conflict`. Only what somebody else has put there is read."""
        if (
            there.length != content.length
            or (there.sha256 or self._sha256(content.key, there, halted)) != content.sha256
        ):
            raise Conflict(f"other content is stored under {content.key}")
        return True

    def _sha256(self, key: str, there: Found, halted: Halted) -> str:
        """Read what somebody else has put there, once for each that it is."""
        if known := self._foreign.get((key, there.etag)):
            return known
        digest = hashlib.sha256()
        with S3Object(self._client, key, there) as file:
            while data := file.read(READ):
                heed(halted)
                digest.update(data)
        if len(self._foreign) >= KNOWN:
            self._foreign.clear()
        self._foreign[key, there.etag] = digest.hexdigest()
        return digest.hexdigest()


def _at_once() -> bool:
    return True

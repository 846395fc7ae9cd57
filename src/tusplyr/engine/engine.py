"""Carrying out commands: one method each.

Owns the order of steps of every command. Must not know a protocol, a framework or an adapter. Invariant:
a request is refused by what its head and the row decide before any running one is disturbed, and the row
is read again once the upload is held.
"""

import hashlib
import logging
import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO

from msgspec import Struct
from msgspec.structs import replace

from tusplyr.core import decide
from tusplyr.core.commands import Append, Appended, Concatenate, Create, Created, Expected, Found, Terminated
from tusplyr.core.decide import Limits
from tusplyr.core.digest import Provider
from tusplyr.core.errors import (
    Broken,
    BytesLost,
    DigestMismatch,
    Gone,
    NoSpace,
    NotReady,
    Refused,
    Stopped,
    StoreDown,
    Superseded,
    about,
)
from tusplyr.core.model import Kind, Reason, Status, Upload
from tusplyr.engine.concatenate import Concatenation
from tusplyr.engine.endings import Endings
from tusplyr.engine.intake import Intake, Terms
from tusplyr.engine.offload import Offload, Result, joined
from tusplyr.engine.publish import Publisher
from tusplyr.engine.sink import Sink
from tusplyr.engine.tally import Tally
from tusplyr.ports import Body, Claims, Ledger, Spool, Store

log = logging.getLogger(__name__)

TOLD = 16 * 1024 * 1024  # bytes of a body, or of an upload that begins, beyond which they are worth a line in the log
IDS = 64  # ids drawn at once
FRESH = 2.0  # seconds for which a row that this process wrote is believed, although a command may have changed it
RECENT = 256  # rows that are remembered for the next append; with the longest metadata 4 MiB

Read = Callable[[], Append]
Needed = Callable[[Upload], bool]


class Means(Struct, frozen=True, kw_only=True):
    """What the engine is made of.

    Attributes:
        reading: threads that read from the store.
        redirect: send readers to where the store says that an object can be had.
    """

    ledger: Ledger
    spool: Spool
    store: Store
    reading: Offload
    claims: Claims
    offload: Offload
    intake: Intake
    publisher: Publisher
    endings: Endings
    concatenation: Concatenation
    provider: Provider
    limits: Limits
    tally: Tally
    redirect: bool = False


class Engine:
    """See the module."""

    def __init__(self, means: Means, clock: Callable[[], float] = time.time) -> None:
        self._ledger, self._spool, self._store = means.ledger, means.spool, means.store
        self._reading, self._redirect = means.reading, means.redirect
        self._claims, self._offload = means.claims, means.offload
        self._intake, self._publisher, self._endings = means.intake, means.publisher, means.endings
        self._concatenation, self._provider = means.concatenation, means.provider
        self._clock = clock
        self._look_again_at = 0.0
        self._recent: dict[str, Upload] = {}
        self._ids: list[str] = []
        self._tally = means.tally
        self.limits = means.limits

    async def create(self, command: Create, body: Body) -> Created:
        """Make an upload, and append the body when the command says so.

        Raises:
            TooLarge, ChecksumMismatch, BadHeader: nothing was created.
            DigestMismatch: it is gone already.
            Cut, Stopped: the body ended early; the upload exists with what arrived.
            NoSpace, SpoolDown, LedgerDown: see `ports`.
        """
        decide.create(command, self.limits)
        upload = self._new(command)
        await self._admit()
        with about(upload.id):
            return Created(await self._followed(await self._begin(upload, command, body)))

    async def concatenate(self, command: Concatenate) -> Created:
        """Make an upload of others. It is assembled when this returns, or behind it if that takes long.

        The same uploads in the same order with the same description are the same final upload: a client that lost the
        reply asks again.

        Raises:
            NotFound, Gone, BadPartial, TooLarge: nothing was created.
            DigestMismatch: it is gone already.
            NoSpace, LedgerDown: see `ports`.
        """
        return Created(await self._followed(await self._concatenation.create(command)))

    async def append(self, upload_id: str, read: Read, body: Body) -> Appended:
        """Append a body at the durable offset.

        Args:
            upload_id: hostile text is fine.
            read: makes the command from the request, once the upload is known to be there; raises what it deserves.
            body: not touched before everything that can refuse it has been asked.

        Raises:
            NotFound, Gone, OffsetMismatch, TooLarge, or what `read` raises: nothing of the body was read.
            Busy: the holder did not let go in time.
            DigestMismatch: the upload is gone.
            Cut, Stopped, TooLarge, ChecksumMismatch, NoSpace, Broken: see `Intake.receive`.
        """
        if self._claims.held(upload_id):
            row = await self._present(upload_id, busy=True)
            decide.appendable(row)
            decide.promised(row, read(), self.limits)  # refused before anybody is disturbed
        async with self._claims.hold(upload_id, body.stop):
            command, row, upload = await self._row(upload_id, read)
            try:
                appended = await self._receive(upload, body, command, news=row.length != upload.length)
            except Superseded:
                log.info("upload %s was ended by a command while bytes of it came in", upload_id)
                await self._present(upload_id)
                raise
        return Appended(await self._followed(appended))

    async def query(self, upload_id: str, *, interrupts: bool) -> Found:
        """Return the durable state, which the next append may rely on when the query `interrupts` a running one.

        Raises:
            NotFound, Gone: there is nothing to continue.
            Busy: the holder did not let go in time.
        """
        busy = self._claims.held(upload_id)
        upload = await self._present(upload_id, busy=busy)
        if busy and interrupts and upload.status is Status.RECEIVING:
            async with self._claims.hold(upload_id, _ignore):
                upload = await self._present(upload_id)
        return Found(upload)

    async def peek(self, upload_id: str) -> Upload | None:
        """Return the durable state for the reply to a request that was refused; None where there is nothing to say."""
        try:
            return await self._present(upload_id, busy=True)
        except (Refused, Broken):
            return None

    async def terminate(self, upload_id: str) -> Terminated:
        """End an upload, finished or not, and free its staged bytes. What was published stays.

        Raises:
            NotFound, Gone: there is nothing to end.
            Busy: the holder did not let go in time.
        """
        if self._claims.held(upload_id):
            await self._present(upload_id, busy=True)
        async with self._claims.hold(upload_id, _ignore):
            await self._terminate(await self._present(upload_id))
        self._publisher.handover.announce()  # what was published of it has made room for another
        return Terminated()

    async def content(self, upload_id: str, needed: Needed = lambda _: True) -> tuple[Upload, BinaryIO | str | None]:
        """Open the stored content of an upload; the caller closes it. Or return the URL at which a reader gets it.

        Args:
            upload_id: hostile text is fine.
            needed: asked once it is known what is stored; where it is False, the store is left alone.

        Raises:
            NotReady: it is not stored yet.
            Forbidden: it never will be.
            NotFound, Gone: there is no such upload, or its object is not in the store any more.
            StoreDown: the object is not as long as it was, or cannot be read.
        """
        upload = await self._present(upload_id)
        decide.published(upload)
        if upload.status is not Status.STORED or upload.key is None:
            raise NotReady
        if not needed(upload):
            return upload, None
        # An address is made here; but whoever signs it may ask for credentials first, which the loop cannot wait for.
        if self._redirect and (address := await self._reading.run(self._store.address, upload.key)):
            return upload, address
        file = await self._reading.run(self._store.open, upload.key)
        if file is None:
            log.error("upload %s is stored, but %s is not in the store", upload.id, upload.key)
            raise Gone
        if (found := await self._reading.run(_length, file)) != upload.length:
            await self._reading.run(file.close)
            raise StoreDown(f"{upload.key} has {found} bytes, and {upload.length} were stored; run tusplyr verify")
        return upload, file

    def stop(self, why: Stopped) -> None:
        """Ask every running append to make its checkpoint and end; from now on new ones end at once.

        What is being published ends, too, where that would take long, and nobody waits for it any more.
        """
        self._publisher.handover.end()
        if self._publisher.overlap:
            self._publisher.overlap.stop()
        self._claims.stop_all(why)

    async def run_blocking(self, function: Callable[..., Result], *args: object) -> Result:
        """Run a blocking read of what `content` returned in a worker thread."""
        return await self._reading.run(function, *args)

    async def _present(self, upload_id: str, *, busy: bool = False) -> Upload:
        """Return the row if a client may still address it; while a request is `busy` with it, it does not expire."""
        return decide.present(await self._ledger.get(upload_id), self.limits, None if busy else self._clock())

    async def _row(self, upload_id: str, read: Read) -> tuple[Append, Upload, Upload]:
        """Return an append, the row that it goes on from, once it may, and the same with what it promises.

        It is the one that this process has just written, or read from the ledger.

        A command may have changed it meanwhile, as it may while an append runs: then the first change made from here is
        refused. Only what the ledger says is a reason to refuse the request.
        """
        known = self._recent.pop(upload_id, None)
        if known is not None and self._clock() - known.updated_at < FRESH:
            with suppress(Refused):
                command = read()
                planned = decide.append(decide.present(known, self.limits, self._clock()), command, self.limits)
                if command.body_length != 0:  # without a byte no change will tell that the row is another by now
                    return command, known, planned
        row = await self._present(upload_id)
        decide.appendable(row)
        command = read()
        return command, row, decide.append(row, command, self.limits)

    async def _followed(self, upload: Upload) -> Upload:
        """Wait for an upload that is `received`, as long as is wanted; return its row. Raises as `decide.present`."""
        return decide.present(await self._publisher.handover.follow(upload), self.limits)

    def _remember(self, upload: Upload) -> Upload:
        """Keep a row that was just written for the append that goes on from it."""
        if upload.status is Status.RECEIVING:
            self._recent[upload.id] = upload
            if len(self._recent) > RECENT:
                del self._recent[next(iter(self._recent))]
        return upload

    async def _begin(self, upload: Upload, command: Create, body: Body) -> Upload:
        whole = command.length == 0 and command.concat is None
        if whole and not (command.append and (command.body_length != 0 or _expected(command))):
            return await self._create_empty(upload)
        await self._ledger.create(upload)
        self._tally.created += 1
        if not command.append:
            return self._remember(upload)
        async with self._claims.hold(upload.id, body.stop):
            try:
                return await self._receive(upload, body, command)
            except DigestMismatch:
                raise
            except (Refused, NoSpace):
                await self._terminate(upload)  # nobody was told its address, and the room is needed
                raise

    async def _create_empty(self, upload: Upload) -> Upload:
        """Make an upload that is whole from the start: no append will come to make its file or to say so."""
        sha256 = hashlib.sha256().hexdigest()
        decide.confirm(upload, sha256)
        whole = replace(upload, status=Status.RECEIVED, sha256=sha256)
        await self._offload.run(self._spool.keep, upload.id)
        async with self._claims.hold(upload.id, _ignore):  # the queue looks for just such rows
            await self._ledger.create(whole)
            self._tally.created += 1
            return await self._publisher.begin(whole)

    async def _admit(self) -> None:
        """Refuse when the volume is down to its reserve; a look at it is good for a second."""
        if (now := time.monotonic()) >= self._look_again_at:
            await self._offload.run(self._spool.admit)
            self._look_again_at = now + 1.0

    async def _receive(self, upload: Upload, body: Body, command: Create | Append, *, news: bool = False) -> Upload:
        """Receive the body of a command; with `news` the length of the upload is not in its row yet."""
        # What may take long is told when it begins, so that a machine that dies in the middle is seen in its log; that
        # a long upload goes on in many short bodies is not.
        begins = upload.offset == 0 and (upload.length is None or upload.length > TOLD)
        level = logging.INFO if begins or (command.body_length or 0) > TOLD else logging.DEBUG
        length = "unknown" if upload.length is None else upload.length
        log.log(level, "upload %s: append from %d of %s", upload.id, upload.offset, length)
        checksum = command.checksum
        sink = Sink(self._spool, self._provider, upload, checksum.algorithm if checksum else None)
        terms = Terms(decide.end(upload, self.limits), news=news, expected=_expected(command))
        self._tally.appending += 1
        try:
            row = await self._intake.receive(upload, body, sink, terms)
        except BytesLost as error:
            await self._endings.lost(upload, error)
            raise Gone(decide.GONE[Reason.LOST]) from error
        except DigestMismatch:
            await self._endings.invalid(upload)
            raise
        except NoSpace:
            self._look_again_at = 0.0
            raise
        finally:
            self._tally.appending -= 1
            self._tally.bytes += sink.synced - upload.offset
            if sink.opened:
                await joined(self._offload.run(sink.close))  # before the claim is released
        return self._remember(row)

    async def _terminate(self, upload: Upload) -> None:
        self._recent.pop(upload.id, None)
        await self._endings.terminated(upload)

    def _draw(self) -> str:
        """Return an id. Many are drawn at once: each draw is a system call during which others may take the thread."""
        if not self._ids:
            digits = secrets.token_hex(16 * IDS)
            self._ids = [digits[at : at + 32] for at in range(0, len(digits), 32)]
        return self._ids.pop()

    def _new(self, command: Create) -> Upload:
        now = self._clock()
        return Upload(
            id=self._draw(),
            length=command.length,
            media=command.media,
            metadata=command.metadata,
            declared=command.declared,
            kind=Kind.WHOLE if command.concat is None else Kind.PARTIAL,
            concat=command.concat,
            created_at=now,
            updated_at=now,
        )


def _expected(command: Create | Append) -> Expected | None:
    """Return how the checksum of the body is to be had once its end has been seen; None where it has none."""
    checksum = command.checksum
    if command.expected is not None or checksum is None:
        return command.expected
    return lambda: checksum


def _length(file: BinaryIO) -> int:
    """Return the length of an object in bytes, and go back to its start."""
    length = file.seek(0, os.SEEK_END)
    file.seek(0)
    return length


def _ignore(_: Stopped) -> None:
    """Stop nothing: a query or a termination is short."""

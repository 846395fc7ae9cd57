"""Long contents, in parts.

Owns the order of a multipart transfer: the intent is written down, then it is begun, then its id is written down, then
each part when it has landed. Must not know single requests or readers. Invariants: what the store may hold of a content
that is not published is in the journal; a transfer is gone on with only for the content, and from the upload, that it
was begun for, since it may have begun before anybody knew that the bytes are what the client says.
"""

import logging
import os
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager

from msgspec import Struct
from msgspec.structs import replace

from tusplyr.core.errors import BytesLost, StoreDown, Superseded, Suspended
from tusplyr.core.model import Content
from tusplyr.ports import Halted, Journal, Multipart, Staged, never
from tusplyr.stores.s3_carry import TICK, start
from tusplyr.stores.s3_client import S3Client
from tusplyr.stores.s3_errors import Denied, Spoiled, Taken, Vanished
from tusplyr.stores.s3_options import S3Options
from tusplyr.stores.s3_parts import MOST, Window, composite, heed, part_count, part_size

log = logging.getLogger(__name__)


class Load(Struct, frozen=True):
    """What is to be sent: so many bytes from the start of a source, as far as they are whole parts or all of it.

    Attributes:
        enough: begin no more parts.
        halted: end those that are under way as well.
    """

    content: Content
    source: Staged
    upto: int
    halted: Halted
    enough: Halted = never

    def check(self) -> None:
        """Raise `BytesLost` where they are not there."""
        with self.source.open() as file:
            if file.seek(0, os.SEEK_END) < self.upto:
                raise BytesLost(f"the staged bytes of {self.content.key} are fewer than {self.upto}")


class Transfers:
    """Sends contents in parts, to each bucket so many at once. Threads may share it, each with its own key."""

    def __init__(self, client: S3Client, journal: Journal, options: S3Options) -> None:
        self._client = client
        self._journal = journal
        self._preferred = options.part_size
        self._slots = {bucket: threading.BoundedSemaphore(options.concurrency) for bucket in options.buckets.values()}
        self._urgent: set[object] = set()

    @contextmanager
    def urgent(self) -> Iterator[None]:
        """Let nothing be shipped that is still being received, for the length of a block: what is whole goes first."""
        token = object()
        self._urgent.add(token)
        try:
            yield
        finally:
            self._urgent.discard(token)

    def send(self, content: Content, source: Staged, halted: Halted) -> None:
        """Make an object of a source, or go on with it.

        Raises:
            Taken: something is under the key; nothing of the transfer is left.
            Suspended: the journal has what landed, as after any other error.
        """
        load = Load(content, source, content.length, halted)
        load.check()
        for _ in range(2):
            try:
                with _superseded(content.key):
                    return self._send(load)
            except Vanished:  # completed, the answer lost; or aborted after days, by the bucket's own rules
                self._journal.forget(content.key)
                if self._client.head(content.key):
                    raise Taken(content.key) from None
        raise StoreDown(f"{self._client.name(content.key)}: transfers vanish there as soon as they have begun")

    def ship(self, load: Load) -> None:
        """Send what is whole of the beginning of a content, while nothing is `urgent`; see `send`.

        The transfer of another upload is left alone.
        """

        def enough() -> bool:
            return bool(self._urgent) or load.enough()

        if enough():
            raise Suspended("something else goes first")
        load.check()
        found = self._journal.find(load.content.key)
        if found and found.source != load.source.id:
            return
        try:
            with _superseded(load.content.key):
                self._land(replace(load, enough=enough), self._resumed(load) or self._begun(load))
        except Vanished:
            self._journal.forget(load.content.key)
            raise StoreDown(f"{self._client.name(load.content.key)}: the transfer has vanished there") from None

    def drop(self, transfer: Multipart) -> None:
        """Abort a transfer and strike it out of the journal.

        Of one that has no id only this is known: whatever has begun under its key is ours, and of no use.
        """
        ids = self._client.multiparts(transfer.key) if transfer.id is None else [transfer.id]
        for multipart_id in ids:
            self._client.abort(transfer.key, multipart_id)
        self._journal.forget(transfer.key)

    def _send(self, load: Load) -> None:
        heed(load.halted)
        transfer = self._resumed(load) or self._begun(load)
        parts = self._land(load, transfer)
        heed(load.halted)
        self._complete(load.content, transfer, parts)
        self._journal.forget(load.content.key)

    def _resumed(self, load: Load) -> Multipart | None:
        content = load.content
        found = self._journal.find(content.key)
        if found is None:
            return None
        same = (found.sha256, found.source) == (content.sha256, load.source.id)
        if found.id and same and part_count(content.length, found.part_size) <= MOST:
            return found
        self._let_go(found)
        return None

    def _let_go(self, transfer: Multipart) -> None:
        """Give a transfer up; cleaning must not keep what is to be published from being published."""
        try:
            self.drop(transfer)
        except Denied as error:
            log.warning("what was begun before is left to the rules of the bucket: %s", error)
            self._journal.forget(transfer.key)

    def _begun(self, load: Load) -> Multipart:
        content, source = load.content, load.source.id
        size = part_size(content.length, self._preferred)
        self._journal.intend(content.key, content.sha256, source, size)
        created, alone = self._client.create(content)
        self._journal.begin(content.key, created)
        if not alone:
            self._keep_only(content.key, created)
        return Multipart(key=content.key, sha256=content.sha256, source=source, part_size=size, id=created)

    def _keep_only(self, key: str, multipart_id: str) -> None:
        """Abort what else has begun under a key, its answer lost. Where that fails it is left alone."""
        try:
            for other in self._client.multiparts(key):
                if other != multipart_id:
                    self._client.abort(key, other)
        except StoreDown as error:
            log.warning("what was begun twice is left to the rules of the bucket: %s", error)

    def _land(self, load: Load, transfer: Multipart) -> dict[int, str]:
        """Send what is missing; return the ETags of all parts by their numbers."""
        parts = dict(transfer.parts)
        for number, etag in self._landing(load, transfer):
            self._journal.land(load.content.key, number, etag)
            parts[number] = etag
        return parts

    def _landing(self, load: Load, transfer: Multipart) -> Iterator[tuple[int, str]]:
        """Yield number and ETag of each missing part as it lands. After an error the others under way land too."""
        whole = load.upto == load.content.length
        count = part_count(load.upto, transfer.part_size) if whole else load.upto // transfer.part_size
        left = {number for number in range(1, count + 1) if number not in transfer.parts}
        missing = sorted(left)
        flying: dict[Future[str], int] = {}
        failed: BaseException | None = None
        slots = self._slots[self._client.bucket(load.content.key)]
        while missing or flying:
            if failed or load.halted() or load.enough():
                missing.clear()
            while missing and slots.acquire(timeout=0 if flying else TICK):
                number = missing.pop(0)
                flying[self._start(load, transfer, number, slots)] = number
            for future in wait(flying, timeout=TICK, return_when=FIRST_COMPLETED).done:
                number = flying.pop(future)
                if error := future.exception():
                    failed = failed or error
                    continue
                left.discard(number)
                # Written down before another is begun: after a crash no more than those in flight are sent again.
                yield number, future.result()
        if failed or left:
            raise failed or Suspended("publishing was asked to stop")

    def _start(self, load: Load, transfer: Multipart, number: int, slots: threading.Semaphore) -> Future[str]:
        """Send a part in a thread of its own, which has a slot."""
        future = start(f"part-{number}", lambda: self._part(load, transfer, number))
        future.add_done_callback(lambda _: slots.release())
        return future

    def _part(self, load: Load, transfer: Multipart, number: int) -> str:
        start = (number - 1) * transfer.part_size
        with load.source.open() as file:
            window = Window(file, start, min(transfer.part_size, load.content.length - start), load.halted)
            md5 = window.digests().md5
            return self._client.upload_part(load.content.key, str(transfer.id), number, window, md5)

    def _complete(self, content: Content, transfer: Multipart, parts: dict[int, str]) -> None:
        """Complete, and believe it only where the store names the ETag of these parts, or shows the object."""
        try:
            etag = self._client.complete(content.key, str(transfer.id), parts)
        except (Taken, Spoiled):
            self._let_go(transfer)
            raise
        if etag.strip('"') != composite(parts):
            look_at(self._client, content)


def look_at(client: S3Client, content: Content) -> None:
    """Raise `StoreDown` unless the store shows the object that was sent to it."""
    there = client.head(content.key)
    if there is None or (there.length, there.sha256) != (content.length, content.sha256):
        raise StoreDown(f"{client.name(content.key)}: what the store has is not what was sent to it: {there}")


@contextmanager
def _superseded(key: str) -> Iterator[None]:
    try:
        yield
    except Superseded as error:
        raise StoreDown(f"{key}: another process has given this transfer up; it is begun again") from error


class Keys:
    """One holder for each key at a time."""

    def __init__(self) -> None:
        self._held: set[str] = set()
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, key: str, halted: Halted) -> Iterator[bool]:
        """Hold a key for the length of a block, which is told whether somebody else had it just now.

        `Suspended` where it would have to be waited for and is not to be.
        """
        waited = False
        with self._changed:
            while key in self._held:
                waited = True
                heed(halted)
                self._changed.wait(TICK)
            self._held.add(key)
        try:
            yield waited
        finally:
            with self._changed:
                self._held.discard(key)
                self._changed.notify_all()

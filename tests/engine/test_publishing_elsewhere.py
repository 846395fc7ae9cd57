"""From `received` to `stored` where publishing takes long: the reply, the slots, interruptions, and what is stuck."""

import asyncio
import hashlib
import logging
import threading
import time

import pytest

from engine.rig import ScriptedBody, until
from tusplyr.core.commands import Create
from tusplyr.core.errors import Conflict, Gone, LedgerDown, NotFound, NotReady, ShuttingDown, StoreDown, Suspended
from tusplyr.core.media import media_of
from tusplyr.core.model import STUCK_AFTER, Content, Reason, Status
from tusplyr.engine import setbacks
from tusplyr.engine.setbacks import LAST_DELAY, LONGEST_DELAY
from tusplyr.engine.worker import BATCH, GLANCE
from tusplyr.ledger.memory import MemoryLedger
from tusplyr.stores.memory import MemoryStore

DATA = b"0123456789"
SHA256 = hashlib.sha256(DATA).hexdigest()
PNG = media_of("cover.png")
FAR = "https://bucket.example/"


class FarStore(MemoryStore):
    """A store elsewhere: a transfer goes on until the gate opens or it is told to stop; then it does what it is told.

    `errors` are raised, one by each transfer; `sent` has the key of every one that was whole.
    """

    prompt = False

    def __init__(self, *errors, closed: bool = False) -> None:
        super().__init__()
        self.errors = list(errors)
        self.begun: list[str] = []
        self.sent: list[str] = []
        self.halts = 0
        self.swept: list[float] = []
        self.gate = threading.Event()
        if not closed:
            self.gate.set()

    def publish(self, content, source, *, compare=True, halted):
        assert compare
        self.begun.append(content.key)
        while not self.gate.wait(0.001):
            if halted():
                self.halts += 1
                raise Suspended
        if self.errors:
            raise self.errors.pop(0)
        done = super().publish(content, source)
        self.sent.append(content.key)
        return done

    def address(self, key):
        return FAR + key

    def sweep(self, older_than):
        self.swept.append(older_than)
        return 0


class Clock:
    """Unix seconds that a test moves."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


class Working:
    """The worker of a rig, while the block lasts."""

    def __init__(self, rig) -> None:
        self.rig = rig

    async def __aenter__(self):
        self.loop = asyncio.create_task(self.rig.worker.run())

    async def __aexit__(self, *_):
        self.loop.cancel()
        await asyncio.wait([self.loop])


def row_of(rig, upload):
    return rig.ledger._rows[upload.id]


def is_stored(rig, *uploads):
    return lambda: all(row_of(rig, upload).status is Status.STORED for upload in uploads)


def test_the_last_reply_comes_at_received_and_the_worker_is_woken_at_once(make, run):
    async def main():
        rig = make(store=FarStore(closed=True))
        async with Working(rig):
            await asyncio.sleep(0.01)  # it has looked, and there was nothing
            upload = await rig.create(10)
            upload = await rig.append(upload.id, 0, ScriptedBody(DATA))
            assert (upload.status, upload.offset, upload.sha256) == (Status.RECEIVED, 10, SHA256)
            assert (upload.attempts, upload.error) == (0, None)
            assert upload.due_at <= time.time()
            await until(lambda: rig.store.begun)
            assert rig.staged(upload.id) == DATA
            with pytest.raises(NotReady):
                await rig.engine.content(upload.id)
            rig.store.gate.set()
            await until(is_stored(rig, upload))
            assert rig.stored(upload.key) == DATA
            await rig.emptied()

    run(main())


def test_a_creation_with_all_bytes_and_one_of_none_are_received_too(make, run):
    async def main():
        rig = make(store=FarStore())
        whole, empty = await rig.create(10, DATA), await rig.create(0)
        assert {whole.status, empty.status} == {Status.RECEIVED}
        assert rig.store.begun == []  # not in the request
        async with Working(rig):
            await until(is_stored(rig, whole, empty))
        assert rig.stored(empty.key) == b""

    run(main())


def test_the_name_of_the_spool_file_is_durable_before_the_row_says_received(make, run):
    async def main():
        rig = make(store=FarStore())
        upload = await rig.create(10, DATA)
        rig.spool.crash(keep=0)  # the power is lost
        assert rig.staged(upload.id) == DATA

    run(main())


def test_head_tells_of_the_ledger_alone_and_does_not_disturb_a_transfer(make, run):
    async def main():
        rig = make(store=FarStore(closed=True))
        async with Working(rig):
            upload = await rig.create(10, DATA)
            await until(lambda: rig.store.begun)
            assert (await rig.engine.query(upload.id, interrupts=True)).upload == upload
            assert rig.store.halts == 0
            rig.store.gate.set()
            await until(is_stored(rig, upload))
            assert (await rig.engine.query(upload.id, interrupts=True)).upload.status is Status.STORED

    run(main())


@pytest.mark.parametrize("how", ["append", "creation", "empty"])
def test_the_last_reply_waits_for_stored_where_it_is_asked_to(make, run, how):
    async def main():
        rig = make(store=FarStore(closed=True), wait=3600.0)
        async with Working(rig):
            if how == "append":
                upload = await rig.create(10)
                reply = asyncio.create_task(rig.append(upload.id, 0, ScriptedBody(DATA)))
            else:
                reply = asyncio.create_task(rig.create(0) if how == "empty" else rig.create(10, DATA))
            await until(lambda: rig.store.begun)
            await asyncio.sleep(0.01)
            assert not reply.done()
            rig.store.gate.set()
            upload = await reply
            assert upload == await rig.row(upload.id)
            assert upload.status is Status.STORED

    run(main())


@pytest.mark.parametrize("length", [0, 10])
def test_the_last_reply_waits_once(make, run, length):
    async def main():
        rig = make(store=FarStore(closed=True), wait=0.2)
        async with Working(rig):
            began = time.monotonic()
            upload = await rig.create(length, *([DATA] if length else []))
            assert 0.2 <= time.monotonic() - began < 0.35
            rig.store.gate.set()
            await until(is_stored(rig, upload))

    run(main())


def test_a_reply_that_waits_is_told_of_delete(make, run):
    async def main():
        rig = make(store=FarStore(closed=True), wait=3600.0)
        async with Working(rig):
            upload = await rig.create(10)
            reply = asyncio.create_task(rig.append(upload.id, 0, ScriptedBody(DATA)))
            await until(lambda: rig.store.begun)
            await rig.engine.terminate(upload.id)
            with pytest.raises(NotFound):
                await reply
        assert rig.handover._followed == {}

    run(main())


def test_a_reply_that_waits_is_told_that_the_bytes_are_lost(make, run):
    async def main():
        rig = make(store=FarStore(closed=True), wait=3600.0)
        upload = await rig.create(10)
        reply = asyncio.create_task(rig.append(upload.id, 0, ScriptedBody(DATA)))
        await until(lambda: rig.handover._followed)
        rig.spool.discard(upload.id)
        rig.store.gate.set()
        async with Working(rig):
            with pytest.raises(Gone):
                await reply
        assert rig.tally.lost == 1

    run(main())


def test_a_request_that_is_cancelled_is_followed_no_more(make, run):
    async def main():
        rig = make(store=FarStore(closed=True), wait=3600.0)
        upload = await rig.create(10)
        reply = asyncio.create_task(rig.append(upload.id, 0, ScriptedBody(DATA)))
        await until(lambda: rig.handover._followed)
        reply.cancel()
        await asyncio.wait([reply])
        assert rig.handover._followed == {}

    run(main())


def test_the_last_reply_waits_no_longer_than_it_may(make, run):
    async def main():
        rig = make(store=FarStore(closed=True), wait=0.01)
        async with Working(rig):
            upload = await rig.create(10, DATA)
            assert upload.status is Status.RECEIVED
            assert rig.publisher.handover._followed == {}
            rig.store.gate.set()
            await until(is_stored(rig, upload))

    run(main())


def test_a_reply_that_waits_is_given_when_the_server_stops(make, run):
    async def main():
        rig = make(store=FarStore(closed=True), wait=3600.0)
        async with Working(rig):
            reply = asyncio.create_task(rig.create(10, DATA))
            await until(lambda: rig.store.begun)
            rig.engine.stop(ShuttingDown())
            assert (await reply).status is Status.RECEIVED
        assert rig.publisher.handover._followed == {}

    run(main())


def test_no_more_are_published_at_once_than_there_are_slots(make, run):
    async def main():
        rig = make(store=FarStore(closed=True), slots=2)
        async with Working(rig):
            uploads = [await rig.create(10, bytes([each]) * 10) for each in range(7)]
            await until(lambda: len(rig.store.begun) == 2)
            await asyncio.sleep(0.02)
            assert len(rig.store.begun) == 2
            rig.store.gate.set()
            await until(is_stored(rig, *uploads))
        assert sorted(rig.store.sent) == sorted(upload.key for upload in uploads)

    run(main())


def test_each_folder_has_slots_of_its_own(make, run):
    async def main():
        rig = make(store=FarStore(closed=True), slots=1)
        async with Working(rig):
            sounds = [await rig.create(10, bytes([each]) * 10) for each in range(3)]
            await until(lambda: rig.store.begun)
            image = await rig.engine.create(
                Create(length=5, media=media_of("a.png"), append=True), ScriptedBody(b"image")
            )
            await until(lambda: len(rig.store.begun) == 2)
            assert rig.store.begun[1] == image.upload.key
            await asyncio.sleep(0.02)
            assert len(rig.store.begun) == 2
            rig.store.gate.set()
            await until(is_stored(rig, image.upload, *sounds))

    run(main())


def test_delete_of_a_received_upload_interrupts_its_transfer(make, run):
    async def main():
        rig = make(store=FarStore(closed=True), slots=1)
        async with Working(rig):
            upload = await rig.create(10, DATA)
            await until(lambda: rig.store.begun)
            other = await rig.create(5, b"other")
            await rig.engine.terminate(upload.id)
            assert (row_of(rig, upload).reason, rig.store.halts) == (Reason.TERMINATED, 1)
            with pytest.raises(NotFound):
                await rig.engine.query(upload.id, interrupts=True)
            rig.store.gate.set()
            await until(is_stored(rig, other))  # its slot is free for the next
        assert rig.store.sent == [other.key]
        assert upload.id not in dict(rig.spool.files())

    run(main())


def test_stopping_the_server_interrupts_a_transfer_which_counts_no_attempt_and_is_gone_on_with(make, run, caplog):
    async def main():
        first = make(store=FarStore(closed=True))
        async with Working(first):
            upload = await first.create(10, DATA)
            await until(lambda: first.store.begun)
            first.engine.stop(ShuttingDown())
            await until(lambda: first.store.halts)
        assert row_of(first, upload) == upload  # due still, no attempt more, no error
        first.store.gate.set()
        second = make(ledger=first.ledger, spool=first.spool, store=first.store)
        async with Working(second):
            await until(is_stored(second, upload))

    run(main())
    assert {record.levelno for record in caplog.records} <= {logging.DEBUG, logging.INFO}


def test_nothing_is_begun_that_would_have_to_stop_at_once(make, run):
    async def main():
        rig = make(store=FarStore())
        rig.engine.stop(ShuttingDown())
        upload = await rig.create(10, DATA)
        async with Working(rig):
            await asyncio.sleep(0.02)
        assert rig.store.begun == []
        assert row_of(rig, upload) == upload

    run(main())


def test_two_uploads_of_the_same_content_at_once_are_one_transfer(make, run):
    async def main():
        rig = make(store=FarStore(closed=True), slots=4)
        async with Working(rig):
            uploads = [await rig.create(10, DATA) for _ in range(3)]
            other = await rig.create(5, b"other")
            await until(lambda: len(rig.store.begun) == 2)
            rig.store.gate.set()
            await until(is_stored(rig, *uploads, other))
        assert sorted(rig.store.sent) == sorted({uploads[0].key, other.key})

    run(main())


def test_what_waits_for_the_same_content_is_not_read_at_each_look(make, run):
    async def main():
        class Counting(MemoryLedger):
            rows = 0

            async def due(self, *arguments, **options):
                found = await super().due(*arguments, **options)
                self.rows += len(found)
                return found

        rig = make(store=FarStore(closed=True), ledger=Counting(), slots=2)
        for _ in range(100 * BATCH):
            await rig.create(10, DATA)
        async with Working(rig):
            await until(lambda: rig.store.begun)
            assert rig.ledger.rows <= BATCH
            rig.handover.announce()
            await asyncio.sleep(0.01)
            assert rig.ledger.rows <= BATCH
            rig.engine.stop(ShuttingDown())

    run(main())


def test_many_uploads_of_one_content_keep_no_other_from_being_published(make, run):
    async def main():
        rig = make(store=FarStore(closed=True), slots=2)
        same = [await rig.create(10, DATA) for _ in range(3 * BATCH)]
        other = await rig.create(5, b"other")
        async with Working(rig):
            await until(lambda: len(rig.store.begun) == 2)
            assert set(rig.store.begun) == {same[0].key, other.key}
            rig.store.gate.set()
            await until(is_stored(rig, *same, other))

    run(main())


def test_content_that_is_known_and_there_is_not_sent_again(make, run):
    async def main():
        rig = make(store=FarStore())
        async with Working(rig):
            first = await rig.create(10, DATA)
            await until(is_stored(rig, first))
            second = await rig.create(10, DATA)
            await until(is_stored(rig, second))
            assert rig.store.sent == [first.key]
            del rig.store._objects[first.key]  # somebody removed it: what is known has to be there
            third = await rig.create(10, DATA)
            await until(is_stored(rig, third))
        assert rig.store.sent == [first.key, first.key]

    run(main())


def test_known_content_is_not_believed_where_the_store_knows_better(make, run):
    async def main():
        class Knows(FarStore):
            def has(self, content):
                return super().has(content) and hashlib.sha256(self._objects[content.key]).hexdigest() == content.sha256

        rig = make(store=Knows())
        async with Working(rig):
            first = await rig.create(10, DATA)
            await until(is_stored(rig, first))
            rig.store._objects[first.key] = bytes(10)  # as long, and not the same
            second = await rig.create(10, DATA)
            await until(lambda: row_of(rig, second).attempts)
            assert "conflict: " in row_of(rig, second).error
            assert rig.staged(second.id) == DATA

    run(main())


def test_other_content_under_the_key_is_refused_loudly_and_left_alone(make, run, caplog):
    async def main():
        rig = make(store=FarStore(Conflict("other content is stored under the key")))
        async with Working(rig):
            upload = await rig.create(10, DATA)
            await until(lambda: row_of(rig, upload).attempts)
        assert row_of(rig, upload).status is Status.RECEIVED
        assert list(rig.store.keys()) == []

    run(main())
    assert [record.levelno for record in caplog.records if "is not published" in record.getMessage()] == [logging.ERROR]


@pytest.mark.parametrize(
    ("asked", "least", "most"),
    [(None, 0, 1), (0.0, 0, 1), (120.0, 120, 120), (1e9, LONGEST_DELAY, LONGEST_DELAY)],
)
def test_a_store_that_says_when_to_come_back_is_left_alone_until_then(make, run, asked, least, most):
    async def main():
        clock = Clock()
        rig = make(store=FarStore(StoreDown("slow down", retry_after=asked)), ledger=MemoryLedger(clock), clock=clock)
        async with Working(rig):
            upload = await rig.create(10, DATA)
            await until(lambda: row_of(rig, upload).attempts)
            assert least <= row_of(rig, upload).due_at - clock.now <= most

    run(main())


def test_a_store_that_wants_to_be_left_alone_is_asked_for_nothing_by_other_uploads(make, run):
    async def main():
        clock = Clock()
        store = FarStore(StoreDown("slow down", retry_after=60))
        rig = make(store=store, ledger=MemoryLedger(clock), clock=clock, slots=1)
        async with Working(rig):
            uploads = [await rig.create(10, bytes([each]) * 10) for each in range(40)]
            await until(lambda: any(row_of(rig, upload).attempts for upload in uploads))
            picture = (await rig.engine.create(Create(length=2, media=PNG, append=True), ScriptedBody(b"ab"))).upload
            await until(is_stored(rig, picture))  # it goes elsewhere
            await rig.engine.terminate(uploads.pop().id)
            assert len(store.begun) == 2
            clock.now += 59
            rig.handover.announce()
            await asyncio.sleep(0.02)
            assert len(store.begun) == 2
            clock.now += 1.1
            rig.handover.announce()
            await until(is_stored(rig, *uploads))

    run(main())


def test_all_are_published_soon_after_one_that_failed_was(make, run, monkeypatch):
    """Those that wait for the same store; whoever has another reason waits as long as it was told."""
    monkeypatch.setattr(setbacks, "FIRST_DELAY", LAST_DELAY)

    async def main():
        clock = Clock()
        errors = [*[StoreDown("away")] * 30, Conflict("other content")]
        rig = make(store=FarStore(*errors), ledger=MemoryLedger(clock), clock=clock)
        async with Working(rig):
            uploads = [await rig.create(10, bytes([each]) * 10) for each in range(30)]
            await until(lambda: all(row_of(rig, upload).attempts for upload in uploads))
            other = await rig.create(5, b"other")
            await until(lambda: row_of(rig, other).attempts)
            first = min(row_of(rig, upload).due_at for upload in uploads)
            clock.now = first + 0.001
            rig.handover.announce()
            await until(is_stored(rig, *uploads))
            assert clock.now == first + 0.001
            assert (row_of(rig, other).attempts, row_of(rig, other).status) == (1, Status.RECEIVED)

    run(main())


class Odd(FarStore):
    """Fails for some contents in a way that nobody expects."""

    def __init__(self, error, *lengths) -> None:
        super().__init__()
        self.error = error
        self.lengths = lengths

    def publish(self, content, source, **options):
        if content.length in self.lengths:
            self.begun.append(content.key)
            raise self.error
        return super().publish(content, source, **options)


@pytest.mark.parametrize("error", [KeyError("ETag"), RuntimeError("what nobody expected"), MemoryError()])
def test_what_nobody_expected_is_counted_and_told_and_keeps_nobody_waiting(make, run, caplog, error):
    async def main():
        clock = Clock()
        rig = make(store=Odd(error, 1, 2), ledger=MemoryLedger(clock), clock=clock, slots=2)
        broken = [await rig.create(1, b"1"), await rig.create(2, b"22")]
        healthy = [await rig.create(each, bytes(each)) for each in range(3, 6)]
        async with Working(rig):
            await until(is_stored(rig, *healthy))
            for attempts in range(1, STUCK_AFTER + 1):
                await until(lambda attempts=attempts: [row_of(rig, each).attempts for each in broken] == [attempts] * 2)
                clock.now += LAST_DELAY
                rig.handover.announce()
        assert all(row_of(rig, upload).stuck for upload in broken)
        assert row_of(rig, broken[0]).error == f"{type(error).__name__}: {error}"

    run(main())
    told = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(told) >= 2 * STUCK_AFTER
    assert all("is not published (attempt " in record.getMessage() and record.exc_info for record in told)


class Mute(MemoryLedger):
    """Nothing can be written about some contents."""

    lengths = ()

    async def move(self, upload, status, **options):
        if upload.length in self.lengths:
            raise LedgerDown("no")
        return await super().move(upload, status, **options)

    async def postpone(self, upload, due_at, error, **options):
        if upload.length in self.lengths:
            raise LedgerDown("no")
        return await super().postpone(upload, due_at, error, **options)


def test_what_cannot_even_be_counted_is_tried_again_later_and_keeps_nobody_waiting(make, run, caplog):
    async def main():
        clock = Clock()
        rig = make(store=FarStore(), ledger=Mute(clock), clock=clock, slots=2)
        rig.ledger.lengths = (1, 2)
        broken = [await rig.create(1, b"1"), await rig.create(2, b"22")]
        healthy = [await rig.create(each, bytes(each)) for each in range(3, 6)]
        async with Working(rig):
            await until(is_stored(rig, *healthy))
            for _ in range(5):
                rig.handover.announce()
                await asyncio.sleep(0.01)
            assert len(rig.store.begun) == len(broken) + len(healthy)
            rig.ledger.lengths = ()
            clock.now += GLANCE + 0.1
            rig.handover.announce()
            await until(is_stored(rig, *broken))

    run(main())
    assert caplog.text.count("could not be published; it stays in the queue") == 2


def test_a_ledger_that_is_away_is_asked_again_after_a_while(make, run, caplog):
    async def main():
        class Away(MemoryLedger):
            asked = 0

            async def due(self, *arguments, **options):
                self.asked += 1
                raise LedgerDown("no")

        rig = make(store=FarStore(), ledger=Away())
        async with Working(rig):
            await asyncio.sleep(0.05)
        assert rig.ledger.asked == 1

    run(main())


def test_what_is_stuck_is_counted_and_told_with_its_id_and_goes_on_being_tried(make, run, caplog):
    async def main():
        clock = Clock()
        rig = make(
            store=FarStore(*[StoreDown("the bucket is away")] * STUCK_AFTER), ledger=MemoryLedger(clock), clock=clock
        )
        async with Working(rig):
            upload = await rig.create(10, DATA)
            for attempts in range(1, STUCK_AFTER + 1):
                await until(lambda attempts=attempts: row_of(rig, upload).attempts == attempts)
                assert row_of(rig, upload).stuck is (attempts >= STUCK_AFTER)
                assert (await rig.ledger.backlog()).stuck == (attempts >= STUCK_AFTER)
                clock.now += LAST_DELAY
                rig.publisher.handover.announce()
            await until(is_stored(rig, upload))
        assert (await rig.ledger.backlog()).waiting == 0

    run(main())
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert "the bucket is away" in errors[0]


def test_an_upload_that_is_made_due_is_published_at_once(make, run, monkeypatch):
    async def main():
        monkeypatch.setattr(setbacks, "FIRST_DELAY", LAST_DELAY)
        rig = make(store=FarStore(StoreDown("away")))
        async with Working(rig):
            upload = await rig.create(10, DATA)
            await until(lambda: row_of(rig, upload).attempts)
            await rig.ledger.hasten(row_of(rig, upload), time.time())
            rig.publisher.handover.announce()  # else at the next look
            await until(is_stored(rig, upload))

    run(main())


def test_readers_are_sent_to_the_store_where_that_is_asked_for(make, run):
    async def main():
        for redirect in (False, True):
            rig = make(store=FarStore(), redirect=redirect)
            async with Working(rig):
                upload = await rig.create(10, DATA)
                with pytest.raises(NotReady):
                    await rig.engine.content(upload.id)
                await until(is_stored(rig, upload))
            found, file = await rig.engine.content(upload.id)
            assert found.id == upload.id
            if redirect:
                assert file == FAR + upload.key
            else:
                assert file.read() == DATA

    run(main())


@pytest.mark.parametrize("redirect", [False, True])
def test_what_a_reader_has_is_not_asked_for(make, run, redirect):
    async def main():
        class Closed(FarStore):
            def open(self, key):
                raise StoreDown("nobody should ask")

            def address(self, key):
                raise StoreDown("nobody should ask")

        rig = make(store=Closed(), redirect=redirect)
        async with Working(rig):
            upload = await rig.create(10, DATA)
            with pytest.raises(NotReady):
                await rig.engine.content(upload.id, lambda _: False)
            await until(is_stored(rig, upload))
        row = await rig.row(upload.id)
        assert await rig.engine.content(upload.id, lambda found: found != row) == (row, None)
        with pytest.raises(StoreDown):  # and not that it is gone
            await rig.engine.content(upload.id)

    run(main())


def test_a_store_without_addresses_is_read_from_here(make, run):
    async def main():
        rig = make(redirect=True)
        upload = await rig.create(10, DATA)
        _, file = await rig.engine.content(upload.id)
        assert file.read() == DATA

    run(main())


def test_a_sweep_leaves_what_has_just_begun(make, run):
    """What an upload can go on with the store leaves by itself, however old it is."""

    async def main():
        clock = Clock()
        rig = make(store=FarStore(), ledger=MemoryLedger(clock), clock=clock)
        await rig.sweeper.sweep(grace=10.0)
        assert rig.store.swept == [clock.now - 10]

    run(main())


def test_a_sweep_does_not_need_a_store_elsewhere(make, run):
    async def main():
        class Away(FarStore):
            def sweep(self, older_than):
                raise StoreDown("away")

        rig = make(store=Away())
        assert (await rig.sweeper.sweep(grace=0.0)).unfinished == 0

    run(main())


def test_cleaning_up_never_removes_an_object(make, run):
    async def main():
        rig = make(store=FarStore())
        async with Working(rig):
            published = await rig.create(10, DATA)
            await until(is_stored(rig, published))
            rig.store.gate.clear()
            again = await rig.create(10, DATA)
            await rig.engine.terminate(again.id)
            await rig.engine.terminate(published.id)
            await rig.sweeper.sweep(grace=0.0)
        assert rig.stored(published.key) == DATA
        assert await rig.ledger.content(published.key) == Content(published.key, SHA256, 10)

    run(main())

"""From `received` to `stored`: failures, the queue, equal and other content; and what sweeping leaves alone."""

import asyncio
import hashlib
import logging
import threading
import time

import pytest
from msgspec.structs import replace

from engine.rig import ScriptedBody, until
from tusplyr.core.errors import Gone, LedgerDown, NoSpace, NotReady, SpoolDown, StoreDown
from tusplyr.core.model import Content, Reason, Status
from tusplyr.engine.setbacks import LAST_DELAY, STUCK_AFTER
from tusplyr.engine.sweep import GRACE
from tusplyr.ledger.memory import MemoryLedger
from tusplyr.spool.memory import MemorySpool
from tusplyr.stores.memory import MemoryStore

DATA = b"0123456789"
SHA256 = hashlib.sha256(DATA).hexdigest()
KEY = f"audio/{SHA256[:16]}.wav"


class Clock:
    """Unix seconds that a test moves."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


class FaultyStore(MemoryStore):
    """Raises what it is told for as many publications as it is told; counts those and whatever was read or made."""

    def __init__(self, error=None, times: int = 0) -> None:
        super().__init__()
        self.error = error
        self.times = times
        self.calls = 0

    def publish(self, content, source, **how):
        if self.times:
            self.calls += 1
            self.times -= 1
            raise self.error
        done = super().publish(content, source, **how)
        self.calls += done
        return done


@pytest.fixture
def clock():
    return Clock()


async def look(rig, condition) -> None:
    """Let the queue be worked through once."""
    loop = asyncio.create_task(rig.worker.run())
    try:
        await until(condition)
    finally:
        loop.cancel()
        await asyncio.wait([loop])


def row_of(rig, upload):
    return rig.ledger._rows[upload.id]


@pytest.mark.parametrize("error", [StoreDown("bucket away"), SpoolDown("disk away"), NoSpace()])
def test_an_upload_that_cannot_be_published_is_received_and_waits(make, run, clock, error):
    async def main():
        rig = make(store=FaultyStore(error, 1), clock=clock)
        upload = await rig.create(10, DATA)
        assert (upload.status, upload.offset, upload.sha256) == (Status.RECEIVED, 10, SHA256)
        assert (upload.attempts, upload.error) == (1, f"{error.code}: {error}")
        assert clock.now < upload.due_at <= clock.now + 1
        assert rig.staged(upload.id) == DATA
        with pytest.raises(NotReady):
            await rig.engine.content(upload.id)

    run(main())


def test_the_queue_retries_until_it_succeeds(make, run, clock):  # D-46
    async def main():
        rig = make(store=FaultyStore(StoreDown("away"), 3), clock=clock)
        upload = await rig.create(10, DATA)
        for attempts in (2, 3):
            clock.now += LAST_DELAY
            await look(rig, lambda attempts=attempts: row_of(rig, upload).attempts == attempts)
            assert row_of(rig, upload).status is Status.RECEIVED
        clock.now += LAST_DELAY
        await look(rig, lambda: row_of(rig, upload).status is Status.STORED)
        assert rig.stored(upload.key) == DATA
        await rig.emptied()

    run(main())


def test_the_queue_waits_until_the_next_attempt_is_due(make, run, clock):
    async def main():
        rig = make(store=FaultyStore(StoreDown("away"), 1), clock=clock)
        upload = await rig.create(10, DATA)
        clock.now = upload.due_at - 0.01
        loop = asyncio.create_task(rig.worker.run())
        await asyncio.sleep(0.02)
        loop.cancel()
        await asyncio.wait([loop])
        assert rig.store.calls == 1
        assert row_of(rig, upload) == upload

    run(main())


def test_what_a_crash_left_received_is_published_at_the_start(make, run):
    async def main():
        first = make(store=FaultyStore(StoreDown("away"), 1))
        upload = await first.create(10, DATA)
        first.ledger._rows[upload.id] = replace(upload, due_at=0.0)
        second = make(ledger=first.ledger, spool=first.spool)
        await look(second, lambda: row_of(second, upload).status is Status.STORED)
        assert second.stored(upload.key) == DATA

    run(main())


def test_an_empty_patch_of_a_received_upload_changes_nothing(make, run):
    async def main():
        rig = make(store=FaultyStore(StoreDown("away"), 1))
        upload = await rig.create(10, DATA)
        assert await rig.append(upload.id, 10, ScriptedBody()) == upload
        assert rig.store.calls == 1  # the queue is at it

    run(main())


def test_one_that_fails_does_not_hold_up_the_others(make, run, clock):
    async def main():
        class Picky(MemoryStore):
            def publish(self, content, source, **how):
                if content.sha256 == SHA256 or len(self._objects) + picky["down"]:
                    raise StoreDown("away")
                return super().publish(content, source, **how)

        picky = {"down": True}
        rig = make(store=Picky(), clock=clock)
        bad = await rig.create(10, DATA)
        good = await rig.create(10, DATA[::-1])
        picky["down"] = False
        clock.now += LAST_DELAY
        await look(rig, lambda: row_of(rig, good).status is Status.STORED)
        assert row_of(rig, bad).status is Status.RECEIVED

    run(main())


def test_it_is_told_once_what_was_stored_where_and_after_how_many_attempts(make, run, clock, caplog):
    async def main():
        rig = make(store=FaultyStore(StoreDown("away"), 2), clock=clock)
        upload = await rig.create(10, DATA)
        for condition in (lambda: row_of(rig, upload).attempts == 2, lambda: row_of(rig, upload).status == "stored"):
            clock.now += LAST_DELAY
            await look(rig, condition)
        same = await rig.create(10, DATA)
        empty = await rig.create(0)
        return upload, same, empty

    with caplog.at_level(logging.INFO):
        upload, same, empty = run(main())
    assert [record.getMessage() for record in caplog.records if "stored as" in record.getMessage()] == [
        f"upload {upload.id}: stored as {KEY}, 10 bytes after 2 attempts that failed",
        f"upload {same.id}: stored as {KEY}, 10 bytes",
        f"upload {empty.id}: stored as {empty.key}, 0 bytes",
    ]


def test_a_person_is_told_when_an_upload_is_stuck(make, run, clock, caplog):
    async def main():
        rig = make(store=FaultyStore(StoreDown("away"), STUCK_AFTER), clock=clock)
        upload = await rig.create(10, DATA)
        while row_of(rig, upload).attempts < STUCK_AFTER:
            clock.now += LAST_DELAY
            before = row_of(rig, upload).attempts
            await look(rig, lambda before=before: row_of(rig, upload).attempts > before)

    run(main())
    levels = [record.levelno for record in caplog.records if "is not published" in record.getMessage()]
    assert levels == [logging.WARNING] * (STUCK_AFTER - 1) + [logging.ERROR]


@pytest.mark.parametrize("known", [True, False], ids=["known to the ledger", "found in the store"])
@pytest.mark.parametrize("other", [b"9876543210", b"of another length"])
def test_other_content_under_the_key_is_refused_loudly_and_stays(make, run, caplog, known, other):
    async def main():
        rig = make()
        rig.store._objects[KEY] = other
        if known:
            rig.ledger._contents[KEY] = Content(KEY, hashlib.sha256(other).hexdigest(), len(other))
        upload = await rig.create(10, DATA)
        assert (upload.status, upload.attempts) == (Status.RECEIVED, 1)
        assert rig.stored(KEY) == other
        assert rig.staged(upload.id) == DATA

    run(main())
    assert [record.levelno for record in caplog.records if "is not published" in record.getMessage()] == [logging.ERROR]


def test_other_content_that_only_the_ledger_remembers_is_refused_too(make, run):
    async def main():
        rig = make()
        rig.ledger._contents[KEY] = Content(KEY, "f" * 64, 10)
        upload = await rig.create(10, DATA)
        assert (upload.status, upload.attempts) == (Status.RECEIVED, 1)
        assert await rig.ledger.content(KEY) == Content(KEY, "f" * 64, 10)

    run(main())


def test_equal_content_twice_is_one_object_and_two_stored_uploads(make, run):
    async def main():
        rig = make(store=FaultyStore())
        uploads = [await rig.create(10, DATA) for _ in range(3)]
        assert {upload.status for upload in uploads} == {Status.STORED}
        assert {upload.key for upload in uploads} == {KEY}
        assert list(rig.store.keys()) == [KEY]
        assert rig.store.calls == 1
        assert len({upload.id for upload in uploads}) == 3
        await rig.emptied()

    run(main())


def test_content_that_the_ledger_remembers_and_the_store_lost_is_published_again(make, run):
    async def main():
        rig = make()
        await rig.create(10, DATA)
        del rig.store._objects[KEY]
        upload = await rig.create(10, DATA)
        assert upload.status is Status.STORED
        assert rig.stored(KEY) == DATA

    run(main())


def test_content_whose_rows_were_purged_is_still_known(make, run):
    async def main():
        rig = make(store=FaultyStore())
        await rig.create(10, DATA)
        assert await rig.ledger.purge(time.time() + 1) == 1
        assert (await rig.create(10, DATA)).status is Status.STORED
        assert rig.store.calls == 1

    run(main())


def test_nobody_reads_stored_before_it_is_stored(make, run):
    async def main():
        publishing, gate = threading.Event(), threading.Event()

        class Slow(MemoryStore):
            def publish(self, content, source, **how):
                publishing.set()
                gate.wait()
                return super().publish(content, source, **how)

        rig = make(store=Slow())
        create = asyncio.create_task(rig.create(10, DATA))
        await until(publishing.is_set)
        await asyncio.sleep(0.01)
        (row,) = rig.ledger._rows.values()
        assert (row.status, row.offset, row.sha256) == (Status.RECEIVING, 0, None)
        assert (await rig.engine.query(row.id, interrupts=False)).upload == row
        query = asyncio.create_task(rig.engine.query(row.id, interrupts=True))
        await asyncio.sleep(0.01)
        assert not query.done()  # it is told how the publishing ends
        gate.set()
        assert (await query).upload.status is Status.STORED
        assert (await create).status is Status.STORED

    run(main())


def test_an_empty_upload_and_the_queue_may_meet(make, run):
    """Both find it received; whoever comes second has nothing left to do, and the client is told that all is well."""

    async def main():
        gates = [threading.Event()]

        class FirstIsSlow(MemoryStore):
            def publish(self, content, source, **how):
                if gates:
                    gates.pop().wait()
                return super().publish(content, source, **how)

        gate = gates[0]
        rig = make(store=FirstIsSlow())
        create = asyncio.create_task(rig.create(0))
        await until(lambda: not gates)
        queue = asyncio.create_task(rig.worker.run())
        try:
            # Where the queue leaves it alone, since a request is at it, nothing happens here.
            await asyncio.wait([create], timeout=0.05)
            gate.set()
            assert (await create).status is Status.STORED
        finally:
            gate.set()
            queue.cancel()
            await asyncio.wait([queue])

    run(main())


def test_bytes_that_vanish_before_they_are_published_are_told_as_lost(make, run):
    async def main():
        class Vanishing(MemorySpool):
            def staged(self, upload_id):
                self.discard(upload_id)
                return super().staged(upload_id)

        rig = make(spool=Vanishing())
        upload = await rig.create(10)
        with pytest.raises(Gone):
            await rig.append(upload.id, 0, ScriptedBody(DATA))
        row = await rig.row(upload.id)
        assert (row.status, row.reason) == (Status.GONE, Reason.LOST)

    run(main())


def test_a_spool_file_that_cannot_be_discarded_is_left_to_the_sweep(make, run, clock):
    async def main():
        class Sticky(MemorySpool):
            refusals = 0

            def discard(self, upload_id):
                if not self.refusals:
                    self.refusals += 1
                    raise SpoolDown("read-only")
                super().discard(upload_id)

        rig = make(spool=Sticky(), clock=clock)
        upload = await rig.create(10, DATA)
        assert upload.status is Status.STORED
        await until(lambda: rig.spool.refusals == 1)
        assert rig.staged(upload.id) == DATA
        assert (await rig.sweeper.sweep()).discarded == 1
        assert list(rig.spool.files()) == []

    run(main())


def test_a_ledger_that_cannot_say_stored_keeps_what_it_said_before_and_the_client_goes_on(make, run):
    async def main():
        class Down(MemoryLedger):
            down = True

            async def checkpoint(self, upload, offset, digest, sha256=None, content=None):
                if self.down and content:
                    raise LedgerDown("no")
                return await super().checkpoint(upload, offset, digest, sha256, content)

        rig = make(ledger=Down())
        upload = await rig.create(10, DATA[:4])
        with pytest.raises(LedgerDown):
            await rig.append(upload.id, 4, ScriptedBody(DATA[4:]))
        assert row_of(rig, upload) == upload
        assert rig.stored(KEY) == DATA  # published, and nobody was told
        rig.ledger.down = False
        assert (await rig.append(upload.id, 4, ScriptedBody(DATA[4:]))).status is Status.STORED
        assert rig.stored(KEY) == DATA

    run(main())


def test_a_ledger_that_cannot_say_stored_leaves_a_received_upload_that_the_queue_finishes(make, run, clock):
    async def main():
        class Down(MemoryLedger):
            refusals = 1

            async def move(self, upload, status, *, reason=None, content=None):
                if self.refusals:
                    self.refusals -= 1
                    raise LedgerDown("no")
                return await super().move(upload, status, reason=reason, content=content)

        rig = make(ledger=Down(), store=FaultyStore(StoreDown("away"), 1), clock=clock)
        upload = await rig.create(10, DATA)
        clock.now += LAST_DELAY
        await look(rig, lambda: row_of(rig, upload).attempts == 2)
        assert row_of(rig, upload).error == "ledger_down: no"
        assert rig.staged(upload.id) == DATA
        clock.now += LAST_DELAY
        await look(rig, lambda: row_of(rig, upload).status is Status.STORED)
        assert rig.stored(KEY) == DATA

    run(main())


def test_sweeping_keeps_what_is_needed_and_removes_what_is_not(make, run, clock):
    async def main():
        rig = make(store=FaultyStore(), clock=clock)
        receiving = await rig.create(10, DATA[:4])
        rig.store.error, rig.store.times = StoreDown("away"), 1
        received = await rig.create(10, DATA)
        stored = await rig.create(10, DATA)
        await until(lambda: len(list(rig.spool.files())) == 2)
        rig.spool.keep(stored.id)  # as a crash before the discard leaves it
        rig.spool.keep("f" * 32)  # as a crash before the row leaves it
        assert (await rig.sweeper.sweep()).discarded == 1
        assert {name for name, _ in rig.spool.files()} == {receiving.id, received.id, "f" * 32}
        clock.now += GRACE + 1
        assert (await rig.sweeper.sweep()).discarded == 1
        assert {name for name, _ in rig.spool.files()} == {receiving.id, received.id}
        assert rig.stored(KEY) == DATA

    run(main())


def test_rows_of_finished_uploads_answer_as_long_as_they_are_retained(make, run, clock):
    async def main():
        rig = make(clock=clock, ledger=MemoryLedger(clock))
        receiving = await rig.create(10, DATA[:4])
        stored = await rig.create(10, DATA)
        clock.now += 3599
        assert (await rig.sweeper.sweep()).purged == 0
        clock.now += 2
        assert (await rig.sweeper.sweep()).purged == 1
        assert await rig.ledger.get(stored.id) is None
        assert await rig.ledger.get(receiving.id) == receiving
        assert rig.stored(KEY) == DATA

    run(main())

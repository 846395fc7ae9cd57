"""Creating, appending, resuming, interrupting: what is kept, and what a client may rely on."""

import asyncio
import hashlib
import logging
import random
import threading
import time
from contextlib import suppress

import pytest
from msgspec.structs import replace

from engine.rig import CUT, HANG, WAV, ScriptedBody, until
from tusplyr.core.commands import Append, Create
from tusplyr.core.decide import Limits
from tusplyr.core.digest import LibcryptoProvider, RehashesProvider
from tusplyr.core.errors import (
    BadHeader,
    Busy,
    Cut,
    Gone,
    Interrupted,
    LedgerDown,
    NoSpace,
    NotFound,
    NotReady,
    OffsetMismatch,
    ShuttingDown,
    SpoolDown,
    TooLarge,
)
from tusplyr.core.model import Reason, Status
from tusplyr.engine.engine import TOLD
from tusplyr.engine.intake import Pace
from tusplyr.ledger.memory import MemoryLedger
from tusplyr.spool.memory import MemorySpool, MemoryWriter
from tusplyr.stores.memory import MemoryStore

DATA = b"0123456789"
SHA256 = hashlib.sha256(DATA).hexdigest()


class FaultySpool(MemorySpool):
    """A spool whose writers do what the test says."""

    def __init__(self, *, write=None, sync=None) -> None:
        super().__init__()
        self.on_write = write or (lambda: None)
        self.on_sync = sync or (lambda: None)
        self.running = 0

    def open(self, upload_id, offset):
        writer = super().open(upload_id, offset)
        return FaultyWriter(self, upload_id, writer._file)


class FaultyWriter(MemoryWriter):
    def write(self, view, at):
        self._spool.running += 1
        try:
            self._spool.on_write()
            super().write(view, at)
        finally:
            self._spool.running -= 1

    def sync(self, *, name=True):
        self._spool.running += 1
        try:
            self._spool.on_sync()
            super().sync(name=name)
        finally:
            self._spool.running -= 1


def failing(*errors):
    """Raise them one after the other, then no more; None lets a call pass."""
    left = list(errors)

    def step() -> None:
        error = left.pop(0) if left else None
        if error:
            raise error

    return step


async def stored(rig, upload_id):
    row = await rig.row(upload_id)
    assert (row.status, row.offset, row.sha256) == (Status.STORED, len(DATA), SHA256)
    assert rig.stored(row.key) == DATA
    await rig.emptied()


@pytest.mark.parametrize("known", [True, False])
def test_an_upload_in_two_appends_is_stored_with_its_sha256(rig, run, known):
    async def main():
        upload = await rig.create(10)
        assert (upload.status, upload.offset, upload.media) == (Status.RECEIVING, 0, WAV)
        upload = await rig.append(upload.id, 0, ScriptedBody(DATA[:3], DATA[3:4], known=known))
        assert (upload.status, upload.offset) == (Status.RECEIVING, 4)
        assert upload == await rig.row(upload.id)
        upload = await rig.append(upload.id, 4, ScriptedBody(DATA[4:], known=known))
        assert upload == await rig.row(upload.id)
        await stored(rig, upload.id)

    run(main())


@pytest.mark.parametrize("known", [True, False])
def test_an_upload_in_its_creation_is_stored(rig, run, known):
    async def main():
        upload = await rig.create(10, DATA[:7], DATA[7:], known=known)
        assert upload.key == f"audio/{SHA256[:16]}.wav"
        await stored(rig, upload.id)

    run(main())


def test_a_creation_keeps_the_part_that_it_brought(rig, run):
    async def main():
        upload = await rig.create(10, DATA[:3])
        assert upload.offset == 3
        await rig.append(upload.id, 3, ScriptedBody(DATA[3:]))
        await stored(rig, upload.id)

    run(main())


def test_an_empty_upload_is_stored_at_its_creation(rig, run):
    async def main():
        upload = await rig.create(0)
        assert upload.status is Status.STORED
        assert upload.sha256 == hashlib.sha256().hexdigest()
        assert rig.stored(upload.key) == b""
        await rig.emptied()

    run(main())


def test_an_append_of_nothing_changes_nothing(rig, run):
    async def main():
        upload = await rig.create(10, DATA[:3])
        assert await rig.append(upload.id, 3, ScriptedBody()) == upload
        upload = await rig.append(upload.id, 3, ScriptedBody(DATA[3:]))
        assert await rig.append(upload.id, 10, ScriptedBody()) == upload
        with pytest.raises(TooLarge):
            await rig.append(upload.id, 10, ScriptedBody(b"!"))
        await stored(rig, upload.id)

    run(main())


@pytest.mark.parametrize("length", [11, None], ids=["said", "found out"])
def test_a_creation_whose_body_is_too_long_leaves_nothing(rig, run, length):
    async def main():
        body = ScriptedBody(DATA, b"!")
        with pytest.raises(TooLarge):
            await rig.engine.create(Create(length=10, append=True, body_length=length), body)
        assert list(rig.spool.files()) == []
        assert list(rig.store.keys()) == []
        assert body.lent == []
        assert (body.asked == 0) is (length is not None)

    run(main())


def test_a_creation_over_the_limit_makes_no_file_and_no_row(make, run):
    async def main():
        rig = make(limits=Limits(9))
        with pytest.raises(TooLarge):
            await rig.create(10)
        assert list(rig.spool.files()) == []
        assert rig.tally.created == 0
        assert (await rig.create(9)).length == 9

    run(main())


@pytest.mark.parametrize(
    ("offset", "length", "error"), [(2, 0, OffsetMismatch), (4, 0, OffsetMismatch), (3, 8, TooLarge)]
)
def test_a_refused_append_reads_nothing_and_changes_nothing(rig, run, offset, length, error):
    async def main():
        upload = await rig.create(10, DATA[:3])
        body = ScriptedBody(DATA)
        with pytest.raises(error):
            await rig.append(upload.id, offset, body, length)
        assert body.asked == 0
        assert await rig.row(upload.id) == upload
        assert rig.staged(upload.id) == DATA[:3]

    run(main())


def test_what_arrived_before_a_cut_is_kept_and_continued(rig, run):
    async def main():
        upload = await rig.create(10)
        for first, end in ((0, 3), (3, 4), (4, 9)):
            with pytest.raises(Cut):
                await rig.append(upload.id, first, ScriptedBody(DATA[first:end], CUT))
            row = await rig.row(upload.id)
            assert (row.offset, row.status) == (end, Status.RECEIVING)
            assert rig.staged(upload.id) == DATA[:end]
        await rig.append(upload.id, 9, ScriptedBody(DATA[9:]))
        await stored(rig, upload.id)

    run(main())


def test_cut_at_the_last_byte_of_a_body_without_a_length_the_row_does_not_reach_the_length(make, run):
    async def main():
        rig = make(pace=Pace(span=4))
        upload = await rig.create(10)
        with pytest.raises(Cut):
            await rig.append(upload.id, 0, ScriptedBody(DATA[:5], DATA[5:], CUT))
        row = await rig.row(upload.id)
        assert (row.offset, row.status, row.sha256) == (5, Status.RECEIVING, None)
        await rig.append(upload.id, 5, ScriptedBody(DATA[5:]))
        await stored(rig, upload.id)

    run(main())


@pytest.mark.parametrize("rest", [[DATA[7:10], b"!"], [DATA[7:10] + b"!"]], ids=["behind the end", "across the end"])
def test_a_body_that_turns_out_too_long_keeps_what_was_checkpointed_and_drops_the_rest(make, run, rest):
    async def main():
        rig = make(pace=Pace(span=4))
        upload = await rig.create(10)
        body = ScriptedBody(DATA[:5], DATA[5:7], *rest)
        with pytest.raises(TooLarge):
            await rig.append(upload.id, 0, body)
        row = await rig.row(upload.id)
        assert (row.offset, row.status) == (5, Status.RECEIVING)
        assert body.lent == []
        await rig.append(upload.id, 5, ScriptedBody(DATA[5:]))
        await stored(rig, upload.id)

    run(main())


def test_a_piece_that_passes_the_length_is_not_written(rig, run):
    async def main():
        upload = await rig.create(10, DATA[:3])
        with pytest.raises(TooLarge):
            await rig.append(upload.id, 3, ScriptedBody(DATA[3:] + b"!"))
        assert rig.staged(upload.id) == DATA[:3]
        assert await rig.row(upload.id) == upload

    run(main())


def test_a_query_interrupts_an_append_and_every_byte_is_kept(rig, run):
    async def main():
        upload = await rig.create(10)
        body = ScriptedBody(DATA[:2], DATA[2:6], HANG)
        append = asyncio.create_task(rig.append(upload.id, 0, body))
        await until(lambda: len(body.handed) == 6)
        found = (await rig.engine.query(upload.id, interrupts=True)).upload
        assert found.offset == 6
        with pytest.raises(Interrupted):
            await append
        assert await rig.row(upload.id) == found
        await rig.append(upload.id, 6, ScriptedBody(DATA[6:]))
        await stored(rig, upload.id)

    run(main())


def test_a_monitor_interrupts_nobody(rig, run):
    async def main():
        upload = await rig.create(10)
        body = ScriptedBody(DATA[:6], HANG)
        append = asyncio.create_task(rig.append(upload.id, 0, body))
        await until(lambda: len(body.handed) == 6)
        assert (await rig.engine.query(upload.id, interrupts=False)).upload == upload
        await asyncio.sleep(0.02)
        assert not append.done()
        body.stop(Interrupted())
        with pytest.raises(Interrupted):
            await append

    run(main())


def test_a_takeover_chain_of_three_keeps_every_byte_in_order(rig, run):
    async def main():
        upload = await rig.create(10)
        bodies = [ScriptedBody(DATA[:3], HANG), ScriptedBody(HANG), ScriptedBody(DATA[3:])]
        tasks = []

        def at_the_offset():
            return Append(offset=rig.ledger._rows[upload.id].offset, body_length=None)

        for body in bodies:
            tasks.append(asyncio.create_task(rig.engine.append(upload.id, at_the_offset, body)))
            await asyncio.sleep(0.01 if body is bodies[0] else 0)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result).__name__ for result in results] == ["Interrupted", "Interrupted", "Appended"]
        await stored(rig, upload.id)
        assert all(body.lent == [] for body in bodies)

    run(main())


def test_a_second_request_with_a_bad_head_interrupts_nobody(rig, run):
    async def main():
        upload = await rig.create(10)
        body = ScriptedBody(DATA[:6], 0.05, DATA[6:])
        append = asyncio.create_task(rig.append(upload.id, 0, body))
        await until(lambda: len(body.handed) == 6)

        def refuse():
            raise BadHeader("no")

        with pytest.raises(BadHeader):
            await rig.engine.append(upload.id, refuse, ScriptedBody())
        await append
        await stored(rig, upload.id)

    run(main())


def test_a_holder_that_hangs_in_a_write_leaves_the_newcomer_busy_and_then_goes_on(make, run):  # D-15
    async def main():
        gate = threading.Event()
        rig = make(spool=FaultySpool(write=gate.wait), patience=0.02)
        upload = await rig.create(10)
        append = asyncio.create_task(rig.append(upload.id, 0, ScriptedBody(DATA)))
        await until(lambda: rig.spool.running == 1)
        with pytest.raises(Busy):
            await rig.engine.query(upload.id, interrupts=True)
        gate.set()
        await append
        await stored(rig, upload.id)

    run(main())


def test_shutting_down_keeps_what_arrived_and_ends_new_appends_at_once(rig, run):
    async def main():
        upload = await rig.create(10)
        body = ScriptedBody(DATA[:6], HANG)
        append = asyncio.create_task(rig.append(upload.id, 0, body))
        await until(lambda: len(body.handed) == 6)
        rig.engine.stop(ShuttingDown())
        with pytest.raises(ShuttingDown):
            await append
        assert (await rig.row(upload.id)).offset == 6
        with pytest.raises(ShuttingDown):
            await rig.append(upload.id, 6, ScriptedBody(HANG))

    run(main())


def test_the_checkpoint_timer_needs_no_further_piece(make, run):
    async def main():
        rig = make(pace=Pace(lapse=0.03))
        upload = await rig.create(10)
        body = ScriptedBody(DATA[:6], HANG)
        append = asyncio.create_task(rig.append(upload.id, 0, body))
        await until(lambda: rig.ledger._rows[upload.id].offset == 6)
        assert not append.done()
        body.stop(Interrupted())
        with pytest.raises(Interrupted):
            await append

    run(main())


def test_a_dribble_is_checkpointed_on_time_too(make, run):
    async def main():
        rig = make(pace=Pace(lapse=0.03))
        upload = await rig.create(100)
        steps = [step for _ in range(99) for step in (b"x", 0.002)]
        append = asyncio.create_task(rig.append(upload.id, 0, ScriptedBody(*steps)))
        await asyncio.sleep(0.1)
        assert 0 < (await rig.row(upload.id)).offset < 99
        assert (await append).offset == 99

    run(main())


def test_a_span_of_bytes_makes_a_checkpoint(make, run):
    async def main():
        offsets = []

        class Watched(MemoryLedger):
            async def checkpoint(self, upload, offset, digest, sha256=None, content=None):
                offsets.append(offset)
                return await super().checkpoint(upload, offset, digest, sha256, content)

        rig = make(ledger=Watched(), pace=Pace(span=4))
        upload = await rig.create(10)
        await rig.append(upload.id, 0, ScriptedBody(*(DATA[at : at + 1] for at in range(10))))
        assert offsets == [4, 8, 10]
        await stored(rig, upload.id)

    run(main())


def state_of(data: bytes) -> bytes:
    digest = LibcryptoProvider().new()
    digest.update(memoryview(bytearray(data)))
    return digest.save()


def state_of_another_provider() -> bytes:
    digest = RehashesProvider().new()
    digest.update(memoryview(bytearray(DATA[:4])))
    return digest.save()


@pytest.mark.parametrize(
    "saved",
    [None, b"", b"torn", state_of(DATA[:3]), state_of(DATA[:5]), state_of_another_provider()],
    ids=["none", "empty", "torn", "behind", "ahead", "another provider"],
)
def test_a_saved_digest_that_does_not_fit_is_thrown_away(rig, run, saved):
    async def main():
        upload = await rig.create(10, DATA[:4])
        rig.ledger._rows[upload.id] = replace(upload, digest=saved)  # as another version may have left it
        await rig.append(upload.id, 4, ScriptedBody(DATA[4:]))
        await stored(rig, upload.id)

    run(main())


def test_a_saved_digest_that_fits_saves_reading_again(make, run):
    async def main():
        class Unread(MemorySpool):
            def staged(self, upload_id):
                assert len(self._files[upload_id]) == len(DATA), "read again before it was whole"
                return super().staged(upload_id)

        rig = make(spool=Unread())
        upload = await rig.create(10, DATA[:4])
        await rig.append(upload.id, 4, ScriptedBody(DATA[4:]))
        await stored(rig, upload.id)

    run(main())


@pytest.mark.parametrize("error", [SpoolDown("no"), NoSpace()], ids=["refused", "full"])
@pytest.mark.parametrize("known", [True, False])
def test_a_failed_sync_is_never_repeated_as_a_success(make, run, error, known):
    async def main():
        rig = make(spool=FaultySpool(sync=failing(error)), pace=Pace(span=4))
        upload = await rig.create(10)
        with pytest.raises(type(error)):
            await rig.append(upload.id, 0, ScriptedBody(DATA[:5], DATA[5:7], known=known))
        assert await rig.row(upload.id) == upload
        await rig.append(upload.id, 0, ScriptedBody(DATA))
        await stored(rig, upload.id)

    run(main())


@pytest.mark.parametrize("error", [SpoolDown("no"), NoSpace()], ids=["refused", "full"])
def test_what_was_written_before_a_write_failed_is_kept(make, run, error):
    async def main():
        rig = make(spool=FaultySpool(write=failing(None, None, error)))
        upload = await rig.create(10)
        body = ScriptedBody(DATA[:2], DATA[2:5], DATA[5:])
        with pytest.raises(type(error)):
            await rig.append(upload.id, 0, body)
        assert (await rig.row(upload.id)).offset == 5
        assert body.lent == []
        await rig.append(upload.id, 5, ScriptedBody(DATA[5:]))
        await stored(rig, upload.id)

    run(main())


def test_a_ledger_that_is_down_acknowledges_nothing_and_loses_nothing_acknowledged(make, run):
    async def main():
        class Down(MemoryLedger):
            down = False

            async def checkpoint(self, upload, offset, digest, sha256=None, content=None):
                if self.down:
                    raise LedgerDown("no")
                return await super().checkpoint(upload, offset, digest, sha256, content)

        rig = make(ledger=Down())
        upload = await rig.create(10, DATA[:4])
        rig.ledger.down = True
        with pytest.raises(LedgerDown):
            await rig.append(upload.id, 4, ScriptedBody(DATA[4:]))
        assert await rig.row(upload.id) == upload
        rig.ledger.down = False
        await rig.append(upload.id, 4, ScriptedBody(DATA[4:]))
        await stored(rig, upload.id)

    run(main())


def test_bytes_that_are_missing_from_the_spool_make_the_upload_gone(rig, run):
    async def main():
        upload = await rig.create(10, DATA[:4])
        rig.spool.discard(upload.id)
        with pytest.raises(Gone):
            await rig.append(upload.id, 4, ScriptedBody(DATA[4:]))
        row = await rig.row(upload.id)
        assert (row.status, row.reason) == (Status.GONE, Reason.LOST)
        with pytest.raises(Gone):
            await rig.engine.query(upload.id, interrupts=True)

    run(main())


def test_cancelled_at_any_moment_every_byte_handed_out_is_checkpointed(make, run):
    async def main():
        rng = random.Random(20)
        data = bytes(rng.randrange(256) for _ in range(40))
        for _ in range(60):
            slow = FaultySpool(write=lambda: time.sleep(0.001), sync=lambda: time.sleep(0.001))
            rig = make(spool=slow, pace=Pace(span=rng.choice((1, 5, 100)), lapse=0.002))
            upload = await rig.create(len(data) + 1)
            body = ScriptedBody(*(data[at : at + 2] for at in range(0, 40, 2)), HANG)
            append = asyncio.create_task(rig.append(upload.id, 0, body))
            await asyncio.sleep(rng.random() * 0.04)
            for _ in range(rng.choice((1, 2, 3))):
                append.cancel()
                await asyncio.sleep(rng.random() * 0.002)
            with pytest.raises(asyncio.CancelledError):
                await append
            assert rig.spool.running == 0, "a thread is still at it"
            assert body.lent == []
            assert rig.idle()
            row = await rig.row(upload.id)
            assert (row.offset, rig.staged(upload.id)) == (len(body.handed), bytes(body.handed))
            await asyncio.to_thread(rig.close)

    run(main())


def test_cancelled_in_the_last_write_of_a_body_with_a_length_nothing_is_dropped(make, run):
    async def main():
        gate = threading.Event()
        rig = make(spool=FaultySpool(write=gate.wait))
        upload = await rig.create(10)
        body = ScriptedBody(DATA, known=True)
        append = asyncio.create_task(rig.append(upload.id, 0, body))
        await until(lambda: rig.spool.running == 1)
        append.cancel()
        await asyncio.sleep(0.005)
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await append
        row = await rig.row(upload.id)
        assert (row.offset, row.sha256) == (10, SHA256)

    run(main())


def test_cancelled_again_while_it_closes_its_file_an_append_is_not_counted_for_ever(make, run):
    async def main():
        closing, close = threading.Event(), threading.Event()

        class Slow(MemoryWriter):
            def close(self):
                closing.set()
                close.wait()

        class SlowSpool(MemorySpool):
            def open(self, upload_id, offset):
                return Slow(self, upload_id, super().open(upload_id, offset)._file)

        rig = make(spool=SlowSpool())
        upload = await rig.create(10)
        body = ScriptedBody(DATA[:4], HANG)
        append = asyncio.create_task(rig.append(upload.id, 0, body))
        await until(lambda: len(body.handed) == 4)
        append.cancel()
        await until(closing.is_set)
        append.cancel()
        await asyncio.sleep(0.005)
        close.set()
        with pytest.raises(asyncio.CancelledError):
            await append
        assert rig.tally.appending == 0

    run(main())


def test_a_terminated_upload_is_not_found_and_leaves_no_bytes(rig, run):
    async def main():
        upload = await rig.create(10, DATA[:4])
        await rig.engine.terminate(upload.id)
        assert list(rig.spool.files()) == []
        for call in (
            rig.engine.terminate(upload.id),
            rig.engine.query(upload.id, interrupts=True),
            rig.append(upload.id, 4, ScriptedBody()),
            rig.engine.content(upload.id),
            rig.engine.query("no such upload", interrupts=True),
            rig.append("../../etc/passwd", 0, ScriptedBody()),
        ):
            with pytest.raises(NotFound):
                await call

    run(main())


def test_terminating_a_stored_upload_keeps_the_object(rig, run):
    async def main():
        upload = await rig.create(10, DATA)
        await rig.engine.terminate(upload.id)
        assert rig.stored(upload.key) == DATA

    run(main())


def test_terminating_interrupts_a_running_append(rig, run):
    async def main():
        upload = await rig.create(10)
        body = ScriptedBody(DATA[:6], HANG)
        append = asyncio.create_task(rig.append(upload.id, 0, body))
        await until(lambda: len(body.handed) == 6)
        await rig.engine.terminate(upload.id)
        with pytest.raises(Interrupted):
            await append
        row = await rig.row(upload.id)
        assert (row.status, row.reason, row.offset) == (Status.GONE, Reason.TERMINATED, 6)
        assert list(rig.spool.files()) == []

    run(main())


def test_content_can_be_read_once_it_is_stored_and_not_before(rig, run):
    async def main():
        upload = await rig.create(10, DATA[:4])
        with pytest.raises(NotReady):
            await rig.engine.content(upload.id)
        await rig.append(upload.id, 4, ScriptedBody(DATA[4:]))
        row, file = await rig.engine.content(upload.id)
        assert (row.sha256, file.read()) == (SHA256, DATA)

    run(main())


def test_content_that_vanished_from_the_store_is_gone(make, run):
    async def main():
        class Emptied(MemoryStore):
            def open(self, key):
                return None

        rig = make(store=Emptied())
        upload = await rig.create(10, DATA)
        with pytest.raises(Gone):
            await rig.engine.content(upload.id)

    run(main())


def test_a_creation_that_meets_a_full_disk_leaves_no_bytes_behind(make, run):
    """Nobody knows its address, and the room is needed."""

    class Full(MemorySpool):
        def open(self, upload_id, offset):
            writer = super().open(upload_id, offset)
            real, writer.written = writer.write, 0

            def write(view, at):
                if at:
                    raise NoSpace
                real(view, at)

            writer.write = write
            return writer

    async def main():
        rig = make(spool=Full(), pace=Pace(span=1, lapse=60.0))
        with pytest.raises(NoSpace):
            await rig.create(10, DATA[:4], DATA[4:])
        (row,) = rig.ledger._rows.values()
        assert (row.status, row.reason) == (Status.GONE, Reason.TERMINATED)
        assert list(rig.spool.files()) == []

    run(main())


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ((TOLD, 0, None), False),
        ((TOLD, 0, TOLD), False),
        ((TOLD + 1, 0, 3), True),
        ((None, 0, None), True),
        ((2 * TOLD, 3, 3), False),
        ((None, 3, 3), False),
        ((None, 3, None), False),
        ((2 * TOLD, 3, TOLD + 1), True),
    ],
)
def test_the_log_tells_of_long_uploads_and_bodies_but_not_of_each_short_one(make, run, caplog, case, told):
    length, offset, body_length = case

    async def main():
        rig = make()
        upload = await rig.create(length)
        if offset:
            await rig.append(upload.id, 0, ScriptedBody(bytes(offset)), offset)
        caplog.clear()
        with suppress(Cut):
            await rig.append(upload.id, offset, ScriptedBody(b"abc", CUT), body_length)
        return f"upload {upload.id}: append from {offset} of {length or 'unknown'}"

    with caplog.at_level(logging.INFO):
        line = run(main())
    assert (line in caplog.messages) == told

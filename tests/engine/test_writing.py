"""Long pieces: several are written at once, hashed in order, and count only without a gap."""

import asyncio
import hashlib
import random
import threading
import time

import pytest

from engine.rig import CUT, HANG, ScriptedBody, until
from tusplyr.core.errors import Cut, Interrupted, LedgerDown, NoSpace, SpoolDown, TooLarge
from tusplyr.core.model import Status
from tusplyr.engine.intake import Pace
from tusplyr.engine.sink import Sink
from tusplyr.engine.writing import HANDS, LONG
from tusplyr.ledger.memory import MemoryLedger
from tusplyr.spool.memory import MemorySpool, MemoryWriter

DATA = random.Random(11).randbytes(6 * LONG)
PIECES = [DATA[at : at + LONG] for at in range(0, len(DATA), LONG)]
SHA256 = hashlib.sha256(DATA).hexdigest()


class GatedSpool(MemorySpool):
    """Asks the test before each write, by the number of the piece, and knows what is under way."""

    def __init__(self, before=lambda _: None) -> None:
        super().__init__()
        self.before = before
        self.begun: set[int] = set()
        self.running = 0

    def open(self, upload_id, offset):
        return GatedWriter(self, upload_id, super().open(upload_id, offset)._file)


class GatedWriter(MemoryWriter):
    lock = threading.Lock()

    def write(self, view, at):
        spool = self._spool
        with self.lock:
            spool.begun.add(at // LONG)
            spool.running += 1
        try:
            spool.before(at // LONG)
            super().write(view, at)
        finally:
            with self.lock:
                spool.running -= 1

    def close(self):
        assert not self._spool.running, "closed while it was being written to"


async def stored(rig, upload_id):
    row = await rig.row(upload_id)
    assert (row.status, row.offset, row.sha256) == (Status.STORED, len(DATA), SHA256)
    assert rig.stored(row.key) == DATA


@pytest.mark.parametrize("known", [True, False])
def test_pieces_that_are_written_out_of_order_are_hashed_in_order(make, run, known):
    async def main():
        later = threading.Event()

        def before(number):
            if number == 0:
                assert later.wait(5), "nothing else was written meanwhile"
                time.sleep(0.02)
                assert rig.spool.begun == set(range(HANDS))
            elif number == HANDS - 1:
                later.set()

        rig = make(spool=GatedSpool(before))
        upload = await rig.create(len(DATA))
        await rig.append(upload.id, 0, ScriptedBody(*PIECES, known=known), len(DATA))
        await stored(rig, upload.id)

    run(main())


def test_a_piece_is_given_back_as_soon_as_it_is_written_while_the_next_is_awaited(make, run):
    async def main():
        rig = make(spool=GatedSpool())
        upload = await rig.create(len(DATA))
        body = ScriptedBody(*PIECES[:2], HANG)
        append = asyncio.create_task(rig.append(upload.id, 0, body))
        await until(lambda: body.waiting and not body.lent)
        body.stop(Interrupted())
        with pytest.raises(Interrupted):
            await append
        assert (await rig.row(upload.id)).offset == 2 * LONG

    run(main())


@pytest.mark.parametrize("failing", range(6))
def test_a_write_that_fails_keeps_what_came_before_it_and_nothing_behind(make, run, failing):
    async def main():
        errors = [NoSpace()]

        def before(number):
            if number == failing and errors:
                raise errors.pop()

        rig = make(spool=GatedSpool(before))
        upload = await rig.create(len(DATA))
        body = ScriptedBody(*PIECES, known=True)
        with pytest.raises(NoSpace):
            await rig.append(upload.id, 0, body, len(DATA))
        assert body.lent == []
        row = await rig.row(upload.id)
        assert (row.status, row.offset) == (Status.RECEIVING, failing * LONG)
        assert rig.idle()
        await rig.append(upload.id, row.offset, ScriptedBody(*PIECES[failing:], known=True))
        await stored(rig, upload.id)

    run(main())


def test_a_write_that_fails_is_told_although_nothing_more_comes(make, run):
    async def main():
        def before(_):
            raise SpoolDown("the disk is gone")

        rig = make(spool=GatedSpool(before), pace=Pace(lapse=0.05))
        upload = await rig.create(len(DATA))
        with pytest.raises(SpoolDown):
            await rig.append(upload.id, 0, ScriptedBody(PIECES[0], HANG))
        assert (await rig.row(upload.id)).offset == 0

    run(main())


@pytest.mark.parametrize("end", [CUT, HANG])
def test_what_is_being_written_when_a_body_ends_early_is_kept(make, run, end):
    async def main():
        gate = threading.Event()
        rig = make(spool=GatedSpool(lambda _: gate.wait(5)))
        upload = await rig.create(len(DATA))
        body = ScriptedBody(*PIECES[: HANDS - 1], end)
        append = asyncio.create_task(rig.append(upload.id, 0, body))
        await until(lambda: len(rig.spool.begun) == HANDS - 1)
        if end is HANG:
            await until(lambda: body.waiting)
            body.stop(Interrupted())
        gate.set()
        with pytest.raises((Cut, Interrupted)):
            await append
        assert body.lent == []
        assert (await rig.row(upload.id)).offset == (HANDS - 1) * LONG

    run(main())


def test_a_cancelled_append_joins_what_is_being_written(make, run):
    async def main():
        gate = threading.Event()
        rig = make(spool=GatedSpool(lambda _: gate.wait(5)))
        upload = await rig.create(len(DATA))
        body = ScriptedBody(*PIECES, HANG)
        append = asyncio.create_task(rig.append(upload.id, 0, body))
        await until(lambda: len(rig.spool.begun) == HANDS)
        append.cancel()
        await asyncio.sleep(0.01)
        assert not append.done()
        gate.set()
        await asyncio.wait([append])
        assert append.cancelled()
        assert body.lent == []
        assert (await rig.row(upload.id)).offset == len(body.handed)
        assert rig.idle()

    run(main())


def test_a_body_that_is_too_long_joins_what_is_being_written_and_drops_it(make, run):
    async def main():
        gate = threading.Event()
        rig = make(spool=GatedSpool(lambda number: number and gate.wait(5)))
        upload = await rig.create(2 * LONG)
        body = ScriptedBody(*PIECES[:3])
        append = asyncio.create_task(rig.append(upload.id, 0, body))
        await until(lambda: len(body.handed) == 3 * LONG)
        gate.set()
        with pytest.raises(TooLarge):
            await append
        assert body.lent == []
        assert (await rig.row(upload.id)).offset == 0

    run(main())


def test_what_was_still_being_written_at_a_checkpoint_has_its_own_within_the_lapse(make, run):
    async def main():
        gate = threading.Event()
        rig = make(spool=GatedSpool(lambda number: number != 1 or gate.wait(5)), pace=Pace(span=LONG, lapse=0.05))
        upload = await rig.create(len(DATA))
        append = asyncio.create_task(rig.append(upload.id, 0, ScriptedBody(*PIECES[:2], 0.02, PIECES[2], HANG)))
        await until(lambda: rig.ledger._rows[upload.id].offset == LONG)
        gate.set()
        await until(lambda: rig.ledger._rows[upload.id].offset == 3 * LONG)
        assert not append.done()
        assert (await rig.engine.query(upload.id, interrupts=True)).upload.offset == 3 * LONG
        with pytest.raises(Interrupted):
            await append

    run(main())


@pytest.mark.parametrize("whole", [True, False])
def test_a_last_piece_is_given_back_when_the_checkpoint_before_it_fails(make, run, whole):
    async def main():
        class Down(MemoryLedger):
            async def checkpoint(self, *_rest):
                raise LedgerDown("away")

        rig = make(ledger=Down(), pace=Pace(span=1))
        upload = await rig.create(10 + LONG if whole else len(DATA))
        body = ScriptedBody(DATA[:10], PIECES[1], known=True)
        with pytest.raises(LedgerDown):
            await rig.append(upload.id, 0, body)
        assert body.lent == []
        assert rig.idle()

    run(main())


def test_a_sink_that_was_closed_opens_nothing_again(make, run):
    async def main():
        rig = make()
        upload = await rig.create(10)
        sink = Sink(rig.spool, rig.provider, upload)
        sink.write(memoryview(bytearray(b"abc")), 0)
        sink.close()
        with pytest.raises(SpoolDown):
            sink.write(memoryview(bytearray(b"def")), 3)
        assert rig.staged(upload.id) == b"abc"

    run(main())


def test_a_row_is_never_ahead_of_a_gap(make, run):
    async def main():
        gate = threading.Event()
        rig = make(spool=GatedSpool(lambda number: number != 1 or gate.wait(5)), pace=Pace(span=1, lapse=0.02))
        upload = await rig.create(len(DATA))
        append = asyncio.create_task(rig.append(upload.id, 0, ScriptedBody(*PIECES)))
        await until(lambda: rig.spool.begun >= set(range(1, HANDS)))
        await asyncio.sleep(0.1)
        assert rig.ledger._rows[upload.id].offset <= LONG
        gate.set()
        await append
        await stored(rig, upload.id)

    run(main())

"""Checkpoints follow the bytes: what is written meanwhile, what waits, and what a failed one means for the rest."""

import asyncio
import hashlib
import threading
import time

import pytest

from engine.rig import CUT, HANG, ScriptedBody, until
from tusplyr.core.errors import Cut, Interrupted, LedgerDown, NoSpace, NotFound, SpoolDown, TooLarge
from tusplyr.core.model import Reason, Status
from tusplyr.engine.intake import Pace
from tusplyr.ledger.memory import MemoryLedger
from tusplyr.spool.memory import MemorySpool, MemoryWriter

DATA = b"0123456789"
SHA256 = hashlib.sha256(DATA).hexdigest()
SPAN = Pace(span=4)


class WatchedSpool(MemorySpool):
    """Runs what the test says in each sync, and checks that nothing else touches the file at the wrong moment."""

    def __init__(self, on_sync=lambda: None) -> None:
        super().__init__()
        self.on_sync = on_sync
        self.syncing = 0
        self.syncs = 0
        self.written = 0
        self.durable = 0  # bytes that had been written when the last sync that succeeded began
        self.closed = 0
        self.wrong: list[str] = []

    def open(self, upload_id, offset):
        return WatchedWriter(self, upload_id, super().open(upload_id, offset)._file)


class WatchedWriter(MemoryWriter):
    def write(self, view, at):
        super().write(view, at)
        self._spool.written += len(view)

    def sync(self, *, name=True):
        if self._spool.syncing:
            self._spool.wrong.append("two syncs at once")
        self._spool.syncing += 1
        self._spool.syncs += 1
        began = self._spool.written
        try:
            self._spool.on_sync()
            super().sync(name=name)
            self._spool.durable = began
        finally:
            self._spool.syncing -= 1

    def close(self):
        if self._spool.syncing:
            self._spool.wrong.append("closed while it was being synced")
        self._spool.closed += 1


class WatchedLedger(MemoryLedger):
    """Lets each checkpoint wait, and notes where they go."""

    def __init__(self) -> None:
        super().__init__()
        self.open = asyncio.Event()
        self.running = 0
        self.most = 0
        self.offsets: list[int] = []

    async def checkpoint(self, upload, offset, digest, sha256=None, content=None):
        self.running += 1
        self.most = max(self.most, self.running)
        self.offsets.append(offset)
        try:
            await self.open.wait()
            return await super().checkpoint(upload, offset, digest, sha256, content)
        finally:
            self.running -= 1


async def stored(rig, upload_id):
    row = await rig.row(upload_id)
    assert (row.status, row.offset, row.sha256) == (Status.STORED, len(DATA), SHA256)
    assert rig.stored(row.key) == DATA


def test_more_bytes_are_written_while_a_sync_runs(make, run):
    async def main():
        gate = threading.Event()
        rig = make(spool=WatchedSpool(gate.wait), pace=SPAN)
        upload = await rig.create(10)
        append = asyncio.create_task(rig.append(upload.id, 0, ScriptedBody(DATA[:5], DATA[5:7], DATA[7:8], HANG)))
        try:
            await until(lambda: rig.spool.written == 8 and rig.spool.syncing == 1)
            assert await rig.row(upload.id) == upload
        finally:
            gate.set()
        await until(lambda: rig.ledger._rows[upload.id].offset == 5)
        assert (await rig.engine.query(upload.id, interrupts=True)).upload.offset == 8
        with pytest.raises(Interrupted):
            await append

    run(main())


def test_more_bytes_are_written_while_the_row_is_being_changed(make, run):
    async def main():
        rig = make(ledger=WatchedLedger(), spool=WatchedSpool(), pace=SPAN)
        upload = await rig.create(10)
        append = asyncio.create_task(rig.append(upload.id, 0, ScriptedBody(DATA[:5], DATA[5:7], DATA[7:])))
        await until(lambda: rig.spool.written == 10)
        assert rig.ledger.offsets == [5]
        assert await rig.row(upload.id) == upload
        rig.ledger.open.set()
        await append
        assert rig.ledger.offsets == [5, 10]
        await stored(rig, upload.id)

    run(main())


def test_the_next_checkpoint_waits_for_the_one_before_and_no_more_is_read(make, run):
    async def main():
        gate = threading.Event()
        rig = make(spool=WatchedSpool(gate.wait), pace=SPAN)
        upload = await rig.create(15)
        body = ScriptedBody(DATA[:4], DATA[4:8], DATA[8:9], HANG)
        append = asyncio.create_task(rig.append(upload.id, 0, body))
        try:
            await until(lambda: rig.spool.written == 8)
            await asyncio.sleep(0.02)
            assert (len(body.handed), rig.spool.written, rig.spool.syncs) == (8, 8, 1)
        finally:
            gate.set()
        await until(lambda: rig.ledger._rows[upload.id].offset == 8)
        body.stop(Interrupted())
        with pytest.raises(Interrupted):
            await append
        assert rig.spool.wrong == []

    run(main())


def test_one_checkpoint_is_made_at_a_time_each_further_than_the_last(make, run):
    async def main():
        rig = make(ledger=WatchedLedger(), spool=WatchedSpool(lambda: time.sleep(0.001)), pace=Pace(span=1))
        rig.ledger.open.set()
        upload = await rig.create(10)
        await rig.append(upload.id, 0, ScriptedBody(*(DATA[at : at + 1] for at in range(10))))
        assert rig.ledger.offsets == list(range(1, 11))
        assert rig.ledger.most == 1
        assert rig.spool.wrong == []
        await stored(rig, upload.id)

    run(main())


def test_the_last_bytes_of_a_body_with_a_length_wait_for_the_sync_that_runs(make, run):
    """They are written, synced, closed and published in one hop."""

    async def main():
        gate = threading.Event()
        rig = make(spool=WatchedSpool(gate.wait), pace=SPAN)
        upload = await rig.create(10)
        append = asyncio.create_task(rig.append(upload.id, 0, ScriptedBody(DATA[:5], DATA[5:], known=True)))
        try:
            await until(lambda: rig.spool.syncing == 1)
            await asyncio.sleep(0.02)
            assert (rig.spool.written, rig.spool.closed) == (5, 0)
        finally:
            gate.set()
        await append
        assert (rig.spool.wrong, rig.spool.closed) == ([], 1)
        await stored(rig, upload.id)

    run(main())


ENDINGS = {
    "whole": ([DATA[5:7], DATA[7:]], None, 10),
    "part": ([DATA[5:7]], None, 7),
    "cut": ([DATA[5:7], CUT], Cut, 7),
    "too long": ([DATA[5:7], DATA[7:] + b"!"], TooLarge, 5),
    "cancelled": ([DATA[5:7], HANG], asyncio.CancelledError, 7),
}


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("ending", ENDINGS)
def test_however_a_body_ends_its_file_is_not_closed_while_it_is_synced(make, run, ending, known):
    rest, error, offset = ENDINGS[ending]

    async def main():
        gate = threading.Event()
        rig = make(spool=WatchedSpool(gate.wait), pace=SPAN)
        upload = await rig.create(10)
        body = ScriptedBody(DATA[:5], *rest, known=known)
        append = asyncio.create_task(rig.append(upload.id, 0, body))
        try:
            await until(lambda: rig.spool.syncing == 1)
            await asyncio.sleep(0.01)
            if error is asyncio.CancelledError:
                await until(lambda: rig.spool.written == 7)
                append.cancel()
                await asyncio.sleep(0.01)
            assert not append.done()
            assert rig.spool.closed == 0
        finally:
            gate.set()
        (outcome,) = await asyncio.gather(append, return_exceptions=True)
        assert isinstance(outcome, error) if error else outcome == await rig.row(upload.id)
        assert (await rig.row(upload.id)).offset == offset
        assert rig.spool.wrong == []
        assert rig.spool.closed == 1
        assert body.lent == []

    run(main())


@pytest.mark.parametrize("error", [SpoolDown("no"), NoSpace()], ids=["refused", "full"])
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("pieces", [3, 5], ids=["found out at the end", "found out at the next"])
def test_a_sync_that_fails_in_the_middle_ends_the_append_with_what_was_acknowledged_before(
    make, run, error, known, pieces
):
    async def main():
        def second_fails():
            if rig.spool.syncs == 2:
                raise error

        rig = make(spool=WatchedSpool(second_fails), pace=Pace(span=2))
        upload = await rig.create(10)
        body = ScriptedBody(*(DATA[at : at + 2] for at in range(0, 2 * pieces, 2)), known=known)
        with pytest.raises(type(error)):
            await rig.append(upload.id, 0, body)
        row = await rig.row(upload.id)
        # The first sync may have covered a piece that came while it was asked for: then that piece counts, too.
        assert row.status is Status.RECEIVING
        assert 2 <= row.offset <= rig.spool.durable
        assert rig.spool.syncs == 2  # a second try would report a false success
        assert body.lent == []
        await rig.append(upload.id, row.offset, ScriptedBody(DATA[row.offset :]))
        await stored(rig, upload.id)

    run(main())


def test_an_upload_that_ended_elsewhere_ends_the_append_at_its_next_checkpoint(make, run):
    async def main():
        rig = make(ledger=WatchedLedger(), pace=SPAN)
        upload = await rig.create(100)
        body = ScriptedBody(*[b"abcd"] * 25)
        append = asyncio.create_task(rig.append(upload.id, 0, body))
        await until(lambda: rig.ledger.running)
        await rig.ledger.move(upload, Status.GONE, reason=Reason.TERMINATED)
        rig.ledger.open.set()
        with pytest.raises(NotFound):
            await append
        row = await rig.row(upload.id)
        assert (row.status, row.offset) == (Status.GONE, 0)
        assert len(body.handed) < 100
        assert body.lent == []

    run(main())


def test_a_ledger_that_fails_in_the_middle_ends_the_append_and_the_client_goes_on(make, run):
    async def main():
        class SecondFails(MemoryLedger):
            calls = 0

            async def checkpoint(self, upload, offset, digest, sha256=None, content=None):
                self.calls += 1
                if self.calls == 2:
                    raise LedgerDown("no")
                return await super().checkpoint(upload, offset, digest, sha256, content)

        rig = make(ledger=SecondFails(), pace=Pace(span=2))
        upload = await rig.create(10)
        body = ScriptedBody(*(DATA[at : at + 2] for at in range(0, 10, 2)))
        with pytest.raises(LedgerDown):
            await rig.append(upload.id, 0, body)
        at = (await rig.row(upload.id)).offset
        assert 2 <= at < 10
        assert rig.staged(upload.id)[:at] == DATA[:at]
        assert body.lent == []
        await rig.append(upload.id, at, ScriptedBody(DATA[at:]))
        await stored(rig, upload.id)

    run(main())

"""The row that this process has just written is not read again; what another process made of it counts all the same."""

import hashlib

import pytest

from engine.rig import CUT, ScriptedBody
from tusplyr.core.errors import Cut, NotFound, OffsetMismatch
from tusplyr.core.model import Reason, Status
from tusplyr.engine import engine
from tusplyr.ledger.memory import MemoryLedger

DATA = b"0123456789"


class CountingLedger(MemoryLedger):
    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    async def get(self, upload_id):
        self.reads += 1
        return await super().get(upload_id)


def test_an_upload_in_three_appends_reads_no_row(make, run):
    async def main():
        rig = make(ledger=CountingLedger())
        upload = await rig.create(10)
        for at, end in ((0, 3), (3, 6), (6, 10)):
            upload = await rig.append(upload.id, at, ScriptedBody(DATA[at:end], known=True))
        assert rig.ledger.reads == 0
        assert (upload.status, upload.sha256) == (Status.STORED, hashlib.sha256(DATA).hexdigest())

    run(main())


def test_after_an_append_that_ended_early_the_row_is_read(make, run):
    async def main():
        rig = make(ledger=CountingLedger())
        upload = await rig.create(10)
        with pytest.raises(Cut):
            await rig.append(upload.id, 0, ScriptedBody(DATA[:3], CUT))
        await rig.append(upload.id, 3, ScriptedBody(DATA[3:]))
        assert rig.ledger.reads == 1

    run(main())


@pytest.mark.parametrize("offset", [0, 4])
@pytest.mark.parametrize("discarded", [False, True])
def test_an_upload_that_a_command_has_terminated_meanwhile_is_not_found(make, run, offset, discarded):
    async def main():
        rig = make()
        upload = await rig.create(10)
        if offset:
            upload = await rig.append(upload.id, 0, ScriptedBody(DATA[:offset]))
        await rig.ledger.move(upload, Status.GONE, reason=Reason.TERMINATED)  # as the command does, in its process
        if discarded:
            rig.spool.discard(upload.id)
        with pytest.raises(NotFound):
            await rig.append(upload.id, offset, ScriptedBody(DATA[offset:]))
        row = await rig.row(upload.id)
        assert (row.status, row.offset, row.reason) == (Status.GONE, offset, Reason.TERMINATED)
        assert rig.tally.lost == 0
        if offset and discarded:
            assert list(rig.store.keys()) == []

    run(main())


def test_an_empty_append_reads_the_row_since_no_change_would_tell(make, run):
    async def main():
        rig = make()
        upload = await rig.create(10)
        await rig.ledger.move(upload, Status.GONE, reason=Reason.TERMINATED)
        with pytest.raises(NotFound):
            await rig.append(upload.id, 0, ScriptedBody(known=True), 0)

    run(main())


def test_only_what_the_ledger_says_is_a_reason_to_refuse(make, run):
    async def main():
        rig = make()
        upload = await rig.create(10)
        with pytest.raises(OffsetMismatch):
            await rig.append(upload.id, 5, ScriptedBody(DATA[5:]))
        await rig.append(upload.id, 0, ScriptedBody(DATA[:5]))
        await rig.ledger.move(await rig.row(upload.id), Status.GONE, reason=Reason.TERMINATED)
        with pytest.raises(NotFound):
            await rig.append(upload.id, 3, ScriptedBody(DATA[3:]))

    run(main())


def test_a_terminated_upload_is_forgotten(rig, run):
    async def main():
        upload = await rig.create(10)
        await rig.engine.terminate(upload.id)
        body = ScriptedBody(DATA)
        with pytest.raises(NotFound):
            await rig.append(upload.id, 0, body)
        assert body.asked == 0

    run(main())


def test_after_a_while_the_row_is_read_before_anything_is_done(make, run, monkeypatch):
    async def main():
        rig = make(ledger=CountingLedger())
        upload = await rig.create(10)
        await rig.ledger.move(upload, Status.GONE, reason=Reason.TERMINATED)
        body = ScriptedBody(DATA)
        with pytest.raises(NotFound):
            await rig.append(upload.id, 0, body)
        assert body.asked == 0
        assert list(rig.spool.files()) == []

    monkeypatch.setattr(engine, "FRESH", 0)
    run(main())


def test_so_many_rows_are_remembered_and_no_more(make, run, monkeypatch):
    async def main():
        rig = make(ledger=CountingLedger())
        uploads = [await rig.create(10) for _ in range(3)]
        await rig.append(uploads[1].id, 0, ScriptedBody(DATA))
        assert rig.ledger.reads == 0
        await rig.append(uploads[0].id, 0, ScriptedBody(DATA))
        assert rig.ledger.reads == 1
        assert len(rig.engine._recent) <= 2

    monkeypatch.setattr(engine, "RECENT", 2)
    run(main())

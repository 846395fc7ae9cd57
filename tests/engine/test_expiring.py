"""Uploads that nobody goes on with: when they are gone, and what keeps them."""

import asyncio

import pytest

from engine.rig import HANG, Rig, ScriptedBody, until
from engine.test_concatenating import final, partial
from tusplyr.core.decide import Limits
from tusplyr.core.errors import Gone, NotFound, ShuttingDown, StoreDown, Superseded
from tusplyr.core.model import Reason, Status
from tusplyr.ledger.memory import MemoryLedger
from tusplyr.stores.memory import MemoryStore

DATA = b"0123456789"
TTL = 60.0


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rig(make, clock) -> Rig:
    return make(ledger=MemoryLedger(clock), limits=Limits(expire_after=TTL), clock=clock)


def test_from_its_deadline_on_an_upload_is_gone_whether_or_not_it_was_swept(rig, run, clock):
    """EX-05, EX-09."""

    async def main():
        upload = await rig.create(10, DATA[:4])
        clock.now += TTL
        for request in (
            rig.engine.query(upload.id, interrupts=True),
            rig.append(upload.id, 4, ScriptedBody(DATA[4:])),
            rig.engine.terminate(upload.id),
        ):
            with pytest.raises(Gone, match="expired"):
                await request
        assert (await rig.row(upload.id)).status is Status.RECEIVING
        assert (await rig.sweeper.sweep()).expired == 1
        row = await rig.row(upload.id)
        assert (row.status, row.reason) == (Status.GONE, Reason.EXPIRED)
        assert list(rig.spool.files()) == []
        with pytest.raises(Gone, match="expired"):
            await rig.engine.query(upload.id, interrupts=True)
        assert rig.tally.expired == 1

    run(main())


def test_every_append_moves_the_deadline(rig, run, clock):
    """EX-04."""

    async def main():
        upload = await rig.create(10, DATA[:4])
        for offset in range(4, 9):
            clock.now += TTL - 1
            assert (await rig.sweeper.sweep()).expired == 0
            upload = await rig.append(upload.id, offset, ScriptedBody(DATA[offset : offset + 1]))
        assert upload.updated_at == clock.now

    run(main())


def test_an_upload_does_not_expire_under_a_running_append(rig, run, clock):
    """EX-10."""

    async def main():
        upload = await rig.create(10)
        body = ScriptedBody(DATA[:4], HANG)
        running = asyncio.create_task(rig.append(upload.id, 0, body))
        await until(lambda: body.waiting)
        clock.now += TTL + 1
        assert (await rig.sweeper.sweep()).expired == 0
        assert (await rig.engine.query(upload.id, interrupts=False)).upload.status is Status.RECEIVING
        rig.engine.stop(ShuttingDown())
        with pytest.raises(ShuttingDown):
            await running
        assert (await rig.row(upload.id)).offset == 4

    run(main())


def test_what_is_whole_stays_however_long_its_publishing_takes(make, run, clock):
    """EX-08."""

    class Away(MemoryStore):
        def publish(self, content, source, **how):
            raise StoreDown("away")

    async def main():
        rig = make(ledger=MemoryLedger(clock), limits=Limits(expire_after=TTL), clock=clock, store=Away())
        upload = await rig.create(10, DATA)
        assert upload.status is Status.RECEIVED
        clock.now += 1000 * TTL
        report = await rig.sweeper.sweep()
        assert (report.expired, report.discarded) == (0, 0)
        assert rig.staged(upload.id) == DATA
        assert (await rig.engine.query(upload.id, interrupts=True)).upload == upload

    run(main())


def test_a_tombstone_is_forgotten_in_the_end(rig, run, clock):
    """EX-05."""

    async def main():
        upload = await rig.create(10)
        clock.now += TTL + 1
        await rig.sweeper.sweep()
        clock.now += 3601
        assert (await rig.sweeper.sweep()).purged == 1
        with pytest.raises(NotFound):
            await rig.engine.query(upload.id, interrupts=True)

    run(main())


def test_without_a_deadline_nothing_expires(make, run, clock):
    async def main():
        rig = make(ledger=MemoryLedger(clock), clock=clock)
        upload = await rig.create(10)
        clock.now += 1e9
        assert (await rig.sweeper.sweep()).expired == 0
        assert (await rig.engine.query(upload.id, interrupts=True)).upload == upload

    run(main())


def test_what_was_changed_since_it_was_idle_does_not_expire(make, run):
    """The sweep reads up to 1000 rows at once; any of them may be gone on with before its turn comes."""
    now = [1_000_000.0]
    rig = make(ledger=MemoryLedger(lambda: now[0]), limits=Limits(expire_after=60.0), clock=lambda: now[0])

    async def main():
        a = await partial(rig, b"a")
        now[0] += 59
        idle = await rig.row(a.id)  # as `idle` has read it, a moment later
        upload = await final(rig, a)
        assert upload.status is Status.STORED
        now[0] += 2
        with pytest.raises(Superseded):
            await rig.ledger.move(idle, Status.GONE, reason=Reason.EXPIRED)

    run(main())

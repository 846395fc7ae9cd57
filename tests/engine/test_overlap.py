"""Shipping while the rest is still coming: what is shipped and when, and that nothing depends on it."""

import asyncio
import hashlib
import logging

import pytest

from engine.rig import CUT, HANG, ScriptedBody, until
from engine.test_publishing_elsewhere import FarStore, Working, is_stored, row_of
from tusplyr.core.errors import Cut, DigestMismatch, ShuttingDown, StoreDown, Suspended
from tusplyr.core.model import Content, Kind, Status
from tusplyr.engine import overlap
from tusplyr.engine.intake import Pace

STRIDE = 4
DATA = b"0123456789"
SHA256 = hashlib.sha256(DATA).hexdigest()
KEY = f"audio/{SHA256[:16]}.wav"
EACH = Pace(span=1)  # a checkpoint after each piece


class Ships(FarStore):
    """Ships in strides of four bytes; `faults` are raised, one by each call; with a `wait`, each takes until it ends.

    `shipped` has what each call was given: how much, and the bytes.
    """

    def __init__(self, *faults, wait=None, closed=False) -> None:
        super().__init__(closed=closed)
        self.faults = list(faults)
        self.wait = wait
        self.shipped: list[tuple[int, bytes]] = []

    def stride(self, length):
        return STRIDE if length > STRIDE else None

    def ship(self, content, source, upto, *, enough, halted):
        assert content == Content(KEY, SHA256, len(DATA))
        with source.open() as file:
            self.shipped.append((upto, file.read(upto)))
        while self.wait and not self.wait(enough(), halted()):
            pass
        if self.faults:
            raise self.faults.pop(0)


@pytest.fixture(autouse=True)
def short_rest(monkeypatch):
    monkeypatch.setattr(overlap, "REST", 0.01)


def making(make, *faults, **options):
    return make(store=Ships(*faults, **options), pace=EACH, overlaps=True)


def idle(rig):
    return lambda: not rig.overlap._shipments


def test_each_stride_is_shipped_once_it_is_in_the_row_and_no_sooner(make, run):
    async def main():
        rig = making(make)
        upload = await rig.create(10, declared=SHA256)
        for start, end, shipped in [(0, 3, 0), (3, 5, 1), (5, 7, 1), (7, 9, 2)]:
            await rig.append(upload.id, start, ScriptedBody(DATA[start:end]))
            await until(idle(rig))
            assert len(rig.store.shipped) == shipped
        assert rig.store.shipped == [(5, DATA[:5]), (9, DATA[:9])]

    run(main())


def test_a_body_is_shipped_before_its_end(make, run):
    async def main():
        rig = making(make)
        upload = await rig.create(10, declared=SHA256)
        body = ScriptedBody(DATA[:9], HANG)
        appending = asyncio.create_task(rig.append(upload.id, 0, body))
        await until(lambda: rig.store.shipped)
        assert rig.store.shipped == [(9, DATA[:9])]
        assert not appending.done()
        body.stop(ShuttingDown())
        with pytest.raises(ShuttingDown):
            await appending

    run(main())


def test_what_arrives_while_something_is_shipped_follows_it(make, run):
    async def main():
        rig = making(make, wait=lambda *_: shut)
        shut = False
        upload = await rig.create(10, declared=SHA256)
        await rig.append(upload.id, 0, ScriptedBody(DATA[:4]))
        await until(lambda: rig.store.shipped)
        await rig.append(upload.id, 4, ScriptedBody(DATA[4:9]))
        assert len(rig.store.shipped) == 1
        shut = True
        await until(idle(rig))
        assert rig.store.shipped == [(4, DATA[:4]), (9, DATA[:9])]

    run(main())


@pytest.mark.parametrize("what", ["no digest", "no length", "partial", "short"])
def test_what_nobody_knows_or_would_gain_by_is_not_shipped(make, run, what):
    async def main():
        rig = making(make)
        digest = {"no digest": None, "short": hashlib.sha256(DATA[:4]).hexdigest()}.get(what, SHA256)
        upload = await rig.create({"no length": None, "short": 4}.get(what, 10), declared=digest)
        if what == "partial":
            row = row_of(rig, upload)
            rig.ledger._rows[upload.id] = type(row)(
                **{n: getattr(row, n) for n in row.__struct_fields__} | {"kind": Kind.PARTIAL}
            )
            rig.engine._recent.clear()
        await rig.append(upload.id, 0, ScriptedBody(DATA[:2], 0.01, DATA[2 : 3 if what == "short" else 9]))
        assert rig.store.shipped == []
        assert idle(rig)()

    run(main())


def test_content_that_is_stored_already_is_not_shipped(make, run):
    async def main():
        rig = making(make)
        async with Working(rig):
            first = await rig.create(10, DATA)
            await until(is_stored(rig, first))
            second = await rig.create(10, declared=SHA256)
            await rig.append(second.id, 0, ScriptedBody(DATA[:9]))
            await until(idle(rig))
            await rig.append(second.id, 9, ScriptedBody(DATA[9:]))
            await until(is_stored(rig, second))
        assert rig.store.shipped == []
        assert rig.store.sent == [KEY]

    run(main())


def test_content_that_another_upload_has_brought_meanwhile_is_shipped_no_further(make, run):
    async def main():
        rig = making(make, wait=lambda *_: is_stored(rig, first)())
        async with Working(rig):
            upload = await rig.create(10, declared=SHA256)
            first = await rig.create(10)
            await rig.append(upload.id, 0, ScriptedBody(DATA[:4]))
            await until(lambda: rig.store.shipped)
            await rig.append(upload.id, 4, ScriptedBody(DATA[4:8]))
            await rig.append(first.id, 0, ScriptedBody(DATA))
            await until(idle(rig))
        assert len(rig.store.shipped) == 1

    run(main())


def test_publishing_ends_it_and_does_not_wait_for_it(make, run):
    """The store waits for what is under way; the reply does not."""

    async def main():
        rig = making(make, wait=lambda enough, _: enough)
        async with Working(rig):
            upload = await rig.create(10, declared=SHA256)
            await rig.append(upload.id, 0, ScriptedBody(DATA[:4]))
            await until(lambda: rig.store.shipped)
            await rig.append(upload.id, 4, ScriptedBody(DATA[4:]))
            await until(is_stored(rig, upload))
            await until(idle(rig))
        assert len(rig.store.shipped) == 1
        assert rig.stored(KEY) == DATA

    run(main())


@pytest.mark.parametrize("fault", [StoreDown("it is away"), Suspended()])
def test_after_a_failure_it_is_tried_again_and_an_upload_is_published_all_the_same(make, run, caplog, fault):
    async def main():
        rig = making(make, fault, fault)
        upload = await rig.create(10, declared=SHA256)
        await rig.append(upload.id, 0, ScriptedBody(DATA[:4]))
        await until(idle(rig))
        assert [upto for upto, _ in rig.store.shipped] == [4, 4, 4]
        rig.store.faults = [fault] * 1000
        await rig.append(upload.id, 4, ScriptedBody(DATA[4:8]))
        async with Working(rig):
            await rig.append(upload.id, 8, ScriptedBody(DATA[8:]))
            await until(is_stored(rig, upload))
        await until(idle(rig))
        assert row_of(rig, upload).attempts == 0
        said = [record for record in caplog.records if "ahead" in record.message]
        assert all(upload.id in record.message and "it is away" in record.message for record in said)
        assert bool(said) is isinstance(fault, StoreDown)

    run(main())


def test_what_nobody_expected_is_told_and_harms_nobody(make, run, caplog):
    async def main():
        rig = making(make, RuntimeError("what nobody expected"))
        upload = await rig.create(10, declared=SHA256)
        await rig.append(upload.id, 0, ScriptedBody(DATA[:4]))
        await until(idle(rig))
        async with Working(rig):
            await rig.append(upload.id, 4, ScriptedBody(DATA[4:]))
            await until(is_stored(rig, upload))
        assert [r.message for r in caplog.records if r.levelno == logging.ERROR] == [
            f"upload {upload.id} could not be shipped ahead; it will be published all the same"
        ]

    run(main())


def test_an_upload_that_is_terminated_is_shipped_no_further(make, run):
    async def main():
        rig = making(make, *[StoreDown("it is away")] * 1000)
        upload = await rig.create(10, declared=SHA256)
        await rig.append(upload.id, 0, ScriptedBody(DATA[:4]))
        await until(lambda: rig.store.shipped)
        await rig.engine.terminate(upload.id)
        await until(idle(rig))

    run(main())


def test_another_content_than_was_declared_is_not_published(make, run):
    async def main():
        rig = making(make)
        upload = await rig.create(10, declared=SHA256)
        await rig.append(upload.id, 0, ScriptedBody(b"junk"))
        await until(idle(rig))
        assert rig.store.shipped == [(4, b"junk")]
        with pytest.raises(DigestMismatch):
            await rig.append(upload.id, 4, ScriptedBody(DATA[4:]))
        assert list(rig.store.keys()) == []

    run(main())


def test_it_goes_on_after_a_cut_where_the_client_does(make, run):
    async def main():
        rig = making(make)
        upload = await rig.create(10, declared=SHA256)
        with pytest.raises(Cut):
            await rig.append(upload.id, 0, ScriptedBody(DATA[:5], CUT))
        await until(idle(rig))
        await rig.append(upload.id, 5, ScriptedBody(DATA[5:9]))
        await until(idle(rig))
        assert rig.store.shipped == [(5, DATA[:5]), (9, DATA[:9])]

    run(main())


def test_at_the_end_of_the_server_it_is_broken_off(make, run):
    async def main():
        rig = making(make, wait=lambda _, halted: halted)
        upload = await rig.create(10, declared=SHA256)
        await rig.append(upload.id, 0, ScriptedBody(DATA[:4]))
        await until(lambda: rig.store.shipped)
        rig.engine.stop(ShuttingDown())
        await rig.overlap.rest()
        rig.overlap.note(4, row_of(rig, upload))
        await rig.overlap.rest()
        assert len(rig.store.shipped) == 1
        assert row_of(rig, upload).status is Status.RECEIVING

    run(main())

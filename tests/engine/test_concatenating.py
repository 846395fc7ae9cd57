"""Final uploads: what they may be made of, what they become, and what happens in between."""

import asyncio
import hashlib
import random
import threading

import pytest
from msgspec.structs import replace

from engine.rig import WAV, Rig, ScriptedBody, until
from tusplyr.core.commands import Append, Concatenate, Create
from tusplyr.core.decide import Limits
from tusplyr.core.errors import (
    BadPartial,
    Busy,
    BytesLost,
    Crowded,
    DigestMismatch,
    Forbidden,
    Gone,
    NoSpace,
    NotFound,
    ShuttingDown,
    TooLarge,
)
from tusplyr.core.model import Kind, Reason, Status, Upload
from tusplyr.engine import assemble, concatenate
from tusplyr.engine.intake import Pace
from tusplyr.ledger.memory import MemoryLedger
from tusplyr.ports import Staged
from tusplyr.spool.memory import MemorySpool

MIB = 1024 * 1024
NOISE = random.Random(8).randbytes(3 * MIB)


async def partial(rig: Rig, data: bytes, *, sent: int | None = None) -> Upload:
    """A partial upload, with all of its bytes or as many as are sent."""
    command = Create(length=len(data), concat=b"partial", append=bool(data), body_length=None)
    body = data if sent is None else data[:sent]
    return (await rig.engine.create(command, ScriptedBody(*[body] * bool(body)))).upload


async def final(rig: Rig, *partials: Upload | str, **values: object) -> Upload:
    ids = tuple(each if isinstance(each, str) else each.id for each in partials)
    command = Concatenate(partials=ids, concat=b"final;...", media=WAV, **values)
    return (await rig.engine.concatenate(command)).upload


def check_stored(rig: Rig, upload: Upload, data: bytes) -> None:
    assert (upload.status, upload.offset, upload.length) == (Status.STORED, len(data), len(data))
    assert upload.sha256 == hashlib.sha256(data).hexdigest()
    assert rig.stored(upload.key) == data


class Gated(MemorySpool):
    """Reads of one upload wait for a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.slow = ""
        self.waiting = False

    def staged(self, upload_id):
        if upload_id == self.slow:
            self.waiting = True
            self.gate.wait()
        return super().staged(upload_id)


def test_partial_uploads_are_complete_and_not_published(rig, run):
    """CC-02, CC-03."""

    async def main():
        upload = await partial(rig, b"abc")
        assert (upload.kind, upload.status, upload.offset) == (Kind.PARTIAL, Status.RECEIVING, 3)
        assert await rig.row(upload.id) == upload
        again = await rig.append(upload.id, 3, ScriptedBody(known=True), 0)
        assert again == upload
        with pytest.raises(TooLarge):
            await rig.append(upload.id, 3, ScriptedBody(b"d", known=True), 1)
        assert (await partial(rig, b"")).status is Status.RECEIVING
        assert list(rig.store.keys()) == []
        with pytest.raises(Forbidden):
            await rig.engine.content(upload.id)

    run(main())


@pytest.mark.parametrize(
    "pieces", [[b"hello ", b"world"], [b"a"], [b"", b"b", b""], [b"", b""], [NOISE, b"x", NOISE[5:]]]
)
def test_a_final_upload_is_its_partial_ones_in_order(rig, run, pieces):
    """CC-05, CC-06, CC-29."""

    async def main():
        partials = [await partial(rig, piece) for piece in pieces]
        upload = await final(rig, *partials)
        check_stored(rig, upload, b"".join(pieces))
        assert (upload.kind, upload.concat, upload.metadata) == (Kind.FINAL, b"final;...", None)
        for each, piece in zip(partials, pieces, strict=True):  # CC-12, D-41
            assert (await rig.engine.query(each.id, interrupts=True)).upload.offset == len(piece)

    run(main())


def test_the_order_is_that_of_the_request_and_one_may_be_there_twice(rig, run):
    """CC-05, CC-13."""

    async def main():
        a, b = await partial(rig, b"a" * 5), await partial(rig, b"b" * 3)
        check_stored(rig, await final(rig, b, a), b"bbbaaaaa")
        check_stored(rig, await final(rig, a, a), b"aaaaaaaaaa")

    run(main())


def test_only_the_description_of_the_final_upload_counts(rig, run):
    """CC-10, CC-11."""

    async def main():
        a = await partial(rig, b"a")
        upload = await final(rig, a, metadata=b"filename eA==")
        assert upload.metadata == b"filename eA=="
        check_stored(rig, upload, b"a")

    run(main())


def test_the_same_request_is_the_same_upload(rig, run):
    """D-41: after a lost reply a client asks again."""

    async def main():
        a, b = await partial(rig, b"a"), await partial(rig, b"b")
        first, second = await asyncio.gather(final(rig, a, b), final(rig, a, b))
        assert first == second
        assert (await final(rig, a, b)) == first
        assert rig.tally.stored == 1
        for other in (
            await final(rig, b, a),
            await final(rig, a, b, metadata=b"x"),
            await final(rig, a, b, declared=first.sha256),
        ):
            assert other.id != first.id
        await rig.engine.terminate(a.id)
        assert (await final(rig, a, b)) == first
        with pytest.raises(BadPartial):
            await final(rig, a, b, length=3)

    run(main())


def test_a_key_of_the_client_makes_the_same_request_another(rig, run):
    """D-41."""

    async def main():
        a = await partial(rig, b"a")
        first, second = await final(rig, a, key="1"), await final(rig, a, key="2")
        assert len({first.id, second.id, (await final(rig, a)).id}) == 3
        assert await final(rig, a, key="1") == first
        check_stored(rig, second, b"a")

    run(main())


def test_after_its_termination_the_same_request_is_another_upload(rig, run):
    async def main():
        a = await partial(rig, b"a")
        first = await final(rig, a)
        await rig.engine.terminate(first.id)
        second = await final(rig, a)
        assert second.id != first.id
        check_stored(rig, second, b"a")

    run(main())


def test_what_cannot_be_concatenated_is_refused_and_nothing_is_created(make, run):
    """CC-08, CC-22, CC-23, CC-24, CC-25, D-35, D-36, D-37, D-42."""

    async def main():
        rig = make(limits=Limits(10))
        a, unfinished = await partial(rig, b"a" * 6), await partial(rig, b"abc", sent=2)
        whole, done = await rig.create(3), await final(rig, a)
        deferred = (await rig.engine.create(Create(length=None, concat=b"partial"), ScriptedBody())).upload
        ended = await partial(rig, b"x")
        await rig.engine.terminate(ended.id)
        before = dict(rig.ledger._rows)
        for partials, values, error in (
            ((a, unfinished), {}, BadPartial),
            ((a, whole), {}, BadPartial),
            ((a, done), {}, BadPartial),
            ((a, deferred), {}, BadPartial),
            ((a, "0" * 32), {}, NotFound),
            ((ended, a), {}, NotFound),
            ((a, a), {}, TooLarge),
            ((a,), {"length": 7}, BadPartial),
        ):
            with pytest.raises(error):
                await final(rig, *partials, **values)
        assert rig.ledger._rows == before
        assert (await final(rig, a, length=6)) == done

    run(main())


def test_an_expired_partial_upload_is_gone(make, run):
    """CC-22."""

    async def main():
        now = 1000.0
        rig = make(ledger=MemoryLedger(lambda: now), limits=Limits(expire_after=60.0), clock=lambda: now)
        a = await partial(rig, b"a")
        now += 60
        with pytest.raises(Gone):
            await final(rig, a)

    run(main())


def test_nothing_can_be_added_to_a_final_upload(rig, run):
    """CC-14, D-40: before anything else of the request is looked at."""

    async def main():
        upload = await final(rig, await partial(rig, b"a"))

        def read() -> Append:
            raise AssertionError("the head is not read")

        body = ScriptedBody(b"x")
        with pytest.raises(Forbidden):
            await rig.engine.append(upload.id, read, body)
        assert body.asked == 0
        assert await rig.row(upload.id) == upload

    run(main())


def test_a_long_concatenation_goes_on_behind_its_reply(make, run, monkeypatch):
    """CC-15: and what it is made of cannot go meanwhile."""

    async def main():
        monkeypatch.setattr(concatenate, "PATIENCE", 0.01)
        rig = make(spool=Gated(), pace=Pace(span=1, lapse=60.0))
        a, b = await partial(rig, b"aaa"), await partial(rig, b"bbb")
        rig.spool.slow = b.id
        upload = await final(rig, a, b)
        assert (upload.status, upload.length) == (Status.ASSEMBLING, 6)
        await until(lambda: rig.spool.waiting)
        with pytest.raises(Busy):
            await rig.engine.terminate(a.id)
        assert (await rig.engine.query(upload.id, interrupts=True)).upload.status is Status.ASSEMBLING
        rig.spool.gate.set()
        await rig.assembler.rest()
        check_stored(rig, await rig.row(upload.id), b"aaabbb")
        await rig.engine.terminate(a.id)

    run(main())


def test_a_final_upload_can_be_terminated_while_it_is_assembled(make, run, monkeypatch):
    async def main():
        monkeypatch.setattr(concatenate, "PATIENCE", 0.01)
        rig = make(spool=Gated())
        a, b = await partial(rig, b"aaa"), await partial(rig, b"bbb")
        rig.spool.slow = b.id
        upload = await final(rig, a, b)
        await until(lambda: rig.spool.waiting)
        ending = asyncio.create_task(rig.engine.terminate(upload.id))
        await asyncio.sleep(0.01)
        rig.spool.gate.set()
        await ending
        await rig.assembler.rest()
        row = await rig.row(upload.id)
        assert (row.status, row.reason) == (Status.GONE, Reason.TERMINATED)
        assert {name for name, _ in rig.spool.files()} == {a.id, b.id}

    run(main())


def test_a_stop_in_the_middle_keeps_what_was_assembled_and_the_queue_goes_on(make, run, monkeypatch):
    async def main():
        monkeypatch.setattr(concatenate, "PATIENCE", 0.01)
        rig = make(spool=Gated())
        a, b, c = [await partial(rig, each * 3) for each in (b"a", b"b", b"c")]
        rig.spool.slow = b.id
        upload = await final(rig, a, b, c)
        await until(lambda: rig.spool.waiting)
        rig.engine.stop(ShuttingDown())
        rig.spool.gate.set()
        await rig.assembler.rest()
        row = await rig.row(upload.id)
        assert (row.status, row.offset) == (Status.ASSEMBLING, 6)

        again = make(ledger=rig.ledger, spool=rig.spool, store=rig.store)
        loop = asyncio.create_task(again.worker.run())
        await until(lambda: rig.ledger._rows[upload.id].status is Status.STORED)
        loop.cancel()
        await asyncio.wait([loop])
        check_stored(again, await again.row(upload.id), b"aaabbbccc")

    run(main())


def test_the_digest_of_a_long_first_upload_is_taken_over_and_its_bytes_are_not_read(make, run):
    class Unread(MemorySpool):
        grafted: list[tuple[int, int]]

        def graft(self, upload_id, source_id, at, count):
            self.grafted.append((at, count))
            super().graft(upload_id, source_id, at, count)

        def staged(self, upload_id):
            assert upload_id != self.first
            return super().staged(upload_id)

    async def main():
        rig = make(spool=Unread())
        rig.spool.grafted, rig.spool.first = [], ""
        first, rest = await partial(rig, NOISE), await partial(rig, b"rest")
        rig.spool.first = first.id
        check_stored(rig, await final(rig, first, rest), NOISE + b"rest")
        assert rig.spool.grafted == [(0, len(NOISE))]

    run(main())


def test_a_long_copy_in_the_kernel_can_be_stopped(make, run, monkeypatch):
    async def main():
        monkeypatch.setattr(assemble, "GRAFT", MIB)
        monkeypatch.setattr(concatenate, "PATIENCE", 0.01)

        class Stopping(MemorySpool):
            grafts = 0

            def graft(self, upload_id, source_id, at, count):
                self.grafts += 1
                super().graft(upload_id, source_id, at, count)
                rig.engine.stop(ShuttingDown())

        rig = make(spool=Stopping())
        upload = await final(rig, await partial(rig, NOISE))
        await rig.assembler.rest()
        assert rig.spool.grafts == 1
        assert (await rig.row(upload.id)).status is Status.ASSEMBLING

    run(main())


def test_a_digest_that_was_declared_for_the_final_upload_is_held(rig, run):
    async def main():
        a = await partial(rig, b"a")
        right = hashlib.sha256(b"a").hexdigest()
        check_stored(rig, await final(rig, a, declared=right), b"a")
        with pytest.raises(DigestMismatch):
            await final(rig, a, declared="0" * 64)
        (row,) = [row for row in rig.ledger._rows.values() if row.declared == "0" * 64]
        assert (row.status, row.reason) == (Status.GONE, Reason.INVALID)

    run(main())


def test_without_room_for_all_of_it_nothing_is_created(make, run):
    class Full(MemorySpool):
        def admit(self, count=0):
            if count > 3:
                raise NoSpace

    async def main():
        rig = make(spool=Full())
        a = await partial(rig, b"aa")
        check_stored(rig, await final(rig, a), b"aa")
        before = dict(rig.ledger._rows)
        with pytest.raises(NoSpace):
            await final(rig, a, a)
        assert rig.ledger._rows == before

    run(main())


def test_a_disk_that_refuses_is_tried_again(make, run, caplog):
    class Refusing(MemorySpool):
        refusals = 1

        def open(self, upload_id, offset):
            if self.final and self.refusals:
                self.refusals -= 1
                raise NoSpace
            return super().open(upload_id, offset)

    async def main():
        rig = make(spool=Refusing())
        rig.spool.final = False
        a = await partial(rig, b"a")
        rig.spool.final = True
        upload = await final(rig, a)
        assert (upload.status, upload.attempts) == (Status.ASSEMBLING, 1)
        assert "no space" in upload.error
        await rig.assembler.begin(await rig.row(upload.id))
        check_stored(rig, await rig.row(upload.id), b"a")

    run(main())
    assert "is not assembled" in caplog.text


def test_bytes_that_are_missing_make_the_final_upload_lost(rig, run, caplog):
    async def main():
        a = await partial(rig, b"a")
        rig.spool.discard(a.id)
        with pytest.raises(Gone):
            await final(rig, a)
        (row,) = [row for row in rig.ledger._rows.values() if row.kind is Kind.FINAL]
        assert (row.status, row.reason) == (Status.GONE, Reason.LOST)
        assert rig.tally.lost == 1

    run(main())
    assert "is lost" in caplog.text


def test_a_final_upload_that_is_stored_in_the_end_says_nothing_of_what_failed_before(make, run):
    class Full(MemorySpool):
        full = True

        def open(self, upload_id, offset):
            if self.full and upload_id not in self.ours:
                raise NoSpace
            return super().open(upload_id, offset)

    spool = Full()
    rig = make(spool=spool)

    async def main():
        spool.full = False
        a = await partial(rig, b"a")
        spool.full, spool.ours = True, {a.id}
        upload = await final(rig, a)
        assert (upload.status, upload.attempts) == (Status.ASSEMBLING, 1)
        spool.full = False
        await rig.assembler.begin(await rig.row(upload.id))
        row = await rig.row(upload.id)
        assert (row.status, row.error) == (Status.STORED, None)

    run(main())


def test_a_disk_that_cannot_read_a_partial_upload_is_waited_for(make, run):
    class Torn(MemorySpool):
        torn = None

        def staged(self, upload_id):
            staged = super().staged(upload_id)
            if upload_id != self.torn:
                return staged
            return Staged(upload_id, lambda: Broken(staged.open()))

    class Broken:
        def __init__(self, file):
            self.file = file

        def seek(self, at):
            return self.file.seek(at)

        def readinto(self, view):
            raise OSError(5, "Input/output error")

        def close(self):
            self.file.close()

    spool = Torn()
    rig = make(spool=spool)

    async def main():
        a = await partial(rig, b"a")
        spool.torn = a.id
        upload = await final(rig, a)
        row = await rig.row(upload.id)
        assert (row.status, row.attempts) == (Status.ASSEMBLING, 1)  # postponed, with the reason, and not every 5 s
        spool.torn = None
        await rig.assembler.begin(await rig.row(upload.id))
        assert (await rig.row(upload.id)).status is Status.STORED

    run(main())


def test_a_command_that_ends_a_final_upload_loses_nothing(make, run):
    """`tusplyr uploads terminate` beside the server, while it is being assembled."""

    class Spool(MemorySpool):
        def staged(self, upload_id):
            if upload_id == self.ended:
                raise BytesLost("discarded by the command")
            return super().staged(upload_id)

    spool = Spool()
    spool.ended = None
    rig = make(spool=spool)

    async def main():
        a = await partial(rig, b"a")
        # The command's move comes right before the object is linked.
        place = rig.publisher.place

        def late(upload, sha256):
            row = rig.ledger._rows[upload.id]
            rig.ledger._rows[upload.id] = replace(
                row, status=Status.GONE, reason=Reason.TERMINATED, epoch=row.epoch + 1
            )
            spool.ended = upload.id
            return place(upload, sha256)

        rig.publisher.place = late
        with pytest.raises(NotFound):
            await final(rig, a)
        assert rig.tally.lost == 0

    run(main())


def test_room_is_asked_for_beside_what_others_that_wait_will_take(make, run, monkeypatch):
    class Small(Gated):
        room = 10

        def admit(self, count=0):
            if count > self.room:
                raise NoSpace

    async def main():
        monkeypatch.setattr(concatenate, "PATIENCE", 0.01)
        rig = make(spool=Small())
        a, b = await partial(rig, b"a" * 6), await partial(rig, b"b" * 5)
        rig.spool.slow = a.id
        await final(rig, a)
        with pytest.raises(NoSpace):
            await final(rig, b)
        rig.spool.gate.set()
        await rig.assembler.rest()
        check_stored(rig, await final(rig, b), b"bbbbb")

    run(main())


def test_what_does_not_fit_gives_its_room_back_and_begins_again(make, run):
    class Filling(MemorySpool):
        full = False

        def open(self, upload_id, offset):
            writer = super().open(upload_id, offset)
            real = writer.write

            def write(view, at):
                if self.full and at:
                    raise NoSpace
                real(view, at)

            writer.write = write
            return writer

    async def main():
        rig = make(spool=Filling(), pace=Pace(span=1, lapse=60.0))
        a, b = await partial(rig, b"aaa"), await partial(rig, b"bbb")
        rig.spool.full = True
        upload = await final(rig, a, b)
        assert (upload.status, upload.offset, upload.attempts) == (Status.ASSEMBLING, 0, 1)
        assert {name for name, _ in rig.spool.files()} == {a.id, b.id}
        rig.spool.full = False
        await rig.assembler.begin(upload)
        check_stored(rig, await rig.row(upload.id), b"aaabbb")

    run(main())


def test_a_short_upload_does_not_wait_behind_a_long_one(make, run, monkeypatch):
    async def main():
        monkeypatch.setattr(assemble, "SHORT", 4)
        monkeypatch.setattr(concatenate, "PATIENCE", 0.01)
        rig = make(spool=Gated())
        long, short = await partial(rig, b"long!"), await partial(rig, b"s")
        rig.spool.slow = long.id
        waiting = await final(rig, long)
        assert waiting.status is Status.ASSEMBLING
        monkeypatch.setattr(concatenate, "PATIENCE", 10.0)
        check_stored(rig, await final(rig, short), b"s")
        rig.spool.gate.set()
        await rig.assembler.rest()
        check_stored(rig, await rig.row(waiting.id), b"long!")

    run(main())


def test_only_so_many_are_asked_for_at_once(make, run, monkeypatch):
    async def main():
        monkeypatch.setattr(assemble, "CROWD", 1)
        monkeypatch.setattr(concatenate, "PATIENCE", 0.01)
        rig = make(spool=Gated())
        a, b = await partial(rig, b"a"), await partial(rig, b"b")
        rig.spool.slow = a.id
        first = await final(rig, a)
        with pytest.raises(Crowded):
            await final(rig, b)
        assert (await final(rig, a)).id == first.id  # asking again is not one more
        rig.spool.gate.set()
        await rig.assembler.rest()
        check_stored(rig, await final(rig, b), b"b")

    run(main())

"""Whatever clients do, in whatever order, and whenever the process dies: the law."""

import asyncio
import hashlib
import time
from dataclasses import dataclass, field

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from engine.mortal import Died, Fate, Mortal
from engine.rig import CUT, HANG, Rig, ScriptedBody, until
from tusplyr.core.commands import Append, Appended
from tusplyr.core.errors import Cut, Interrupted, NotFound, OffsetMismatch, StoreDown, TooLarge
from tusplyr.core.model import Reason, Status, Upload
from tusplyr.engine.intake import Pace
from tusplyr.ledger.memory import MemoryLedger
from tusplyr.spool.memory import MemorySpool, MemoryWriter
from tusplyr.stores.memory import MemoryStore

ORDER = list(Status)
ORDINARY = (Cut, Interrupted, OffsetMismatch, TooLarge, NotFound, asyncio.CancelledError)
WHOLE = bytes(range(1, 41))  # every upload promises a prefix of it, so that some have equal content


class OneWriterSpool(MemorySpool):
    """Refuses a second writer on a file: that there is one holder."""

    def __init__(self) -> None:
        super().__init__()
        self.writing: set[str] = set()

    def open(self, upload_id, offset):
        assert upload_id not in self.writing, "two holders"
        writer = super().open(upload_id, offset)
        self.writing.add(upload_id)
        return OneWriter(self, upload_id, writer._file)

    def crash(self, *, keep=0):
        super().crash(keep=keep)
        self.writing.clear()


class OneWriter(MemoryWriter):
    def close(self):
        self._spool.writing.discard(self._upload_id)


class FlakyStore(MemoryStore):
    """Refuses as long as it is told to."""

    down = False

    def publish(self, content, source, **how):
        if self.down:
            raise StoreDown("away")
        return super().publish(content, source, **how)


@dataclass
class Known:
    """What the model knows of an upload: its content, and the most that was acknowledged or seen."""

    id: str
    data: bytes
    seen: Upload | None = None
    offset: int = 0
    complete: bool = False
    ended: bool = False
    end_seen: bool = False  # of any body, and so it may be complete
    running: list[tuple[asyncio.Task, ScriptedBody]] = field(default_factory=list)

    def note(self, upload: Upload) -> None:
        assert upload.offset >= self.offset
        self.offset = upload.offset
        self.complete = self.complete or upload.sha256 is not None


class Uploads(RuleBasedStateMachine):
    """Uploads by clients that come and go, over an engine that dies and starts again."""

    ids = Bundle("ids")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.ledger, self.spool, self.store = MemoryLedger(), OneWriterSpool(), FlakyStore()
        self.now = time.time()
        self.known: dict[str, Known] = {}
        self.start()

    def start(self) -> None:
        self.fate = Fate(-1, after=False)
        ledger, spool, store = (Mortal(port, self.fate) for port in (self.ledger, self.spool, self.store))
        self.rig = Rig(ledger=ledger, spool=spool, store=store, pace=Pace(span=5), clock=lambda: self.now, retain=2e9)

    def at_the_end(self, upload_id: str) -> Append:
        return Append(offset=self.ledger._rows[upload_id].offset, body_length=None)

    def run(self, coroutine):
        async def limited():
            async with asyncio.timeout(5):
                result = await coroutine
                await until(self.quiet)
                return result

        result = self.runner.run(limited())
        self.reap()
        return result

    def quiet(self) -> bool:
        return all(task.done() or body.waiting for each in self.known.values() for task, body in each.running)

    def reap(self) -> None:
        """Take note of what clients were told."""
        for each in self.known.values():
            for task, body in [*each.running]:
                if not task.done():
                    continue
                each.running.remove((task, body))
                assert body.lent == []
                error = None if task.cancelled() else task.exception()
                if error:
                    assert isinstance(error, ORDINARY), repr(error)
                elif not task.cancelled():
                    each.note(task.result().upload)

    @rule(target=ids, length=st.integers(0, len(WHOLE)), first=st.integers(0, 10))
    def create(self, length, first):
        data = WHOLE[:length]
        script = [data[:first]] if first and data else []
        upload = self.run(self.rig.create(length, *script))
        self.known[upload.id] = each = Known(upload.id, data, end_seen=upload.offset == length)
        each.note(upload)
        return upload.id

    @rule(
        upload_id=ids,
        pieces=st.lists(st.integers(1, 9), max_size=5),
        end=st.sampled_from(["end", "end", "cut", "hang", "pause"]),
        beyond=st.booleans(),
    )
    def append(self, upload_id, pieces, end, beyond):
        each = self.known[upload_id]
        each.end_seen = each.end_seen or end in {"end", "pause"}

        async def start() -> None:
            def read() -> Append:
                return self.at_the_end(upload_id)

            row = await self.ledger.get(upload_id)
            found = row.offset
            if row.status is Status.RECEIVING and self.rig.claims.held(upload_id):
                found = (await self.rig.engine.query(upload_id, interrupts=True)).upload.offset
            script, at = [], found
            for length in pieces:
                piece = each.data[at : at + length] or (b"!" if beyond else b"")
                script += [piece] if piece else []
                at += len(piece)
            script += {"end": [], "cut": [CUT], "hang": [HANG], "pause": [0.001]}[end]
            body = ScriptedBody(*script)
            each.running.append((asyncio.create_task(self.rig.engine.append(upload_id, read, body)), body))

        self.run(start())

    @rule(upload_id=ids, by=st.integers(-5, 5).filter(bool))
    def append_elsewhere(self, upload_id, by):
        async def elsewhere():
            row = await self.ledger.get(upload_id)
            if row.status is Status.RECEIVING and self.rig.claims.held(upload_id):
                row = (await self.rig.engine.query(upload_id, interrupts=True)).upload
            body = ScriptedBody(b"wrong")
            try:
                await self.rig.append(upload_id, row.offset + by, body)
            except (OffsetMismatch, NotFound):
                assert body.asked == 0
            else:
                raise AssertionError("appended elsewhere")

        self.run(elsewhere())

    @rule(upload_id=ids, interrupts=st.booleans())
    def query(self, upload_id, interrupts):
        async def ask():
            try:
                return (await self.rig.engine.query(upload_id, interrupts=interrupts)).upload
            except NotFound:
                return None

        found = self.run(ask())
        each = self.known[upload_id]
        assert (found is None) is each.ended
        if found:
            each.note(found)

    @rule(upload_id=consumes(ids))
    def terminate(self, upload_id):
        self.run(self.rig.engine.terminate(upload_id))
        self.known[upload_id].ended = True

    @rule(upload_id=ids, times=st.integers(1, 3))
    def cancel(self, upload_id, times):
        async def cancel():
            for task, _ in self.known[upload_id].running:
                for _ in range(times):
                    task.cancel()
                    await asyncio.sleep(0)

        self.run(cancel())

    @rule(down=st.booleans())
    def store_goes(self, down):
        self.store.down = down

    @rule()
    def work_through_the_queue(self):
        async def work():
            self.now += 1000
            due = await self.ledger.due(Status.RECEIVED, self.now, 100)
            loop = asyncio.create_task(self.rig.worker.run())
            for row in due:
                while not self.tried(row):
                    assert not loop.done()
                    await asyncio.sleep(0.001)
            loop.cancel()
            await asyncio.wait([loop])

        self.run(work())

    def tried(self, row: Upload) -> bool:
        now = self.ledger._rows[row.id]
        return now.status is not Status.RECEIVED or now.attempts > row.attempts

    @rule()
    def sweep(self):
        self.run(self.rig.sweeper.sweep(grace=0))

    @rule(
        target=ids,
        keep=st.sampled_from([0, 1, 3, 1000]),
        moment=st.integers(0, 40),
        upload_id=ids,
        end=st.sampled_from([[], [HANG]]),
    )
    def crash_while_appending(self, keep, moment, upload_id, end):
        """Power is lost some calls of ports from now, in publishing maybe; whoever is connected is cut off."""
        each = self.known[upload_id]
        each.end_seen = each.end_seen or not end
        self.fate._left = moment + 1  # dies at that call

        async def last_words():
            row = await self.ledger.get(upload_id)
            script = [each.data[at : at + 3] for at in range(row.offset, len(each.data), 3)]
            body = ScriptedBody(*script, *end)
            append = self.rig.engine.append(upload_id, lambda: Append(offset=row.offset, body_length=None), body)
            tasks = [asyncio.create_task(append), *(task for each in self.known.values() for task, _ in each.running)]
            await asyncio.wait(tasks[:1], timeout=0.01)
            self.fate.end()
            for task in tasks:
                task.cancel()
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(outcome, Appended):
                    self.known[outcome.upload.id].note(outcome.upload)
                else:
                    assert isinstance(outcome, (Died, *ORDINARY)), repr(outcome)

        self.runner.run(last_words())
        for other in self.known.values():
            other.running.clear()
        self.rig.close()
        self.spool.crash(keep=keep)
        self.start()
        return multiple()

    @invariant()
    def rows_keep_the_law(self):
        for each in self.known.values():
            row = self.ledger._rows[each.id]
            before, each.seen = each.seen or row, row
            assert row.offset >= before.offset
            assert ORDER.index(row.status) >= ORDER.index(before.status)
            assert row.offset >= each.offset
            assert (row.sha256 is not None) is (row.offset == len(each.data))
            if each.complete and not each.ended:
                assert row.status in {Status.RECEIVED, Status.STORED}
            if row.sha256:
                assert each.end_seen
                assert row.sha256 == hashlib.sha256(each.data).hexdigest()
            assert (row.status is Status.GONE) is each.ended
            assert row.reason is (Reason.TERMINATED if each.ended else None)

    @invariant()
    def bytes_below_the_offset_are_those_that_were_sent(self):
        for each in self.known.values():
            row = self.ledger._rows[each.id]
            begun = row.status is Status.RECEIVING and row.offset  # no file is made before the first append
            if begun or row.status is Status.RECEIVED:
                assert bytes(self.spool._files[each.id][: row.offset]) == each.data[: row.offset]
                assert self.spool._synced[each.id] >= row.offset
                assert each.id in self.spool._named
            if row.status is Status.STORED:
                assert self.store._objects[row.key] == each.data

    @invariant()
    def only_those_who_run_hold(self):
        held = {each.id for each in self.known.values() if any(not task.done() for task, _ in each.running)}
        assert set(self.rig.claims._claims) == held

    def teardown(self):
        self.run(self.hang_up())
        assert self.rig.idle()
        self.rig.close()
        self.runner.close()

    async def hang_up(self) -> None:
        tasks = [task for each in self.known.values() for task, _ in each.running]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


TestUploads = Uploads.TestCase
TestUploads.settings = settings(
    max_examples=120, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)

"""The queue of what the server has to do: what fails in it must not keep others waiting."""

import asyncio

from msgspec.structs import replace

from engine.rig import until
from engine.test_concatenating import final, partial
from tusplyr.core.errors import StoreDown
from tusplyr.core.model import Status
from tusplyr.engine import worker
from tusplyr.ports import Staged
from tusplyr.spool.memory import MemorySpool
from tusplyr.stores.memory import MemoryStore


class Spool(MemorySpool):
    torn: frozenset[str] = frozenset()

    def staged(self, upload_id):
        if upload_id not in self.torn:
            return super().staged(upload_id)

        def fail():
            raise RuntimeError("what nobody expected")

        return Staged(upload_id, fail)


class Store(MemoryStore):
    down = False

    def publish(self, *arguments, **options):
        if self.down:
            raise StoreDown("it is away")
        return super().publish(*arguments, **options)


def test_finals_that_fail_unexpectedly_do_not_starve_what_waits_to_be_published(make, run, monkeypatch):
    monkeypatch.setattr(worker, "GLANCE", 0.3)
    rig = make(spool=Spool(), store=Store())

    async def main():
        for number in range(worker.BATCH + 1):
            upload = await partial(rig, b"%d" % number)
            rig.spool.torn |= {upload.id}
            await final(rig, upload)
        rig.store.down = True
        waiting = await rig.create(3, b"abc")
        assert waiting.status is Status.RECEIVED
        rig.store.down = False
        loop = asyncio.create_task(rig.worker.run())
        await until(lambda: rig.ledger._rows[waiting.id].status is Status.STORED)
        loop.cancel()
        await asyncio.wait([loop])

    run(main())


def test_finals_that_fail_unexpectedly_are_counted_and_do_not_starve_other_finals(make, run, monkeypatch, caplog):
    monkeypatch.setattr(worker, "GLANCE", 0.01)
    rig = make(spool=Spool(), store=Store())

    async def main():
        broken = []
        for number in range(worker.BATCH + 1):
            upload = await partial(rig, b"%d" % number)
            rig.spool.torn |= {upload.id}
            broken.append(await final(rig, upload))
        assert all(rig.ledger._rows[each.id].attempts == 1 for each in broken)
        assert rig.ledger._rows[broken[0].id].error == "RuntimeError: what nobody expected"
        whole = await partial(rig, b"healthy")
        rig.spool.torn |= {whole.id}
        waiting = await final(rig, whole)
        rig.spool.torn -= {whole.id}
        for each in (*broken, waiting):
            rig.ledger._rows[each.id] = replace(rig.ledger._rows[each.id], due_at=0.0)
        loop = asyncio.create_task(rig.worker.run())
        await until(lambda: rig.ledger._rows[waiting.id].status is Status.STORED)
        loop.cancel()
        await asyncio.wait([loop])
        await rig.assembler.rest()

    run(main())
    assert "is not assembled (attempt 1): RuntimeError: what nobody expected" in caplog.text

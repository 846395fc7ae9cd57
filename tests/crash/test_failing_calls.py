"""Death at every call of every port: whatever was told before it is true afterwards, and the client can go on.

A life of uploads (create, append, cut, overrun, resume, complete, publish, queue, terminate, sweep) runs until its
n-th call of a port, or of the disk, and stops there for good; then a new engine takes over what is left. Cheap,
since no process is started: real kills are in the other files of this directory.
"""

import asyncio
import hashlib
import itertools
import os
import shutil
import threading
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest

from engine.mortal import Died, Fate, Mortal
from engine.rig import CUT, Rig, ScriptedBody, until
from tusplyr.core.commands import Concatenate, Create
from tusplyr.core.decide import Limits
from tusplyr.core.errors import Cut, StoreDown, TooLarge
from tusplyr.core.media import OTHER
from tusplyr.core.model import Kind, Reason, Status
from tusplyr.engine import assemble
from tusplyr.engine.intake import Pace
from tusplyr.ledger import sql
from tusplyr.ledger.memory import MemoryLedger
from tusplyr.ledger.migrate import migrate
from tusplyr.ledger.sql import SqlLedger
from tusplyr.spool.disk import DiskSpool
from tusplyr.spool.memory import MemorySpool
from tusplyr.stores.filesystem import INCOMING, FilesystemStore
from tusplyr.stores.memory import MemoryStore

DATA = b"0123456789AB"
LATE = b"published late"
STRIDE = 4
AGE = 1e5  # seconds without progress after which an upload expires
DISK_CALLS = ("open", "pwrite", "ftruncate", "fdatasync", "fsync", "link", "rename", "unlink")


class LateStore:
    """A store that refuses one content once. Where it is not prompt, the queue publishes everything."""

    def __init__(self, target, *, prompt: bool = True) -> None:
        self.prompt = prompt
        self.target = target
        self.refused = False

    def publish(self, content, source, **how):
        if content.length == len(LATE) and not self.refused:
            self.refused = True
            raise StoreDown("not now")
        return self.target.publish(content, source, **how)

    def open(self, key):
        return self.target.open(key)

    def has(self, content):
        return self.target.has(content)

    def keys(self):
        return self.target.keys()

    def sweep(self, older_than):
        return self.target.sweep(older_than)


class ShippingStore(LateStore):
    """A store that takes the beginning of a content ahead, in strides of four bytes; what it has survives a death."""

    def __init__(self, target) -> None:
        super().__init__(target, prompt=False)
        self.shipped: dict[str, bytes] = {}

    def stride(self, length):
        return STRIDE if length > STRIDE else None

    def ship(self, content, source, upto, **how):
        with source.open() as file:
            self.shipped[source.id] = file.read(upto - upto % STRIDE)

    def publish(self, content, source, **how):
        with source.open() as file:
            assert file.read().startswith(self.shipped.get(source.id, b"")), "it would not be sent again"
        return super().publish(content, source, **how)


@pytest.fixture(autouse=True)
def short_lives(monkeypatch):
    monkeypatch.setattr(assemble, "WORTH", 1)
    monkeypatch.setattr(sql, "SHARES", 2)  # there are few rows, and many sweeps


@dataclass
class Told:
    """What the client of one upload knows."""

    data: bytes
    offset: int = 0
    sha256: str | None = None
    ending: bool = False
    ended: bool = False
    partial: bool = False


@dataclass
class World:
    """What survives a death, and what was told before it."""

    ledger: object
    spool: object
    store: object
    told: dict[str, Told] = field(default_factory=dict)
    final: Concatenate | None = None  # was asked for
    final_id: str | None = None  # was told
    now: float = field(default_factory=time.time)

    def rig(self, fate: Fate | None = None) -> Rig:
        ports = (self.ledger, self.spool, self.store)
        ledger, spool, store = (Mortal(port, fate) for port in ports) if fate else ports
        return Rig(
            ledger=ledger,
            spool=spool,
            store=store,
            pace=Pace(span=4),
            clock=lambda: self.now,
            limits=Limits(expire_after=AGE),
            retain=100 * AGE,
            overlaps=isinstance(self.store, ShippingStore),
        )

    def note(self, upload, data: bytes | None = None) -> str:
        """Remember a reply."""
        if data is not None:
            self.told[upload.id] = Told(data, partial=upload.kind is Kind.PARTIAL)
        told = self.told[upload.id]
        assert upload.offset >= told.offset
        told.offset = upload.offset
        told.sha256 = upload.sha256
        return upload.id


async def life(world: World, rig: Rig, fate: Fate | None) -> None:
    async def create(data: bytes, *script) -> str:
        upload = await rig.create(len(data), *script)
        world.note(upload, data)
        await discarded(world, upload, fate)
        return upload.id

    async def append(upload_id: str, offset: int, *script) -> None:
        upload = await rig.append(upload_id, offset, ScriptedBody(*script))
        world.note(upload)
        await discarded(world, upload, fate)

    async def terminate(upload_id: str) -> None:
        world.told[upload_id].ending = True
        await rig.engine.terminate(upload_id)
        world.told[upload_id].ended = True

    async def published(upload_id: str) -> None:
        if not world.store.prompt:
            await queue(world, rig, upload_id, fate)

    song = await create(DATA)
    await append(song, 0, DATA[:3], DATA[3:5], DATA[5:6])
    with suppress(Cut):
        await append(song, 6, DATA[6:8], CUT)
    assert world.note((await rig.engine.query(song, interrupts=True)).upload) == song
    with suppress(TooLarge):
        await append(song, 8, DATA[8:], b"!")
    await append(song, 8, DATA[8:10], DATA[10:])
    await published(song)
    again = await create(DATA, DATA[:5], DATA[5:])
    await published(again)
    await create(b"")
    await terminate(await create(DATA, DATA[:5]))
    await terminate(again)
    with suppress(TooLarge):
        await rig.create(5, b"123", b"456")
    late = await create(LATE, LATE)
    await queue(world, rig, late, fate)
    await expire(world, rig, await create(DATA, DATA[:2]))
    await concatenate(world, rig, fate)
    await rig.sweeper.sweep(grace=0)


async def shipping_life(world: World, rig: Rig, fate: Fate | None) -> None:
    """What is declared is shipped while it comes in."""
    upload = await rig.create(len(DATA), declared=hashlib.sha256(DATA).hexdigest())
    world.note(upload, DATA)
    for piece in (DATA[:5], DATA[5:9], DATA[9:]):
        world.note(await rig.append(upload.id, world.told[upload.id].offset, ScriptedBody(piece)))
        await until(lambda: fate.dead or not rig.overlap._shipments)
    await queue(world, rig, upload.id, fate)
    if fate.dead:
        raise Died  # the background task died of it


async def expire(world: World, rig: Rig, upload_id: str) -> None:
    """Let an upload be without progress for too long."""
    world.told[upload_id].ending = True
    world.now += 2 * AGE
    try:
        assert (await rig.sweeper.sweep(grace=0)).expired == 1
    finally:
        world.now -= 2 * AGE
    world.told[upload_id].ended = True


async def concatenate(world: World, rig: Rig, fate: Fate | None) -> None:
    """Send two halves and have them put together."""
    halves = []
    for half in (DATA[:7], DATA[7:]):
        upload = (await rig.engine.create(Create(length=len(half), concat=b"partial"), ScriptedBody())).upload
        halves.append(world.note(upload, half))
        world.note(await rig.append(upload.id, 0, ScriptedBody(half)))
    world.final = Concatenate(partials=tuple(halves), concat=b"final;...", media=OTHER)
    upload = (await rig.engine.concatenate(world.final)).upload
    if fate and fate.dead:
        raise Died  # the background task died of it, and its request would have been told nothing
    world.final_id = upload.id
    await discarded(world, upload, fate)


async def discarded(world: World, upload, fate: Fate | None) -> None:
    """Wait for what nobody waits for, so that the n-th call is the same one in every life."""
    while upload.status is Status.STORED and not (fate and fate.dead):
        if upload.id not in dict(await asyncio.to_thread(lambda: list(world.spool.files()))):
            return
        await asyncio.sleep(0)


async def queue(world: World, rig: Rig, upload_id: str, fate: Fate | None) -> None:
    """Let the queue be worked through until the upload is stored, or for good."""
    world.now += 400
    loop = asyncio.create_task(rig.worker.run())
    while (row := await world.ledger.get(upload_id)).status is not Status.STORED and not loop.done():
        if fate and fate.dead:
            break
        if row.due_at > world.now:  # it was refused
            world.now = row.due_at
            rig.publisher.handover.announce()
        await asyncio.sleep(0.001)
    loop.cancel()
    await asyncio.wait([loop])
    if not loop.cancelled():
        raise loop.exception()


async def recover(world: World, rig: Rig) -> None:
    """What must be true of what is left, and a client that goes on with it."""
    for upload_id, told in world.told.items():
        row = await rig.row(upload_id)
        if told.ended or (told.ending and row.status is Status.GONE):
            assert row.reason in {Reason.TERMINATED, Reason.EXPIRED}
            continue
        assert row.status is not Status.GONE
        assert row.offset >= told.offset
        if told.sha256:
            assert row.status in {Status.RECEIVED, Status.STORED}
        if row.status is Status.RECEIVING:
            if row.offset:
                staged = await asyncio.to_thread(rig.staged, upload_id)
                assert staged[: row.offset] == told.data[: row.offset]
            assert row.offset < len(told.data) or told.partial
        found = (await rig.engine.query(upload_id, interrupts=True)).upload
        assert found.offset == row.offset
        if found.status is Status.RECEIVING:
            await rig.append(upload_id, found.offset, ScriptedBody(told.data[found.offset :]))
        if told.partial:
            continue
        await queue(world, rig, upload_id, None)
        row = await rig.row(upload_id)
        assert row.sha256 == hashlib.sha256(told.data).hexdigest()
        assert await asyncio.to_thread(rig.stored, row.key) == told.data


async def recover_final(world: World, rig: Rig) -> None:
    """Whoever asked for a final upload asks again, and it is the one that was told of."""
    if world.final is None:
        return
    upload = (await rig.engine.concatenate(world.final)).upload
    assert world.final_id in {None, upload.id}
    await queue(world, rig, upload.id, None)
    row = await rig.row(upload.id)
    assert row.sha256 == hashlib.sha256(DATA).hexdigest()
    assert await asyncio.to_thread(rig.stored, row.key) == DATA


async def check_clean(world: World, rig: Rig) -> None:
    """After the queue and a sweep nothing is left that nobody needs, and every object is what its key says."""
    world.now = time.time() + 1000
    waiting = [await rig.ledger.due(status, world.now, 100) for status in (Status.RECEIVED, Status.ASSEMBLING)]
    for row in itertools.chain(*waiting):
        await queue(world, rig, row.id, None)
    await rig.sweeper.sweep(grace=0)
    await asyncio.to_thread(rig.close)  # discards are not waited for, except here
    rig = world.rig()
    report = await rig.sweeper.sweep(grace=0)
    assert (report.discarded, report.unfinished) == (0, 0)
    await asyncio.to_thread(rig.close)
    await asyncio.to_thread(check_store, rig)


def check_store(rig: Rig) -> None:
    for key in rig.store.keys():  # noqa: SIM118 - a port, not a dict
        assert hashlib.sha256(rig.stored(key)).hexdigest()[:16] in key


async def die_and_recover(world: World, fate: Fate, crash, live=life) -> bool:
    """Live until the fated call, then go on from what is left. Return whether it came to that."""
    rig = world.rig(fate)
    with suppress(Died):
        await live(world, rig, fate)
    await asyncio.to_thread(rig.close)
    async with crash(world) as left:
        after = left.rig()
        await recover(left, after)
        await recover_final(left, after)
        await check_clean(left, after)
    return fate.dead


@pytest.mark.parametrize("after", [False, True], ids=["before the call", "after the call"])
@pytest.mark.parametrize("keep", [0, 1, 1000], ids=["power lost", "power lost, a byte kept", "killed"])
@pytest.mark.parametrize("prompt", [True, False], ids=["in the request", "by the queue"])
def test_death_at_any_call_of_a_port_in_memory(run, after, keep, prompt):
    @asynccontextmanager
    async def crash(world):
        world.spool.crash(keep=keep)
        world.store.refused = True  # it is not what this is about
        yield world

    async def main():
        every = {
            "create",
            "get",
            "checkpoint",
            "move",
            "content",
            "postpone",
            "hasten_all",
            "due",
            "purge",
            "admit",
            "keep",
        }
        every |= {
            "idle",
            "graft",
            "open",
            "write",
            "sync",
            "close",
            "staged",
            "discard",
            "files",
            "publish",
            "has",
            "sweep",
        }
        seen = set()
        for _ in range(5):  # a sync may cover what another would have: the n-th call is not the same one in every life
            nth, dead = 1, True
            while dead:
                world = World(MemoryLedger(), MemorySpool(), LateStore(MemoryStore(), prompt=prompt))
                fate = Fate(nth, after=after)
                if dead := await die_and_recover(world, fate, crash):
                    seen.add(fate.last)
                nth += 1
            if seen == every:
                break
        assert seen == every

    run(main())


@pytest.mark.parametrize("after", [False, True], ids=["before the call", "after the call"])
@pytest.mark.parametrize("keep", [0, 1, 1000], ids=["power lost", "power lost, a byte kept", "killed"])
def test_death_at_any_call_of_a_port_while_parts_are_shipped(run, after, keep):
    @asynccontextmanager
    async def crash(world):
        world.spool.crash(keep=keep)
        world.store.refused = True
        for upload_id, parts in world.store.shipped.items():
            assert (await world.ledger.get(upload_id)).offset >= len(parts), "more is shipped than is acknowledged"
        yield world

    async def main():
        seen, nth, dead = set(), 1, True
        while dead:
            world = World(MemoryLedger(), MemorySpool(), ShippingStore(MemoryStore()))
            fate = Fate(nth, after=after)
            if dead := await die_and_recover(world, fate, crash, shipping_life):
                seen.add(fate.last)
            nth += 1
        assert seen >= {"stride", "ship", "publish", "checkpoint", "move", "keep", "content", "staged"}

    run(main())


@pytest.fixture(params=["one volume", "two volumes"])
def stores(request, tmp_path):
    """Where the store is, beside the spool or on another volume."""
    root = tmp_path if request.param == "one volume" else request.getfixturevalue("other_volume")
    (root / "stores").mkdir()
    return root / "stores"


@pytest.fixture
def template(tmp_path):
    migrate(tmp_path / "template.db")
    return tmp_path / "template.db"


@asynccontextmanager
async def on_disk(place, template, store):
    """A world on a real disk."""
    place.mkdir()
    store.mkdir()
    (place / "spool").mkdir()
    shutil.copy(template, place / "tusplyr.db")
    ledger = await SqlLedger.open(place / "tusplyr.db")
    try:
        yield World(ledger, DiskSpool(place / "spool"), LateStore(FilesystemStore(store)))
    finally:
        await ledger.close()


def reopened(place, store):
    """Everything is opened again, as by a new process."""

    @asynccontextmanager
    async def crash(world):
        await world.ledger.close()
        ledger = await SqlLedger.open(place / "tusplyr.db")
        try:
            spool, objects = DiskSpool(place / "spool"), FilesystemStore(store)
            yield World(ledger, spool, objects, world.told, world.final, world.final_id)
        finally:
            await ledger.close()

    return crash


def test_death_at_any_call_of_a_port_on_disk(run, tmp_path, template):
    async def main():
        nth, dead = 1, True
        while dead:
            place = tmp_path / str(nth)
            async with on_disk(place, template, place.with_suffix(".store")) as world:
                fate = Fate(nth, after=nth % 2 == 0)
                dead = await die_and_recover(world, fate, reopened(place, place.with_suffix(".store")))
            nth += 1
        assert nth > 60

    run(main())


def test_death_at_any_call_of_the_disk(run, tmp_path, template, stores, monkeypatch):
    """Finer than the ports: between the link and the sync of its directory, in the middle of a copy."""
    left_behind = 0

    async def main():
        nonlocal left_behind
        nth, dead = 1, True
        while dead:
            place, store = tmp_path / str(nth), stores / str(nth)
            async with on_disk(place, template, store) as world:
                fate = Fate(nth, after=False)
                with monkeypatch.context() as patch:
                    for name in DISK_CALLS:
                        patch.setattr(os, name, fated(fate, getattr(os, name)))
                    rig = world.rig()
                    with suppress(Died):
                        await life(world, rig, fate)
                    await asyncio.to_thread(rig.close)
                left_behind += len(list((store / INCOMING).glob("*")))
                dead = fate.dead
                async with reopened(place, store)(world) as left:
                    after = left.rig()
                    await recover(left, after)
                    await recover_final(left, after)
                    await check_clean(left, after)
            assert list((store / INCOMING).glob("*")) == []
            nth += 1
        assert nth > 30

    run(main())
    assert (left_behind > 0) is (stores.stat().st_dev != tmp_path.stat().st_dev)


def fated(fate: Fate, function):
    """A call of the disk, in worker threads only: the loop and SQLite live on."""

    def call(*args, **values):
        if threading.current_thread().name.startswith("tusplyr-disk"):
            fate.before(function.__name__)
        return function(*args, **values)

    return call

"""Death between publishing and the row: the staged file is the object, and not one byte may reach it any more.

The client knows nothing of it. It comes back with the same rest, or with another one; the server may die again in
the middle of giving it a file of its own.
"""

import asyncio
import hashlib
import os
import threading
from contextlib import asynccontextmanager, suppress

import pytest

from engine.mortal import Died, Fate
from engine.rig import Rig, ScriptedBody
from tusplyr.core.model import Status
from tusplyr.engine.intake import Pace
from tusplyr.ledger.migrate import migrate
from tusplyr.ledger.sql import SqlLedger
from tusplyr.spool.disk import DiskSpool
from tusplyr.stores.filesystem import FilesystemStore

DATA = b"0123456789AB"
OTHER = b"01234567other"[:12]
DISK_CALLS = ("open", "pwrite", "ftruncate", "fdatasync", "fsync", "link", "rename", "dup2")


class LastWords:
    """A ledger whose process dies when it is to say `stored`."""

    def __init__(self, ledger: SqlLedger) -> None:
        self._ledger = ledger

    def __getattr__(self, name: str):
        return getattr(self._ledger, name)

    async def checkpoint(self, upload, offset, digest, sha256=None, content=None):
        if content:
            raise Died
        return await self._ledger.checkpoint(upload, offset, digest, sha256, content)


def key_of(data: bytes) -> str:
    return f"audio/{hashlib.sha256(data).hexdigest()[:16]}.wav"


@asynccontextmanager
async def opened(place, ledger_of=lambda ledger: ledger):
    """An engine on what is on disk, as a new process finds it."""
    ledger = await SqlLedger.open(place / "tusplyr.db")
    rig = Rig(
        ledger=ledger_of(ledger),
        spool=DiskSpool(place / "spool"),
        store=FilesystemStore(place / "store"),
        pace=Pace(span=4),
    )
    try:
        yield rig
    finally:
        await asyncio.to_thread(rig.close)
        await ledger.close()


async def published_and_dead(place, offset: int) -> str:
    """Die with the link made and the row at the offset. Return the id of the upload."""
    for folder in ("spool", "store"):
        (place / folder).mkdir(parents=True)
    await asyncio.to_thread(migrate, place / "tusplyr.db")
    async with opened(place, LastWords) as rig:
        upload = await rig.create(len(DATA))
        if offset:
            await rig.append(upload.id, 0, ScriptedBody(DATA[:offset]))
        with suppress(Died):
            await rig.append(upload.id, offset, ScriptedBody(DATA[offset:], known=True))
        row = await rig.row(upload.id)
        assert (row.status, row.offset) == (Status.RECEIVING, offset)
    staged = (place / "spool" / upload.id).stat()
    assert staged.st_nlink == 2
    assert staged.st_ino == (place / "store" / key_of(DATA)).stat().st_ino
    return upload.id


def fated(fate: Fate, function):
    """A call of the disk, in worker threads only: the loop and SQLite live on."""

    def call(*args, **values):
        if threading.current_thread().name.startswith("tusplyr-disk"):
            fate.before(function.__name__)
        return function(*args, **values)

    return call


async def finish_with(place, upload_id: str, data: bytes) -> None:
    """Send the rest; both objects are what their keys say, and nothing is left that nobody needs."""
    async with opened(place) as rig:
        row = await rig.row(upload_id)
        if row.status is Status.RECEIVING:
            row = await rig.append(upload_id, row.offset, ScriptedBody(data[row.offset :]))
        assert (row.status, row.key) == (Status.STORED, key_of(data))
        await asyncio.to_thread(rig.close)
    async with opened(place) as rig:
        await rig.sweeper.sweep(grace=0)
        assert list((place / "spool").iterdir()) == []
        assert (place / "store" / key_of(DATA)).read_bytes() == DATA
        assert (place / "store" / key_of(data)).read_bytes() == data
        assert await asyncio.to_thread(lambda: set(rig.store.keys())) == {key_of(DATA), key_of(data)}


@pytest.mark.parametrize("data", [DATA, OTHER], ids=["the same rest", "another rest"])
@pytest.mark.parametrize("offset", [0, 5])
def test_a_client_that_comes_back_is_served_and_the_object_stays_whole(run, tmp_path, offset, data):
    async def main():
        upload_id = await published_and_dead(tmp_path / "life", offset)
        await finish_with(tmp_path / "life", upload_id, data)

    run(main())


@pytest.mark.parametrize("data", [DATA, OTHER], ids=["the same rest", "another rest"])
def test_death_at_any_call_of_the_disk_while_it_is_served(run, tmp_path, monkeypatch, data):
    half_made = 0

    async def main():
        nonlocal half_made
        nth, dead = 1, True
        while dead:
            place = tmp_path / str(nth)
            upload_id = await published_and_dead(place, 5)
            fate = Fate(nth, after=False)
            with monkeypatch.context() as patch:
                for name in DISK_CALLS:
                    patch.setattr(os, name, fated(fate, getattr(os, name)))
                async with opened(place) as rig:
                    with suppress(Died):
                        await rig.append(upload_id, 5, ScriptedBody(data[5:]))
            dead = fate.dead
            half_made += (place / "spool" / f"{upload_id}.own").exists()
            assert (place / "store" / key_of(DATA)).read_bytes() == DATA
            await finish_with(place, upload_id, data)
            nth += 1
        assert nth > 8

    run(main())
    assert half_made == 2  # before it was synced, and before it took the name

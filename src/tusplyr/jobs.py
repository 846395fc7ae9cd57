"""What the commands do that change or check what a server keeps.

Owns one function for each, over what `app` has put together. Must not know how a command is called or what it prints.
Invariant: each works beside a running server, and is safe there.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, closing, suppress
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from tusplyr.app import StartFailed, chosen_store, limits_of, locked, wired_up
from tusplyr.core import decide
from tusplyr.core.digest import hash_file_chunked
from tusplyr.core.errors import NotFound, StoreDown, Superseded, TusplyrError
from tusplyr.core.lifecycle import WAITING
from tusplyr.core.model import Content
from tusplyr.engine.endings import Endings
from tusplyr.engine.handover import Handover
from tusplyr.engine.offload import Offload, Result
from tusplyr.engine.sweep import GRACE, SweepReport
from tusplyr.engine.tally import Tally
from tusplyr.ledger.listing import find_place, list_contents
from tusplyr.ledger.memory import MemoryJournal
from tusplyr.ledger.sql import SqlLedger
from tusplyr.ports import Store
from tusplyr.settings import Settings
from tusplyr.spool.disk import DiskSpool

UNKNOWN = "unknown"
FOR_EVER = 1e12  # Unix seconds
MANY = 1_000_000  # uploads


class Checked(Struct, frozen=True):
    """One content key after a check. `problem` is None when all is well."""

    key: str
    length: int
    problem: str | None


def sweep(settings: Settings) -> SweepReport:
    """Sweep once. Blocking; safe beside a running server, more thorough without one.

    A bucket is left alone where the server publishes to another one than these settings name.

    Raises:
        StartFailed: the data directory is not there or cannot be used.
    """

    async def run() -> SweepReport:
        # A running server may have promised another time than this command was told of, and expires by itself.
        limits = limits_of(settings) if alone else replace(limits_of(settings), expire_after=None)
        async with wired_up(settings, limits) as wired:
            return await wired.sweeper.sweep(0.0 if alone else GRACE, everywhere=not elsewhere(settings))

    with ExitStack() as stack:
        try:
            stack.enter_context(locked(settings.data_dir))
            alone = True
        except StartFailed:
            alone = False
        return _run(run)


def terminate(settings: Settings, upload_id: str) -> bool:
    """End an upload, as a DELETE would. Blocking; safe beside a running server. False when there is none.

    Raises:
        StartFailed: the data directory is not there or cannot be used.
    """

    async def run() -> bool:
        async with _open(settings) as ledger:
            with closing(Offload(1)) as offload:
                endings = Endings(ledger, DiskSpool(settings.spool), offload, Tally(), Handover())
                try:
                    # Whether it has expired is the server's to say: here it is to be ended in any case.
                    await endings.terminated(decide.present(await ledger.get(upload_id), limits_of(settings)))
                except NotFound:
                    return False
                return True

    return _run(run)


def retry(settings: Settings, upload_ids: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Make uploads due that wait to be published, all of them where none is named. Blocking; beside a running server.

    Yields each id, and what it is instead where it does not wait: a status, or ``unknown``.
    """

    async def run() -> list[tuple[str, str]]:
        async with _open(settings) as ledger:
            now = time.time()
            waiting = [row.id for status in WAITING for row in await ledger.due(status, FOR_EVER, MANY)]
            named = upload_ids or waiting
            return [(each, await _hasten(ledger, each, now)) for each in named]

    yield from _run(run)


async def _hasten(ledger: SqlLedger, upload_id: str, now: float) -> str:
    while row := await ledger.get(upload_id):
        if row.status not in WAITING:
            return row.status.value
        with suppress(Superseded):  # it has just been published, or an attempt has failed: look again
            await ledger.hasten(row, now)
            return ""
    return UNKNOWN


def elsewhere(settings: Settings) -> str | None:
    """Return where the server publishes to if these settings name another place. Blocking; raises `LedgerDown`."""
    place = find_place(settings.database)
    return place.current if place and place.current != settings.place else None


def former(settings: Settings) -> str | None:
    """Return where the server published to before. Blocking; raises `LedgerDown`."""
    place = find_place(settings.database)
    return place.former if place else None


def verify(settings: Settings) -> Iterator[Checked]:
    """Read every object of the store and compare it with the ledger, then look for what is missing. Blocking."""
    known = {content.key: content for content in list_contents(settings.database)}
    store = chosen_store(settings, MemoryJournal())
    for key in store.keys():  # noqa: SIM118 - not a dict
        yield _check(store, key, known.pop(key, None))
    for content in known.values():
        yield Checked(content.key, content.length, "is in the ledger, but not in the store")


def stored_bytes(settings: Settings) -> int:
    """Return about how many bytes `verify` will read: to ask a bucket for each length would take long."""
    return sum(content.length for content in list_contents(settings.database))


def _check(store: Store, key: str, content: Content | None) -> Checked:
    try:
        file = store.open(key)
        if file is None:
            return Checked(key, 0, "vanished while it was being checked")
        with file:
            sha256 = hash_file_chunked(file)
            length = file.seek(0, os.SEEK_END)
    except StoreDown as error:
        return Checked(key, 0, f"cannot be read: {error}")
    named = Path(key).name.partition(".")[0]
    if content is None and sha256[:16] == named:
        return Checked(key, length, None)  # published, and the row was not written yet or the ledger is a new one
    if content is None:
        return Checked(key, length, f"is not in the ledger, and its content ({sha256}) does not belong to its name")
    if (content.sha256, content.length) != (sha256, length):
        return Checked(key, length, f"has other content ({sha256}) than was received ({content.sha256})")
    return Checked(key, length, None)


@asynccontextmanager
async def _open(settings: Settings) -> AsyncIterator[SqlLedger]:
    ledger = await SqlLedger.open(settings.database)
    try:
        yield ledger
    finally:
        await ledger.close()


def _run(work: Callable[[], Coroutine[None, None, Result]]) -> Result:
    try:
        return asyncio.run(work())
    except TusplyrError as error:
        raise StartFailed(str(error) or error.code) from error

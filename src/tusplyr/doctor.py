"""Whether everything that a server needs is there and does what it should.

Owns what is looked at on this machine, and the order. Must not know how the findings are shown. Invariant: nothing is
changed that stays, and a running server is not disturbed.
"""

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tusplyr.app import MOVING, StartFailed, boto3_needed, chosen_store, s3_options
from tusplyr.core.errors import LedgerDown, NoSpace, StoreDown
from tusplyr.core.findings import Finding, Verdict
from tusplyr.durable import free_bytes, sync_directory, sync_file
from tusplyr.ledger.committer import require_writable
from tusplyr.ledger.listing import find_place, newest_content
from tusplyr.ledger.memory import MemoryJournal
from tusplyr.ledger.revisions import head, known, revision
from tusplyr.settings import Settings
from tusplyr.settings.kinds import show_size

OK, WARN, FAIL = Verdict.OK, Verdict.WARN, Verdict.FAIL
SYNCS = 5
SLOW = 0.1  # seconds of a sync from which clients notice it


def examine(settings: Settings) -> Iterator[Finding]:
    """Look at disk, database and, where there is one, bucket. Blocking, some seconds."""
    yield from _disk(settings)
    yield from _database(settings)
    if settings.store_kind == "s3":
        yield from _bucket(settings)
    else:
        yield _volume(settings)
    yield from _place(settings)


def _disk(settings: Settings) -> Iterator[Finding]:
    place = _nearest(settings.spool)
    free = free_bytes(place)
    text = f"{free / 2**30:.1f} GiB are free, {show_size(settings.reserve)} of them kept in reserve"
    if free < settings.reserve:
        yield Finding(FAIL, "disk", f"only {free} bytes are free", "Free space, or lower RESERVE: uploads are refused.")
    elif free < 2 * settings.reserve:
        yield Finding(WARN, "disk", text, "Free space: there is little left beyond RESERVE.")
    else:
        yield Finding(OK, "disk", text)
    try:
        seconds = _sync_time(place)
    except OSError as error:
        change = f"Give the user of the server the right to write into {settings.data_dir}."
        yield Finding(FAIL, "disk", f"{place} cannot be written: {error.strerror or error}", change)
        return
    text = f"a durable write takes {seconds * 1000:.1f} ms"
    change = "Put DATA_DIR on a local SSD: each checkpoint waits for this."
    yield Finding(WARN, "disk", text, change) if seconds > SLOW else Finding(OK, "disk", text)


def _nearest(place: Path) -> Path:
    """Return the directory, or the nearest one above it that exists: the server has not been here yet."""
    while not place.is_dir():
        place = place.parent
    return place


def _sync_time(place: Path) -> float:
    """Return the seconds of the median of a few durable writes."""
    probe = place / f".doctor-{secrets.token_hex(8)}"
    descriptor = os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        times = []
        for number in range(SYNCS):
            began = time.perf_counter()
            os.pwrite(descriptor, bytes(4096), number * 4096)
            sync_file(descriptor)
            times.append(time.perf_counter() - began)
        sync_directory(place)
    finally:
        os.close(descriptor)
        probe.unlink()
    return sorted(times)[SYNCS // 2]


def _database(settings: Settings) -> Iterator[Finding]:
    path = settings.database
    if not path.exists():
        yield Finding(OK, "database", f"there is no {path.name} yet; the server makes it when it starts")
        return
    try:
        present = revision(path)
        require_writable(path)
    except (LedgerDown, NoSpace) as error:
        change = "Check the permissions of DATA_DIR and the disk; if the file is damaged, restore a backup."
        yield Finding(FAIL, "database", str(error) or "there is no room for it to grow", change)
        return
    if present == head():
        yield Finding(OK, "database", f"is at revision {present}, the newest, and can be written")
    elif present is None or present in known():
        yield Finding(
            WARN, "database", f"is at revision {present}, not {head()}", "Run `tusplyr migrate`; serve does it."
        )
    else:
        change = "Run the newer version of tusplyr, or restore the backup that was made before it."
        yield Finding(FAIL, "database", f"is at revision {present}, newer than {head()}", change)


def _volume(settings: Settings) -> Finding:
    spool, store = _nearest(settings.spool), _nearest(settings.store)
    if spool.stat().st_dev == store.stat().st_dev:
        return Finding(OK, "store", "is on the volume of the spool: publishing is a link")
    text = "is on another volume than the spool: each file is copied when it is published"
    return Finding(WARN, "store", text, "Keep spool/ and store/ on one volume.")


def _bucket(settings: Settings) -> Iterator[Finding]:
    try:
        with boto3_needed():
            from tusplyr.stores.s3_probe import probe  # noqa: PLC0415 - an extra
    except StartFailed as error:
        yield Finding(FAIL, "S3", str(error), "Install it beside tusplyr.")
        return
    yield from probe(s3_options(settings), redirects=settings.downloads == "redirect")


def _place(settings: Settings) -> Iterator[Finding]:
    """See whether the server publishes where these settings say, and whether what it has published is there."""
    try:
        place = find_place(settings.database)
    except LedgerDown:  # has been told
        return
    if place and place.current != settings.place:
        text = f"the server publishes to {place.current}, and these settings say {settings.place}"
        yield Finding(WARN, "store", text, f"Give commands the settings of the server, or see {MOVING}.")
    elif place and place.former and (left := _left_behind(settings, place.since)):
        text = f"{left}, which was published before, is not here; it may still be in {place.former}"
        yield Finding(WARN, "store", text, f"Copy what is there: see {MOVING}.")


def _left_behind(settings: Settings, since: float) -> str | None:
    """Return the key of what was published last before that time (Unix seconds), where the store does not have it."""
    content = newest_content(settings.database, since)
    with suppress(StartFailed, StoreDown):  # have been told
        if content and not chosen_store(settings, MemoryJournal()).has(content):
            return content.key
    return None

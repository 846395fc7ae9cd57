"""The contract of `Journal`, over every adapter, as the threads of a store use it."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tusplyr.core.errors import LedgerDown, Superseded
from tusplyr.core.model import Media, Reason, Status, Upload
from tusplyr.ledger import journal as module
from tusplyr.ledger.journal import LedgerJournal
from tusplyr.ledger.memory import MemoryJournal
from tusplyr.ledger.migrate import migrate
from tusplyr.ledger.sql import SqlLedger
from tusplyr.ports import Multipart

KEY = "audio/0123456789abcdef.wav"
OTHER = "files/fedcba9876543210"
PART = 8 * 1024 * 1024
SHA256 = "0123456789abcdef" * 4
SOURCE = "0123456789abcdef0123456789abcdef"
NOW = 1_700_000_000.25

Test = Callable[[object], None]


@pytest.fixture(params=["memory", "sqlite"])
def run(request, tmp_path) -> Callable[[Test], None]:
    """Run a test in a worker thread, beside the event loop that the journal belongs to."""

    async def main(test: Test) -> None:
        if request.param == "memory":
            await asyncio.to_thread(test, MemoryJournal(clock=lambda: NOW))
            return
        await asyncio.to_thread(migrate, tmp_path / "tusplyr.db")
        ledger = await SqlLedger.open(tmp_path / "tusplyr.db")
        try:
            await asyncio.to_thread(test, LedgerJournal(ledger, clock=lambda: NOW))
        finally:
            await ledger.close()

    return lambda test: asyncio.run(main(test))


def test_what_was_written_down_is_found(run):
    def test(journal):
        journal.intend(KEY, SHA256, SOURCE, PART)
        assert journal.find(KEY) == Multipart(key=KEY, sha256=SHA256, source=SOURCE, part_size=PART, begun_at=NOW)
        journal.begin(KEY, "upload-id" * 100)
        journal.land(KEY, 2, '"etag two"')
        journal.land(KEY, 1, '"etag one"')
        parts = {1: '"etag one"', 2: '"etag two"'}
        assert journal.find(KEY) == Multipart(
            key=KEY, sha256=SHA256, source=SOURCE, part_size=PART, id="upload-id" * 100, parts=parts, begun_at=NOW
        )

    run(test)


def test_what_was_never_written_down_is_none(run):
    def test(journal):
        assert journal.find(KEY) is None
        assert journal.abandoned() == []

    run(test)


def test_another_intent_replaces_the_first_and_its_parts(run):
    def test(journal):
        journal.intend(KEY, SHA256, SOURCE, PART)
        journal.begin(KEY, "first")
        journal.land(KEY, 1, '"one"')
        journal.intend(KEY, SHA256, SOURCE, 2 * PART)
        assert journal.find(KEY) == Multipart(key=KEY, sha256=SHA256, source=SOURCE, part_size=2 * PART, begun_at=NOW)
        journal.begin(KEY, "second")
        assert journal.find(KEY) == Multipart(
            key=KEY, sha256=SHA256, source=SOURCE, part_size=2 * PART, id="second", begun_at=NOW
        )

    run(test)


def test_a_part_that_lands_again_has_its_last_etag(run):
    def test(journal):
        journal.intend(KEY, SHA256, SOURCE, PART)
        journal.begin(KEY, "id")
        journal.land(KEY, 1, '"one"')
        journal.land(KEY, 1, '"one again"')
        assert journal.find(KEY).parts == {1: '"one again"'}

    run(test)


def test_what_was_forgotten_is_gone_with_its_parts_and_may_be_forgotten_again(run):
    def test(journal):
        for _ in range(2):
            journal.intend(KEY, SHA256, SOURCE, PART)
            journal.begin(KEY, "id")
            assert journal.find(KEY).parts == {}
            journal.land(KEY, 1, '"one"')
            journal.forget(KEY)
            journal.forget(KEY)
            assert journal.find(KEY) is None

    run(test)


def test_one_key_does_not_disturb_another(run):
    def test(journal):
        for key in (OTHER, KEY):
            journal.intend(key, SHA256, SOURCE, PART)
            journal.begin(key, f"id of {key}")
            journal.land(key, 1, key)
            journal.land(key, 2, key)
        assert [(each.key, each.id, each.parts) for each in journal.abandoned()] == [
            (key, f"id of {key}", {1: key, 2: key}) for key in (KEY, OTHER)
        ]
        journal.forget(KEY)
        assert [each.key for each in journal.abandoned()] == [OTHER]

    run(test)


def test_nothing_begins_or_lands_that_was_not_intended(run):
    def test(journal):
        with pytest.raises(Superseded):
            journal.begin(KEY, "id")
        with pytest.raises(Superseded):
            journal.land(KEY, 1, '"one"')
        journal.intend(KEY, SHA256, SOURCE, PART)
        with pytest.raises(Superseded):
            journal.land(KEY, 1, '"one"')
        assert journal.abandoned() == [Multipart(key=KEY, sha256=SHA256, source=SOURCE, part_size=PART, begun_at=NOW)]

    run(test)


def test_many_threads_write_at_once(run):
    def test(journal):
        journal.intend(KEY, SHA256, SOURCE, PART)
        journal.begin(KEY, "id")
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda number: journal.land(KEY, number, str(number)), range(1, 101)))
        assert journal.find(KEY).parts == {number: str(number) for number in range(1, 101)}

    run(test)


def test_what_was_written_down_outlives_the_process(tmp_path):
    path = tmp_path / "tusplyr.db"

    async def main(test: Test) -> None:
        ledger = await SqlLedger.open(path)
        try:
            await asyncio.to_thread(test, LedgerJournal(ledger))
        finally:
            await ledger.close()

    def write(journal):
        journal.intend(KEY, SHA256, SOURCE, PART)
        journal.begin(KEY, "id")
        journal.land(KEY, 1, '"one"')

    def read(journal):
        assert journal.find(KEY).parts == {1: '"one"'}

    migrate(path)
    asyncio.run(main(write))
    asyncio.run(main(read))


NEEDED = {Status.RECEIVING, Status.ASSEMBLING, Status.RECEIVED}


@pytest.mark.parametrize("status", [*Status, None])
def test_a_transfer_is_abandoned_when_its_upload_will_not_be_published(tmp_path, status):
    path = tmp_path / "tusplyr.db"
    reason = Reason.TERMINATED if status is Status.GONE else None
    media = Media("audio", ".wav", "audio/wav")
    row = {"length": 10, "media": media, "created_at": NOW, "updated_at": NOW, "reason": reason}

    def test(journal):
        journal.intend(KEY, SHA256, SOURCE, PART)
        journal.begin(KEY, "id")
        journal.land(KEY, 1, '"one"')
        assert journal.abandoned() == ([] if status in NEEDED else [journal.find(KEY)])

    async def main() -> None:
        ledger = await SqlLedger.open(path)
        try:
            if status:
                await ledger.create(Upload(id=SOURCE, status=status, **row))
            await ledger.create(Upload(id=SOURCE[::-1], **row))
            await asyncio.to_thread(test, LedgerJournal(ledger))
        finally:
            await ledger.close()

    migrate(path)
    asyncio.run(main())


def test_a_ledger_that_is_closed_or_away_is_down(tmp_path, monkeypatch):
    path = tmp_path / "tusplyr.db"
    migrate(path)
    journals = []

    async def main() -> None:
        ledger = await SqlLedger.open(path)
        journals.append(LedgerJournal(ledger))
        await ledger.close()
        with pytest.raises(LedgerDown):
            await asyncio.to_thread(journals[0].intend, KEY, SHA256, SOURCE, PART)
        with pytest.raises(LedgerDown):
            await asyncio.to_thread(journals[0].abandoned)

    asyncio.run(main())
    with pytest.raises(LedgerDown):  # the loop is closed by now
        journals[0].find(KEY)


def test_a_loop_that_is_too_slow_is_a_ledger_that_is_down(tmp_path, monkeypatch):
    path = tmp_path / "tusplyr.db"
    migrate(path)
    monkeypatch.setattr(module, "LIMIT", 0.01)

    async def main() -> None:
        ledger = await SqlLedger.open(path)
        journal, told = LedgerJournal(ledger), threading.Event()

        def ask() -> None:
            try:
                with pytest.raises(LedgerDown):
                    journal.find(KEY)
            finally:
                told.set()

        asking = asyncio.get_running_loop().run_in_executor(None, ask)
        told.wait()  # the loop is busy with this
        await asking
        await ledger.close()

    asyncio.run(main())

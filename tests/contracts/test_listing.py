"""Lists of uploads, read beside a running ledger."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tusplyr.core.media import OTHER
from tusplyr.core.model import Reason, Status, Upload
from tusplyr.ledger.listing import list_uploads
from tusplyr.ledger.migrate import migrate
from tusplyr.ledger.sql import SqlLedger


@pytest.fixture
def path(tmp_path) -> Path:
    path = tmp_path / "tusplyr.db"
    migrate(path)
    return path


def an_upload(name: str, created_at: float, status: Status = Status.RECEIVING) -> Upload:
    return Upload(id=name * 32, length=1, media=OTHER, created_at=created_at, updated_at=0.5, status=status)


def while_open(path: Path, uploads: list[Upload], look: Callable[[], list[Upload]]) -> list[Upload]:
    async def main() -> list[Upload]:
        ledger = await SqlLedger.open(path)
        try:
            for upload in uploads:
                await ledger.create(upload)
            return await asyncio.to_thread(look)
        finally:
            await ledger.close()

    return asyncio.run(main())


def test_the_newest_come_first_and_no_more_than_asked(path):
    old, new, middle = an_upload("a", 1.0), an_upload("b", 3.0), an_upload("c", 2.0)
    assert while_open(path, [old, new, middle], lambda: list_uploads(path, limit=2)) == [new, middle]


def test_pages_continue_where_the_last_ended_among_equal_times_too(path):
    uploads = [an_upload(name, 1.0 + (name > "b")) for name in "abcdef"]
    page: list[Upload] = while_open(path, uploads, lambda: list_uploads(path, limit=2))
    pages = [page]
    while page:
        page = list_uploads(path, limit=2, before=page[-1])
        pages.append(page)
    assert [[row.id[0] for row in page] for page in pages] == [["f", "e"], ["d", "c"], ["b", "a"], []]


def test_a_list_of_one_status_has_no_other(path):
    uploads = [an_upload(name, 1.0, status) for name, status in zip("abcde", Status, strict=True)]
    rows = while_open(path, uploads, lambda: list_uploads(path, limit=9, status=Status.STORED))
    assert rows == [uploads[3]]


def test_a_command_terminates_an_upload_beside_a_running_ledger(path):
    upload = an_upload("a", 1.0)

    def terminate() -> list[Upload]:
        async def main() -> None:
            command = await SqlLedger.open(path)
            try:
                await command.move(row, Status.GONE, reason=Reason.TERMINATED)
            finally:
                await command.close()

        [row] = list_uploads(path, limit=1)
        asyncio.run(main())
        return list_uploads(path, limit=1)

    rows = while_open(path, [upload], terminate)
    assert [(row.status, row.reason, row.epoch) for row in rows] == [(Status.GONE, Reason.TERMINATED, 1)]

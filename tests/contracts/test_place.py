"""Where content is published is written down, and what it was before is kept where something may be left there."""

import asyncio
from pathlib import Path

import pytest

from tusplyr.core.media import OTHER
from tusplyr.core.model import Content, Place, Status, Upload
from tusplyr.ledger.listing import find_place, newest_content
from tusplyr.ledger.migrate import migrate
from tusplyr.ledger.sql import SqlLedger


@pytest.fixture
def path(tmp_path) -> Path:
    path = tmp_path / "tusplyr.db"
    migrate(path)
    return path


def content(number: int) -> Content:
    return Content(f"files/{number:016x}", f"{number:064x}", 1)


def live(path: Path, place: str, at: float, *published: int) -> str | None:
    """Start at a place and a time and publish these a second later; return what the start was told."""

    async def main() -> str | None:
        clock = [at]
        ledger = await SqlLedger.open(path, clock=lambda: clock[0])
        told = await ledger.settle(place)
        clock[0] += 1.0
        for number in published:
            upload = Upload(id=f"{number:032x}", length=1, media=OTHER, created_at=0.0, updated_at=0.0)
            await ledger.create(upload)
            received = await ledger.checkpoint(upload, 1, None, content(number).sha256)
            await ledger.move(received, Status.STORED, content=content(number))
        await ledger.close()
        return told

    return asyncio.run(main())


def test_nothing_is_known_before_the_first_start(path):
    assert find_place(path) is None
    assert live(path, "a", 10.0) is None
    assert find_place(path) == Place("a")


def test_a_place_at_which_nothing_was_published_is_forgotten(path):
    live(path, "a", 10.0)
    assert live(path, "b", 20.0) is None
    assert find_place(path) == Place("b", None, 20.0)


def test_a_start_at_another_place_is_told_once_of_the_former_one(path):
    live(path, "a", 10.0, 1)
    assert live(path, "a", 15.0) is None
    assert live(path, "b", 20.0, 2) == "a"
    assert live(path, "b", 30.0) is None
    assert find_place(path) == Place("b", "a", 20.0)


def test_a_start_with_wrong_settings_in_between_leaves_no_trace(path):
    live(path, "a", 10.0, 1)
    assert live(path, "b", 20.0) == "a"
    assert live(path, "a", 30.0, 2) is None
    assert find_place(path) == Place("a", None, 30.0)
    live(path, "b", 40.0)
    assert live(path, "c", 50.0) == "a"


def test_what_was_published_while_no_place_was_written_down_counts_as_published_at_the_first(path):
    live(path, "a", 10.0, 1)
    assert live(path, "b", 20.0) == "a"


def test_what_was_published_last_before_a_time_can_be_found(path):
    live(path, "a", 10.0, 1)
    live(path, "a", 20.0, 2)
    assert newest_content(path, 11.0) is None
    assert newest_content(path, 21.0) == content(1)
    assert newest_content(path, 22.0) == content(2)

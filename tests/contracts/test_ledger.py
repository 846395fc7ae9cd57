"""The contract of `Ledger` and `Queue`, over every adapter."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from msgspec.structs import fields, replace

from tusplyr.core.errors import Busy, Conflict, Superseded
from tusplyr.core.lifecycle import TRANSITIONS
from tusplyr.core.media import OTHER, media_of
from tusplyr.core.model import (
    FAILING_AFTER,
    MAX_INTEGER,
    STUCK_AFTER,
    Backlog,
    Content,
    Kind,
    Media,
    Reason,
    Status,
    Upload,
)
from tusplyr.ledger.memory import MemoryLedger
from tusplyr.ledger.migrate import migrate
from tusplyr.ledger.sql import PURGE, SqlLedger
from tusplyr.ledger.tables import COLUMNS, upload_of

NOW = 1_700_000_000.25
SHA256 = "0123456789abcdef" * 4
AnyLedger = MemoryLedger | SqlLedger
Test = Callable[[AnyLedger], Awaitable[None]]


def an_upload(**values: object) -> Upload:
    return Upload(**({"id": uuid4().hex, "length": 100, "media": OTHER, "created_at": 1.5, "updated_at": 1.5} | values))


@asynccontextmanager
async def opened(adapter: str, path: Path) -> AsyncIterator[AnyLedger]:
    if adapter == "memory":
        yield MemoryLedger(clock=lambda: NOW)
        return
    await asyncio.to_thread(migrate, path)
    ledger = await SqlLedger.open(path, clock=lambda: NOW)
    try:
        yield ledger
    finally:
        await ledger.close()


@pytest.fixture(params=["memory", "sqlite"])
def run(request, tmp_path) -> Callable[[Test], None]:
    def runner(test: Test) -> None:
        async def main() -> None:
            async with opened(request.param, tmp_path / "tusplyr.db") as ledger:
                await test(ledger)

        asyncio.run(main())

    return runner


async def created(ledger: AnyLedger, **values: object) -> Upload:
    upload = an_upload(**values)
    await ledger.create(upload)
    return upload


async def outcomes(*calls: Awaitable[object]) -> Counter[type]:
    return Counter(type(outcome) for outcome in await asyncio.gather(*calls, return_exceptions=True))


async def refused(ledger: AnyLedger, error: type[Exception], call: Awaitable[object], row: Upload) -> None:
    """The call raises exactly that, and the row stays as it is."""
    with pytest.raises(error) as raised:
        await call
    assert type(raised.value) is error
    assert await ledger.get(row.id) == row


def test_every_field_reads_back_as_it_was_written(run):
    full = an_upload(
        length=MAX_INTEGER,
        offset=MAX_INTEGER - 1,
        media=media_of("take one.WAV"),
        created_at=1_700_000_000.123456,
        updated_at=NOW,
        status=Status.GONE,
        epoch=3,
        metadata=bytes(range(256)),
        digest=b"\x00state\xff",
        sha256=SHA256,
        attempts=7,
        due_at=NOW + 0.5,
        error="no route to 'host' \N{WARNING SIGN}",
        reason=Reason.LOST,
        declared=SHA256[::-1],
        kind=Kind.FINAL,
        partials=("a", "b", "a"),
        concat=b"final;/a /b /a",
    )
    defaults = an_upload()

    async def test(ledger):
        await ledger.create(full)
        await ledger.create(defaults)
        for upload in (full, defaults):
            row = await ledger.get(upload.id)
            assert row == upload
            assert [type(getattr(row, name)) for name in row.__struct_fields__] == [
                type(getattr(upload, name)) for name in row.__struct_fields__
            ]

    assert all(getattr(full, field.name) != getattr(defaults, field.name) for field in fields(Upload))
    run(test)


def test_empty_metadata_is_not_the_same_as_none(run):
    async def test(ledger):
        upload = await created(ledger, metadata=b"")
        assert (await ledger.get(upload.id)).metadata == b""

    run(test)


def test_an_id_that_was_never_created_has_no_row(run):
    async def test(ledger):
        await created(ledger)
        assert await ledger.get("0" * 32) is None

    run(test)


def test_a_second_create_of_an_id_is_superseded_and_the_first_row_stays(run):
    async def test(ledger):
        first = await created(ledger)
        await refused(ledger, Superseded, ledger.create(replace(first, length=5)), first)

    run(test)


def test_of_two_creates_of_an_id_at_once_one_wins(run):
    async def test(ledger):
        upload = an_upload()
        assert await outcomes(ledger.create(upload), ledger.create(upload)) == {type(None): 1, Superseded: 1}

    run(test)


def test_checkpoint_moves_offset_and_digest_and_returns_the_stored_row(run):
    async def test(ledger):
        upload = await created(ledger)
        row = await ledger.checkpoint(upload, 40, b"state")
        assert row == replace(upload, offset=40, digest=b"state", updated_at=NOW)
        assert await ledger.get(upload.id) == row

    run(test)


def test_checkpoint_without_a_digest_forgets_the_old_one(run):
    async def test(ledger):
        row = await ledger.checkpoint(await created(ledger, digest=b"old"), 40, None)
        assert row.digest is None
        assert await ledger.get(row.id) == row

    run(test)


def test_last_checkpoint_is_the_move_to_received_and_due_at_once(run):
    async def test(ledger):
        upload = await created(ledger)
        row = await ledger.checkpoint(upload, 100, b"state", SHA256)
        assert row == replace(
            upload,
            offset=100,
            digest=b"state",
            sha256=SHA256,
            status=Status.RECEIVED,
            epoch=1,
            due_at=NOW,
            updated_at=NOW,
        )
        assert await ledger.get(upload.id) == row
        assert await ledger.due(Status.RECEIVED, NOW, 10) == [row]

    run(test)


def test_last_checkpoint_with_content_is_the_move_to_stored_and_remembers_it(run):
    async def test(ledger):
        upload = await created(ledger)
        content = Content("files/0123456789abcdef", SHA256, 100)
        row = await ledger.checkpoint(upload, 100, b"state", SHA256, content)
        assert row == replace(
            upload,
            offset=100,
            digest=b"state",
            sha256=SHA256,
            status=Status.STORED,
            epoch=1,
            due_at=NOW,
            updated_at=NOW,
        )
        assert await ledger.get(upload.id) == row
        assert await ledger.due(Status.RECEIVED, NOW, 10) == []
        assert await ledger.content(content.key) == content

    run(test)


def test_last_checkpoints_with_the_same_content_are_all_stored(run):
    async def test(ledger):
        content = Content("files/0123456789abcdef", SHA256, 100)
        uploads = [await created(ledger) for _ in range(3)]
        rows = await asyncio.gather(*(ledger.checkpoint(each, 100, None, SHA256, content) for each in uploads))
        assert {row.status for row in rows} == {Status.STORED}
        assert await asyncio.gather(*(ledger.get(row.id) for row in rows)) == rows
        assert await ledger.content(content.key) == content

    run(test)


def test_last_checkpoint_with_other_content_under_its_key_is_a_conflict_and_nothing_of_it_counts(run):
    async def test(ledger):
        mine = Content("files/0123456789abcdef", SHA256, 100)
        await ledger.checkpoint(await created(ledger), 100, None, SHA256, mine)
        upload = await created(ledger, offset=40, digest=b"state")
        other = Content(mine.key, "f" * 64, 100)
        await refused(ledger, Conflict, ledger.checkpoint(upload, 100, None, other.sha256, other), upload)
        assert await ledger.content(mine.key) == mine
        received = await ledger.checkpoint(upload, 100, None, other.sha256)
        assert received.status is Status.RECEIVED

    run(test)


@pytest.mark.parametrize("change", [{"offset": 39}, {"epoch": 1}])
def test_a_lost_last_checkpoint_remembers_no_content(run, change):
    async def test(ledger):
        upload = await created(ledger, offset=40)
        content = Content("files/0123456789abcdef", SHA256, 100)
        stale = replace(upload, **change)
        await refused(ledger, Superseded, ledger.checkpoint(stale, 100, None, SHA256, content), upload)
        assert await ledger.content(content.key) is None

    run(test)


@pytest.mark.parametrize(("offset", "sha256"), [(60, None), (100, None), (99, SHA256), (100, "f" * 64)], ids=str)
def test_content_that_is_not_that_of_the_whole_upload_is_an_error_of_the_caller(run, offset, sha256):
    async def test(ledger):
        upload = await created(ledger, offset=40)
        content = Content("files/0123456789abcdef", SHA256, 100)
        await refused(ledger, ValueError, ledger.checkpoint(upload, offset, None, sha256, content), upload)
        assert await ledger.content(content.key) is None

    run(test)


def test_an_empty_upload_is_received_by_a_checkpoint_at_zero(run):
    async def test(ledger):
        row = await ledger.checkpoint(await created(ledger, length=0), 0, None, SHA256)
        assert row.status is Status.RECEIVED
        assert await ledger.get(row.id) == row

    run(test)


def test_of_two_checkpoints_from_one_offset_the_second_is_superseded(run):
    async def test(ledger):
        upload = await created(ledger)
        row = await ledger.checkpoint(upload, 40, None)
        await refused(ledger, Superseded, ledger.checkpoint(upload, 60, None), row)
        await refused(ledger, Superseded, ledger.checkpoint(upload, 100, None, SHA256), row)

    run(test)


def test_of_many_checkpoints_from_one_offset_at_once_exactly_one_wins(run):
    async def test(ledger):
        upload = await created(ledger)
        counts = await outcomes(*(ledger.checkpoint(upload, offset, None) for offset in range(1, 51)))
        assert counts == {Upload: 1, Superseded: 49}

    run(test)


def test_checkpoint_under_an_old_epoch_is_superseded(run):
    async def test(ledger):
        upload = await created(ledger, epoch=1)
        await refused(ledger, Superseded, ledger.checkpoint(replace(upload, epoch=0), 40, None), upload)

    run(test)


def test_a_holder_that_was_terminated_moves_no_offset(run):
    async def test(ledger):
        upload = await created(ledger)
        gone = await ledger.move(upload, Status.GONE, reason=Reason.TERMINATED)
        await refused(ledger, Superseded, ledger.checkpoint(upload, 40, None), gone)

    run(test)


def test_changes_of_a_row_that_is_not_there_are_superseded(run):
    async def test(ledger):
        receiving, received = an_upload(), an_upload(status=Status.RECEIVED)
        counts = await outcomes(
            ledger.checkpoint(receiving, 1, None),
            ledger.move(receiving, Status.GONE, reason=Reason.LOST),
            ledger.postpone(received, 0.0, "down"),
        )
        assert counts == {Superseded: 3}

    run(test)


@pytest.mark.parametrize(
    ("offset", "sha256"),
    [(39, None), (101, None), (99, SHA256), (-1, None)],
    ids=["backwards", "beyond the length", "complete before the end", "negative"],
)
def test_a_checkpoint_that_cannot_be_true_is_an_error_of_the_caller(run, offset, sha256):
    async def test(ledger):
        upload = await created(ledger, offset=40)
        await refused(ledger, ValueError, ledger.checkpoint(upload, offset, None, sha256), upload)

    run(test)


@pytest.mark.parametrize("status", [Status.RECEIVED, Status.STORED, Status.GONE])
def test_only_receiving_uploads_take_checkpoints(run, status):
    async def test(ledger):
        upload = await created(ledger, status=status)
        await refused(ledger, ValueError, ledger.checkpoint(upload, 40, None), upload)

    run(test)


@pytest.mark.parametrize(("start", "end", "reason"), [*itertools.product(Status, Status, (None, *Reason))])
def test_moves_are_those_of_the_lifecycle_and_no_others(run, start, end, reason):
    async def test(ledger):
        upload = await created(ledger, status=start, epoch=4)
        # That an upload is whole is for a checkpoint to say, which brings the offset and the digest with it.
        whole = start in {Status.RECEIVING, Status.ASSEMBLING} and end is not Status.GONE
        if whole or reason not in TRANSITIONS.get((start, end), ()):
            await refused(ledger, ValueError, ledger.move(upload, end, reason=reason), upload)
            return
        row = await ledger.move(upload, end, reason=reason)
        assert row == replace(upload, status=end, reason=reason, epoch=5, updated_at=NOW)
        assert await ledger.get(upload.id) == row

    run(test)


def test_move_from_a_status_that_the_row_has_left_is_superseded(run):
    async def test(ledger):
        upload = await created(ledger, status=Status.RECEIVED)
        stored = await ledger.move(upload, Status.STORED)
        await refused(ledger, Superseded, ledger.move(upload, Status.GONE, reason=Reason.TERMINATED), stored)

    run(test)


def test_move_asks_for_the_status_of_the_row_even_if_the_epoch_fits(run):
    async def test(ledger):
        stored = await created(ledger, status=Status.STORED)
        lying = replace(stored, status=Status.RECEIVED)
        await refused(ledger, Superseded, ledger.move(lying, Status.GONE, reason=Reason.LOST), stored)

    run(test)


def test_move_with_an_old_offset_does_not_write_it_back(run):
    async def test(ledger):
        upload = await created(ledger)
        row = await ledger.checkpoint(upload, 40, b"state")
        await ledger.move(upload, Status.GONE, reason=Reason.TERMINATED)
        assert await ledger.get(upload.id) == replace(row, status=Status.GONE, reason=Reason.TERMINATED, epoch=1)

    run(test)


def test_a_length_may_come_late_and_never_changes(run):
    async def test(ledger):
        upload = await created(ledger, length=None)
        assert (await ledger.get(upload.id)).length is None
        row = await ledger.checkpoint(upload, 30, None)
        assert row.length is None
        row = await ledger.checkpoint(replace(row, length=50), 30, None)
        assert await ledger.get(upload.id) == row
        assert row.length == 50
        for stale in (None, 60):
            await refused(ledger, Superseded, ledger.checkpoint(replace(row, length=stale), 40, None), row)
        done = await ledger.checkpoint(row, 50, None, SHA256)
        assert (await ledger.get(upload.id)).status is done.status is Status.RECEIVED

    run(test)


def test_a_length_may_come_with_the_last_byte(run):
    async def test(ledger):
        upload = await created(ledger, length=None)
        with pytest.raises(ValueError, match="not complete"):
            await ledger.checkpoint(upload, 50, None, SHA256)
        done = await ledger.checkpoint(replace(upload, length=50), 50, None, SHA256)
        assert await ledger.get(upload.id) == done
        assert (done.length, done.offset, done.status) == (50, 50, Status.RECEIVED)

    run(test)


def test_what_expires_must_be_where_it_was(run):
    async def test(ledger):
        upload = await created(ledger)
        row = await ledger.checkpoint(upload, 30, None)
        await refused(ledger, Superseded, ledger.move(upload, Status.GONE, reason=Reason.EXPIRED), row)
        gone = await ledger.move(row, Status.GONE, reason=Reason.EXPIRED)
        assert await ledger.get(upload.id) == gone
        assert gone.reason is Reason.EXPIRED

    run(test)


def test_idle_uploads_are_those_that_receive_and_were_not_changed_for_long(run):
    async def test(ledger):
        old = [await created(ledger, id=f"{first:x}" * 32) for first in range(16)]
        await created(ledger, updated_at=8.0)
        await created(ledger, status=Status.RECEIVED)
        await created(ledger, status=Status.STORED)
        assert {upload.id async for upload in ledger.idle(1.5)} == {upload.id for upload in old}
        assert [upload async for upload in ledger.idle(1.4)] == []

    run(test)


def a_partial(**values: object) -> dict[str, object]:
    return {"kind": Kind.PARTIAL, "concat": b"partial", "length": 30, "offset": 30} | values


def a_final(*partials: Upload) -> Upload:
    ids = tuple(each.id for each in partials)
    length = sum(each.length for each in partials)
    return an_upload(kind=Kind.FINAL, partials=ids, length=length, status=Status.ASSEMBLING, created_at=NOW)


def test_a_partial_upload_is_complete_without_being_received(run):
    async def test(ledger):
        upload = await created(ledger, **a_partial(offset=10))
        row = await ledger.checkpoint(upload, 30, b"state")
        assert (row.status, row.offset) == (Status.RECEIVING, 30)
        await refused(ledger, ValueError, ledger.checkpoint(row, 30, None, SHA256), row)
        assert await ledger.due(Status.RECEIVED, NOW + 1, 10) == []

    run(test)


def test_what_a_final_upload_is_made_of_cannot_go_before_it_is_assembled(run):
    async def test(ledger):
        first, second, other = [await created(ledger, **a_partial()) for _ in range(3)]
        final = a_final(first, second, first)
        await ledger.create(final, [first, second])
        for reason in (Reason.TERMINATED, Reason.EXPIRED):
            for partial in (first, second):
                touched = replace(partial, updated_at=NOW, epoch=1)  # the time until it expires begins again
                await refused(ledger, Busy, ledger.move(partial, Status.GONE, reason=reason), touched)
        await ledger.move(other, Status.GONE, reason=Reason.TERMINATED)
        assert [row.id for row in await ledger.due(Status.ASSEMBLING, NOW, 10)] == [final.id]
        half = await ledger.checkpoint(final, 45, b"state")
        assert (half.status, half.offset) == (Status.ASSEMBLING, 45)
        await ledger.checkpoint(half, 90, None, SHA256)
        await refused(
            ledger, Superseded, ledger.move(first, Status.GONE, reason=Reason.EXPIRED), await ledger.get(first.id)
        )
        await ledger.move(await ledger.get(first.id), Status.GONE, reason=Reason.TERMINATED)

    run(test)


def test_a_final_upload_that_is_gone_needs_nothing(run):
    async def test(ledger):
        partial = await created(ledger, **a_partial())
        final = a_final(partial)
        await ledger.create(final, [partial])
        await ledger.move(final, Status.GONE, reason=Reason.TERMINATED)
        await ledger.move(await ledger.get(partial.id), Status.GONE, reason=Reason.TERMINATED)

    run(test)


def test_a_final_upload_of_what_has_changed_is_not_created(run):
    async def test(ledger):
        partial, other = [await created(ledger, **a_partial(offset=10)) for _ in range(2)]
        row = await ledger.checkpoint(partial, 30, None)
        final = a_final(other, partial)
        with pytest.raises(Superseded):
            await ledger.create(final, [other, partial])
        await ledger.move(row, Status.GONE, reason=Reason.TERMINATED)
        with pytest.raises(Superseded):
            await ledger.create(final, [other, row])
        assert await ledger.get(final.id) is None
        assert await ledger.get(other.id) == other

    run(test)


def test_assembling_may_be_tried_again_later(run):
    async def test(ledger):
        partial = await created(ledger, **a_partial())
        final = a_final(partial)
        await ledger.create(final, [partial])
        row = await ledger.postpone(final, NOW + 5, "no room")
        assert await ledger.due(Status.ASSEMBLING, NOW + 4, 10) == []
        assert await ledger.due(Status.ASSEMBLING, NOW + 5, 10) == [row]

    run(test)


def test_published_content_is_remembered_with_the_move(run):
    async def test(ledger):
        upload = await created(ledger, status=Status.RECEIVED, sha256=SHA256)
        content = Content(upload.key, SHA256, MAX_INTEGER)
        assert await ledger.content(content.key) is None
        row = await ledger.move(upload, Status.STORED, content=content)
        assert row.status is Status.STORED
        assert await ledger.get(upload.id) == row
        assert await ledger.content(content.key) == content

    run(test)


def test_what_failed_before_is_over_once_it_is_stored(run):
    async def test(ledger):
        upload = await created(ledger, status=Status.RECEIVED, sha256=SHA256)
        waiting = await ledger.postpone(upload, 5.0, "the bucket is away")
        row = await ledger.move(waiting, Status.STORED)
        assert (row.error, row.attempts) == (None, 1)
        assert await ledger.get(upload.id) == row

    run(test)


def test_what_failed_before_is_still_told_of_one_that_is_terminated(run):
    async def test(ledger):
        upload = await created(ledger, status=Status.RECEIVED, sha256=SHA256)
        waiting = await ledger.postpone(upload, 5.0, "the bucket is away")
        row = await ledger.move(waiting, Status.GONE, reason=Reason.TERMINATED)
        assert row.error == "the bucket is away"
        assert await ledger.get(upload.id) == row

    run(test)


def test_the_same_content_again_is_no_error_and_no_second_row(run):
    async def test(ledger):
        content = Content("files/0123456789abcdef", SHA256, 100)
        uploads = [await created(ledger, status=Status.RECEIVED) for _ in range(3)]
        await ledger.move(uploads[0], Status.STORED, content=content)
        rows = await asyncio.gather(*(ledger.move(each, Status.STORED, content=content) for each in uploads[1:]))
        assert {row.status for row in rows} == {Status.STORED}
        assert await ledger.content(content.key) == content

    run(test)


def test_other_content_under_a_key_is_a_conflict_and_nothing_moves(run):
    async def test(ledger):
        mine = Content("files/0123456789abcdef", SHA256, 100)
        first, second = [await created(ledger, status=Status.RECEIVED) for _ in range(2)]
        await ledger.move(first, Status.STORED, content=mine)
        other = Content(mine.key, "f" * 64, 100)
        await refused(ledger, Conflict, ledger.move(second, Status.STORED, content=other), second)
        assert await ledger.content(mine.key) == mine

    run(test)


def test_of_two_contents_under_a_key_at_once_one_wins(run):
    async def test(ledger):
        contents = [Content("files/0123456789abcdef", letter * 64, 100) for letter in "ab"]
        uploads = [await created(ledger, status=Status.RECEIVED) for _ in contents]
        moves = (
            ledger.move(upload, Status.STORED, content=content)
            for upload, content in zip(uploads, contents, strict=True)
        )
        assert await outcomes(*moves) == {Upload: 1, Conflict: 1}
        assert await ledger.content(contents[0].key) in contents

    run(test)


def test_a_lost_move_remembers_no_content(run):
    async def test(ledger):
        upload = await created(ledger, status=Status.RECEIVED, epoch=1)
        content = Content("files/0123456789abcdef", SHA256, 100)
        stale = replace(upload, epoch=0)
        await refused(ledger, Superseded, ledger.move(stale, Status.STORED, content=content), upload)
        assert await ledger.content(content.key) is None

    run(test)


def test_purge_deletes_what_ended_before_and_keeps_the_contents(run):
    async def test(ledger):
        upload = await created(ledger, status=Status.RECEIVED, sha256=SHA256)
        content = Content(upload.key, SHA256, 100)
        stored = await ledger.move(upload, Status.STORED, content=content)
        old = [await created(ledger, status=status, updated_at=NOW - 10) for status in Status]
        assert await ledger.purge(NOW) == 2
        left = [row.id for row in [await ledger.get(each.id) for each in [*old, stored]] if row]
        assert left == [old[0].id, old[1].id, old[2].id, stored.id]
        assert await ledger.purge(NOW + 1) == 1
        assert await ledger.get(stored.id) is None
        assert await ledger.content(content.key) == content
        assert await ledger.purge(NOW + 1) == 0

    run(test)


def test_purge_counts_more_rows_than_it_deletes_at_once(run):
    async def test(ledger):
        many = PURGE + 1
        await asyncio.gather(*(created(ledger, status=Status.GONE) for _ in range(many)))
        assert await ledger.purge(NOW) == many

    run(test)


def test_postponed_uploads_keep_their_epoch_and_come_back_when_due(run):
    async def test(ledger):
        upload = await created(ledger, status=Status.RECEIVED, attempts=2, epoch=1)
        row = await ledger.postpone(upload, NOW + 60, "bucket away")
        assert row == replace(upload, attempts=3, due_at=NOW + 60, error="bucket away", updated_at=NOW)
        assert await ledger.get(upload.id) == row
        assert await ledger.due(Status.RECEIVED, NOW + 59, 10) == []
        assert await ledger.due(Status.RECEIVED, NOW + 60, 10) == [row]

    run(test)


def test_a_failed_attempt_leaves_the_offset_where_it_has_come_to(run):
    async def test(ledger):
        partial = await created(ledger, **a_partial())
        final = a_final(partial)
        await ledger.create(final, [partial])
        half = await ledger.checkpoint(final, 10, b"state")
        await ledger.postpone(final, NOW, "the disk is away")  # by whoever read the row before
        row = await ledger.get(final.id)
        assert (row.offset, row.digest, row.attempts) == (half.offset, half.digest, 1)

    run(test)


def test_of_two_that_postpone_the_same_attempt_the_second_is_superseded(run):
    async def test(ledger):
        upload = await created(ledger, status=Status.RECEIVED)
        row = await ledger.postpone(upload, NOW, "first")
        await refused(ledger, Superseded, ledger.postpone(upload, NOW, "second"), row)

    run(test)


def test_only_received_uploads_are_postponed(run):
    async def test(ledger):
        upload = await created(ledger)
        await refused(ledger, ValueError, ledger.postpone(upload, NOW, "no"), upload)

    run(test)


def test_an_error_text_with_undecodable_bytes_is_kept_readable_and_short(run):
    async def test(ledger):
        upload = await created(ledger, status=Status.RECEIVED)
        row = await ledger.postpone(upload, NOW, "caf\udce9\0" + "x" * 5000)
        assert row.error.startswith("caf\\udce9xxx")
        assert len(row.error) < 1100
        assert await ledger.get(upload.id) == row

    run(test)


def test_an_attempt_may_be_made_due_and_nothing_else_changes(run):
    async def test(ledger):
        upload = await created(ledger, status=Status.RECEIVED, offset=100, attempts=3, due_at=NOW + 300, error="away")
        assert await ledger.due(Status.RECEIVED, NOW, 10) == []
        hastened = await ledger.hasten(upload, NOW)
        assert hastened == replace(upload, due_at=NOW) == await ledger.get(upload.id)
        assert await ledger.due(Status.RECEIVED, NOW, 10) == [hastened]
        later = await ledger.postpone(upload, NOW + 300, "away again")  # an attempt that was under way
        assert (later.attempts, later.due_at) == (4, NOW + 300)

    run(test)


def test_only_what_waits_is_hastened(run):
    async def test(ledger):
        upload = await created(ledger)
        with pytest.raises(ValueError, match="waiting"):
            await ledger.hasten(upload, NOW)
        waiting = await created(ledger, status=Status.RECEIVED, offset=100)
        await ledger.move(waiting, Status.GONE, reason=Reason.TERMINATED)
        with pytest.raises(Superseded):
            await ledger.hasten(waiting, NOW)

    run(test)


def test_the_backlog_counts_what_waits_and_what_of_it_is_stuck(run):
    async def test(ledger):
        assert await ledger.backlog() == Backlog()
        for values in (
            {"created_at": 1.0},
            {"created_at": 2.0, "status": Status.STORED, "attempts": STUCK_AFTER},
            {"created_at": 5.0, "status": Status.RECEIVED, "attempts": STUCK_AFTER, "due_at": NOW + 300},
            {"created_at": 4.0, "status": Status.ASSEMBLING, "attempts": STUCK_AFTER + 1},
            {"created_at": 3.0, "status": Status.RECEIVED, "attempts": STUCK_AFTER - 1},
        ):
            await created(ledger, **values)
        assert await ledger.backlog() == Backlog(3, 2, 3.0, 3)
        await created(ledger, created_at=4.0, status=Status.RECEIVED, attempts=FAILING_AFTER - 1)
        assert await ledger.backlog() == Backlog(4, 2, 3.0, 3)

    run(test)


def test_due_gives_the_longest_waiting_first_and_no_more_than_asked(run):
    async def test(ledger):
        times = [30.0, 10.0, 50.0, 20.0, 40.0]
        uploads = {due_at: await created(ledger, status=Status.RECEIVED, due_at=due_at) for due_at in times}
        for status in (Status.RECEIVING, Status.STORED, Status.GONE):
            await created(ledger, status=status, due_at=0.0)
        assert await ledger.due(Status.RECEIVED, 40.0, 10) == [uploads[at] for at in (10.0, 20.0, 30.0, 40.0)]
        assert await ledger.due(Status.RECEIVED, 40.0, 2) == [uploads[at] for at in (10.0, 20.0)]

    run(test)


def test_due_leaves_out_contents_and_folders_that_are_named(run):
    async def test(ledger):
        one, other, short, picture = [
            await created(ledger, status=Status.RECEIVED, due_at=float(number), sha256=sha256, media=media_of(name))
            for number, (name, sha256) in enumerate(
                [("a.wav", SHA256), ("a.wav", "f" * 64), ("a", SHA256), ("a.png", SHA256)]
            )
        ]
        final = await created(ledger, status=Status.ASSEMBLING)
        for apart, left in [
            ((), [one, other, short, picture]),
            ((one.key,), [other, short, picture]),
            ((short.key,), [one, other, picture]),
            ((one.key, other.key, picture.key), [short]),
            (("audio/",), [short, picture]),
            (("audio/", "images/", short.key), []),
            (("audio/0123456789", "audi", "audio/0123456789abcdef", ""), [one, other, short, picture]),
        ]:
            assert await ledger.due(Status.RECEIVED, NOW, 10, apart) == left
            assert await ledger.due(Status.ASSEMBLING, NOW, 10, apart) == [final]

    run(test)


def test_those_that_failed_for_the_same_reason_in_the_same_place_are_hastened_together(run):
    async def test(ledger):
        wav, png = media_of("a.wav"), media_of("a.png")
        facts = [
            ({"media": wav, "error": "store_down: away"}, True),
            ({"media": wav, "error": "store_down: again"}, True),
            ({"media": wav, "error": "store_down: at last"}, False),  # one too many
            ({"media": png, "error": "store_down: away"}, False),
            ({"media": wav, "error": "conflict: store_down: "}, False),
            ({"media": wav, "error": None}, False),
            ({"media": wav, "error": "store_down: away", "due_at": NOW - 1}, False),
            ({"media": wav, "error": "store_down: away", "status": Status.ASSEMBLING}, False),
            ({"media": wav, "error": "store_down: away", "status": Status.STORED}, False),
        ]
        rows = [
            await created(ledger, **{"status": Status.RECEIVED, "due_at": NOW + 1 + number, "attempts": 3} | values)
            for number, (values, _) in enumerate(facts)
        ]
        assert await ledger.hasten_all("audio", "store_down", NOW, 2) == 2
        for row, (_, expected) in zip(rows, facts, strict=True):
            assert await ledger.get(row.id) == (replace(row, due_at=NOW) if expected else row)

    run(test)


def test_two_hundred_uploads_checkpoint_at_once_without_disturbing_each_other(run):
    async def test(ledger):
        uploads = await asyncio.gather(*(created(ledger) for _ in range(200)))

        async def advance(group: list[Upload]) -> list[Upload]:
            for step in range(1, 4):
                group = await asyncio.gather(*(ledger.checkpoint(each, step * 10, None) for each in group))
            return group

        halves = await asyncio.gather(advance(uploads[:100]), advance(uploads[100:]))
        rows = [row for half in halves for row in half]
        assert {row.offset for row in rows} == {30}
        assert await asyncio.gather(*(ledger.get(row.id) for row in rows)) == rows

    run(test)


def test_a_cancelled_caller_does_not_disturb_the_others(run):
    async def test(ledger):
        uploads = [await created(ledger) for _ in range(3)]
        tasks = [asyncio.create_task(ledger.checkpoint(each, 40, None)) for each in uploads]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.wait(tasks)
        assert [tasks[0].result().offset, tasks[2].result().offset] == [40, 40]
        assert (await ledger.get(uploads[1].id)).offset in (0, 40)
        assert (await ledger.checkpoint(tasks[0].result(), 50, None)).offset == 50

    run(test)


def test_the_table_has_a_column_for_every_field():
    names = {field.name for field in fields(Upload)} - {"media"} | {field.name for field in fields(Media)}
    assert set(COLUMNS) == names
    with pytest.raises(ValueError, match="shorter"):
        upload_of(["too few"])


def test_what_is_assembled_may_begin_again_and_what_is_received_may_not(run):
    async def test(ledger):
        partial = await created(ledger, **a_partial())
        final = a_final(partial)
        await ledger.create(final, [partial])
        half = await ledger.checkpoint(final, 10, b"state")
        row = await ledger.postpone(half, NOW, "no room", restart=True)
        assert await ledger.get(final.id) == row
        assert (row.offset, row.digest, row.attempts) == (0, None, 1)
        received = await created(ledger, status=Status.RECEIVED)
        await refused(ledger, ValueError, ledger.postpone(received, NOW, "no", restart=True), received)

    run(test)

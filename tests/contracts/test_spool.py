"""The contract of `Spool` and `Writer`, over every adapter; and what only a real disk can refuse."""

import asyncio
import errno
import logging
import mmap
import os
import resource
import time
from pathlib import Path

import pytest
from blockbuster import BlockingError

from tusplyr.core.errors import BytesLost, NoSpace, SpoolDown
from tusplyr.durable import UNCACHED, free_bytes
from tusplyr.ports import ALIGN
from tusplyr.spool import disk
from tusplyr.spool.disk import COPY, LOOK_BYTES, UNCACHED_LEAST, DiskSpool
from tusplyr.spool.memory import MemorySpool

ID = "0123456789abcdef" * 2
OTHER = "f" * 32


def view(data: bytes) -> memoryview:
    return memoryview(bytearray(data))


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.fixture(params=["memory", "disk"])
def spool(request, tmp_path):
    return MemorySpool() if request.param == "memory" else DiskSpool(tmp_path)


def content(spool, upload_id: str = ID) -> bytes:
    with spool.staged(upload_id).open() as file:
        return file.read()


def staged(spool, *pieces: bytes, offset: int = 0) -> None:
    """Write and sync behind the offset."""
    writer = spool.open(ID, offset)
    for piece in pieces:
        writer.write(view(piece), offset)
        offset += len(piece)
    writer.sync()
    writer.close()


def test_bytes_of_one_upload_become_those_of_another(spool):
    staged(spool, b"abcdef")
    spool.graft(OTHER, ID, 0, 4)
    assert content(spool, OTHER) == b"abcd"
    spool.graft(OTHER, ID, 4, 2)
    assert (content(spool, OTHER), content(spool)) == (b"abcdef", b"abcdef")
    writer = spool.open(OTHER, 6)
    writer.write(view(b"gh"), 6)
    writer.sync()
    writer.close()
    assert (content(spool, OTHER), content(spool)) == (b"abcdefgh", b"abcdef")


def test_bytes_are_grafted_in_place_of_those_that_were_never_acknowledged(spool):
    staged(spool, b"abcdef")
    spool.graft(OTHER, ID, 0, 6)
    spool.graft(OTHER, ID, 0, 3)
    assert content(spool, OTHER) == b"abc"


@pytest.mark.parametrize(("at", "count"), [(0, 7), (6, 1)])
def test_more_bytes_than_there_are_cannot_be_grafted(spool, at, count):
    staged(spool, b"abcdef")
    with pytest.raises(BytesLost):
        spool.graft(OTHER, ID, at, count)
    with pytest.raises(BytesLost):
        spool.graft(ID, OTHER, 0, 1)


def test_opening_at_the_start_makes_an_empty_file(spool):
    spool.open(ID, 0).close()
    assert content(spool) == b""
    assert [upload_id for upload_id, _ in spool.files()] == [ID]


def test_opening_at_the_start_cuts_off_what_was_never_acknowledged(spool):
    staged(spool, b"abcdef")
    staged(spool, b"X")
    assert content(spool) == b"X"


def test_room_for_one_more_upload_makes_no_file(spool):
    spool.admit()
    assert list(spool.files()) == []


def test_what_is_kept_is_there_and_empty_when_nothing_was_written(spool):
    spool.keep(ID)
    assert content(spool) == b""
    assert [upload_id for upload_id, _ in spool.files()] == [ID]


def test_keeping_changes_nothing_of_what_was_written(spool):
    staged(spool, b"abc")
    spool.keep(ID)
    assert content(spool) == b"abc"
    staged(spool, b"def", offset=3)
    assert content(spool) == b"abcdef"


def test_bytes_are_written_one_behind_the_other(spool):
    staged(spool, b"ab", b"c", bytes(1024 * 1024))
    assert content(spool) == b"abc" + bytes(1024 * 1024)


def test_part_of_a_buffer_is_written_and_no_more(spool):
    writer = spool.open(ID, 0)
    writer.write(view(b"0123456789")[2:5], 0)
    writer.sync()
    writer.close()
    assert content(spool) == b"234"


def test_writing_goes_on_at_the_offset(spool):
    staged(spool, b"abc")
    staged(spool, b"def", offset=3)
    assert content(spool) == b"abcdef"


def test_open_cuts_off_the_tail_that_was_never_acknowledged(spool):
    staged(spool, b"abcdef")
    spool.open(ID, 2).close()
    assert content(spool) == b"ab"
    staged(spool, b"X", offset=2)
    assert content(spool) == b"abX"


@pytest.mark.parametrize("offset", [4, 2**40])
def test_fewer_bytes_than_were_acknowledged_are_lost(spool, offset):
    staged(spool, b"abc")
    with pytest.raises(BytesLost):
        spool.open(ID, offset)
    assert content(spool) == b"abc"


def test_a_missing_file_is_lost_once_bytes_of_it_were_acknowledged_and_is_not_made(spool):
    with pytest.raises(BytesLost):
        spool.open(ID, 1)
    with pytest.raises(BytesLost):
        spool.staged(ID).open()
    assert list(spool.files()) == []


def test_a_writer_is_closed_as_often_as_one_likes(spool):
    writer = spool.open(ID, 0)
    writer.close()
    writer.close()


def test_reading_starts_at_the_first_byte_and_can_seek(spool):
    staged(spool, b"abcdef")
    with spool.staged(ID).open() as file:
        buffer = bytearray(4)
        assert (file.readinto(buffer), bytes(buffer)) == (4, b"abcd")
        file.seek(5)
        assert file.read() == b"f"


def test_a_file_is_discarded_once_or_twice(spool):
    spool.keep(ID)
    spool.keep(OTHER)
    spool.discard(ID)
    spool.discard(ID)
    assert [upload_id for upload_id, _ in spool.files()] == [OTHER]
    with pytest.raises(BytesLost):
        spool.staged(ID).open()


def test_files_say_when_they_were_last_written(spool):
    before = time.time() - 1
    spool.keep(OTHER)
    staged(spool, b"abc")
    written = dict(spool.files())
    assert set(written) == {ID, OTHER}
    assert all(before <= at <= time.time() + 1 for at in written.values())


def test_a_volume_of_its_own_has_a_folder_that_is_no_upload(tmp_path):
    (tmp_path / "lost+found").mkdir()
    assert list(DiskSpool(tmp_path).files()) == []


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_pieces_are_written_each_at_its_place_in_any_order(spool, order):
    pieces = [os.urandom(300_000), os.urandom(5), os.urandom(200_000)]
    places = [0, 300_000, 300_005]
    writer = spool.open(ID, 0)
    for number in order:
        writer.write(view(pieces[number]), places[number])
    writer.sync()
    writer.close()
    assert content(spool) == b"".join(pieces)


def congruent(data: bytes, at: int) -> memoryview:
    """Put data where the address and the offset in the file are the same modulo `ALIGN`, as a body does."""
    memory = mmap.mmap(-1, at % ALIGN + len(data), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    place = memoryview(memory)[at % ALIGN :]
    place[:] = data
    return place


def offers_uncached(folder: Path) -> bool:
    try:
        os.close(os.open(folder / "probe", os.O_CREAT | os.O_WRONLY | UNCACHED))
    except OSError:
        return False
    return UNCACHED != 0


@pytest.mark.parametrize("before", [0, 1, 100, ALIGN, ALIGN + 1, 300_001])
@pytest.mark.parametrize("length", [UNCACHED_LEAST, UNCACHED_LEAST + 1, 1024 * 1024 - 1, 2 * 1024 * 1024])
def test_long_congruent_pieces_go_past_the_cache_and_arrive_whole(tmp_path, before, length):
    (tmp_path / "spool").mkdir()
    spool = DiskSpool(tmp_path / "spool")
    head, body, tail = os.urandom(before), os.urandom(length), os.urandom(77)
    staged(spool, head, b"never acknowledged")
    writer = spool.open(ID, before)
    writer.write(congruent(body, before), before)
    writer.write(view(tail), before + length)
    writer.sync()
    assert (writer._uncached >= 0) == offers_uncached(tmp_path)
    writer.close()
    assert content(spool) == head + body + tail


def test_pieces_that_are_not_congruent_or_short_go_through_the_cache(tmp_path):
    spool = DiskSpool(tmp_path)
    body = os.urandom(UNCACHED_LEAST)
    writer = spool.open(ID, 0)
    writer.write(congruent(body, 1), 0)
    writer.write(congruent(body[:-1], len(body)), len(body))
    assert writer._uncached < 0
    writer.sync()
    writer.close()
    assert content(spool) == body + body[:-1]


def test_a_volume_that_refuses_the_alignment_is_written_to_through_the_cache(tmp_path, monkeypatch):
    spool = DiskSpool(tmp_path)
    body = os.urandom(3 * UNCACHED_LEAST)
    writer = spool.open(ID, 0)
    real = os.pwrite
    refused = []

    def pwrite(descriptor, data, at):
        if descriptor == writer._uncached:
            refused.append(at)
            raise OSError(errno.EINVAL, "as a disk with larger sectors says")
        return real(descriptor, data, at)

    monkeypatch.setattr(os, "pwrite", pwrite)
    for at in range(0, len(body), UNCACHED_LEAST):
        writer.write(congruent(body[at : at + UNCACHED_LEAST], at), at)
    writer.sync()
    writer.close()
    assert refused == ([0] if offers_uncached(tmp_path) else [])
    assert content(spool) == body


def test_memory_loses_in_a_crash_what_was_not_synced():
    spool = MemorySpool()
    staged(spool, b"abc")
    spool.open(ID, 3).write(view(b"def"), 3)
    spool.crash(keep=1)
    assert content(spool) == b"abcd"
    spool.crash()
    assert content(spool) == b"abc"


def test_memory_loses_in_a_crash_a_name_that_was_not_synced():
    spool = MemorySpool()
    for upload_id in (ID, OTHER):
        writer = spool.open(upload_id, 0)
        writer.write(view(b"abc"), 0)
        writer.sync(name=False)
    spool.crash(keep=1)
    spool.keep(OTHER)
    spool.crash()
    assert [upload_id for upload_id, _ in spool.files()] == [OTHER]
    assert content(spool, OTHER) == b"abc"


@pytest.fixture
def synced(monkeypatch):
    """The inodes that were synced, in order. That they are durable then is the kernel's promise."""
    inodes = []
    for name in ("fsync", "fdatasync"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda fd, real=real: (inodes.append(os.fstat(fd).st_ino), real(fd)))
    return inodes


def test_the_first_sync_of_a_new_file_makes_its_name_durable_too_and_no_later_one_does(tmp_path, synced):
    writer = DiskSpool(tmp_path).open(ID, 0)
    assert synced == []
    file, directory = (tmp_path / ID).stat().st_ino, tmp_path.stat().st_ino
    writer.write(view(b"abc"), 0)
    writer.sync()
    assert synced == [file, directory]
    writer.write(view(b"def"), 3)
    writer.sync()
    assert synced == [file, directory, file]
    writer.close()


def test_a_sync_without_the_name_leaves_it_to_the_next_that_counts(tmp_path, synced):
    writer = DiskSpool(tmp_path).open(ID, 0)
    file, directory = (tmp_path / ID).stat().st_ino, tmp_path.stat().st_ino
    writer.sync(name=False)
    assert synced == [file]
    writer.sync()
    assert synced == [file, file, directory]
    writer.close()


def test_the_name_of_a_file_that_is_gone_on_with_is_durable_already(tmp_path, synced):
    spool = DiskSpool(tmp_path)
    staged(spool, b"abc")
    file = (tmp_path / ID).stat().st_ino
    synced.clear()
    staged(spool, b"def", offset=3)
    assert synced == [file]


def test_the_name_of_what_is_kept_is_durable(tmp_path, synced):
    DiskSpool(tmp_path).keep(ID)
    assert synced == [tmp_path.stat().st_ino]


def test_a_name_that_could_not_be_synced_is_tried_again(tmp_path, monkeypatch, synced):
    def refuse(fd):
        raise OSError(errno.EIO, "no")

    writer = DiskSpool(tmp_path).open(ID, 0)
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", refuse)
        with pytest.raises(SpoolDown):
            writer.sync()
    writer.sync()
    assert synced[-1] == tmp_path.stat().st_ino
    writer.close()


def published(tmp_path, data: bytes) -> Path:
    """A staged file that is an object of a store by now: link(2), as publishing does it."""
    spool = DiskSpool(tmp_path / "spool")
    staged(spool, data)
    (tmp_path / "object").hardlink_to(tmp_path / "spool" / ID)
    return tmp_path / "object"


@pytest.fixture
def beside(tmp_path):
    (tmp_path / "spool").mkdir()
    return DiskSpool(tmp_path / "spool")


@pytest.mark.parametrize("offset", [0, 2, 6])
def test_a_published_file_stays_whole_whatever_is_written_afterwards(tmp_path, beside, offset):
    thing = published(tmp_path, b"abcdef")
    writer = beside.open(ID, offset)
    assert content(beside) == b"abcdef"[:offset]
    writer.write(view(b"other bytes"), offset)
    writer.sync()
    writer.close()
    assert thing.read_bytes() == b"abcdef"
    assert content(beside) == b"abcdef"[:offset] + b"other bytes"
    assert thing.stat().st_ino != (tmp_path / "spool" / ID).stat().st_ino
    assert [name for name, _ in beside.files()] == [ID]


def test_a_published_file_longer_than_a_read_is_copied_whole(tmp_path, beside):
    data = os.urandom(2 * COPY + 7)
    thing = published(tmp_path, data)
    beside.open(ID, COPY + 5).close()
    assert content(beside) == data[: COPY + 5]
    assert thing.read_bytes() == data


def test_a_published_file_that_is_too_short_is_lost_and_stays(tmp_path, beside):
    thing = published(tmp_path, b"abc")
    with pytest.raises(BytesLost):
        beside.open(ID, 4)
    assert thing.read_bytes() == content(beside) == b"abc"


def test_the_copy_of_a_published_file_is_synced_before_it_takes_the_name_and_the_name_before_it_is_written(
    tmp_path, beside, monkeypatch
):
    published(tmp_path, b"abcdef")
    events = []

    def watch(name, what):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args: (events.append((name, what(*args))), real(*args))[1])

    watch("fdatasync", lambda fd: os.fstat(fd).st_ino)
    watch("fsync", lambda fd: os.fstat(fd).st_ino)
    watch("rename", lambda start, end: (Path(start).name, Path(end).name))
    beside.open(ID, 4).close()
    copy, directory = (tmp_path / "spool" / ID).stat().st_ino, (tmp_path / "spool").stat().st_ino
    assert events == [("fdatasync", copy), ("rename", (f"{ID}.own", ID)), ("fsync", directory)]


@pytest.mark.parametrize("call", ["fdatasync", "rename", "fsync"])
def test_whatever_fails_while_a_published_file_is_copied_the_object_and_the_bytes_are_there(
    tmp_path, beside, monkeypatch, call
):
    def refuse(*_):
        raise OSError(errno.EIO, "no")

    thing = published(tmp_path, b"abcdef")
    before = open_descriptors()
    with monkeypatch.context() as broken:
        broken.setattr(os, call, refuse)
        with pytest.raises(SpoolDown):
            beside.open(ID, 4)
    assert open_descriptors() == before
    assert content(beside)[:4] == b"abcd"
    staged(beside, b"XY", offset=4)
    assert content(beside) == b"abcdXY"
    assert thing.read_bytes() == b"abcdef"
    assert [name for name, _ in beside.files()] == [ID]


def test_a_copy_that_a_crash_left_half_made_is_no_obstacle_and_can_be_discarded(tmp_path, beside):
    thing = published(tmp_path, b"abcdef")
    (tmp_path / "spool" / f"{ID}.own").write_bytes(b"half of something longer")
    assert {name for name, _ in beside.files()} == {ID, f"{ID}.own"}
    beside.discard(f"{ID}.own")
    (tmp_path / "spool" / f"{ID}.own").write_bytes(b"half of something longer")
    beside.open(ID, 4).close()
    assert content(beside) == b"abcd"
    assert thing.read_bytes() == b"abcdef"
    assert [name for name, _ in beside.files()] == [ID]


def test_below_the_reserve_nothing_is_admitted(tmp_path):
    with pytest.raises(NoSpace):
        DiskSpool(tmp_path, reserve=2**62).admit()
    DiskSpool(tmp_path, reserve=1).admit()


def test_below_the_reserve_a_sync_keeps_what_is_there_and_no_more_comes(tmp_path):
    spool = DiskSpool(tmp_path)
    writer = spool.open(ID, 0)
    writer.write(view(b"abc"), 0)
    writer._reserve._size = 2**62  # as if others had filled the volume since the file was opened
    writer._reserve._look_at = 0  # and that was a moment ago
    writer.sync()
    with pytest.raises(NoSpace):
        writer.write(view(b"def"), 3)
    writer.close()
    assert content(spool) == b"abc"
    spool.discard(ID)


def test_a_file_that_is_opened_below_the_reserve_takes_nothing_and_keeps_what_it_has(tmp_path):
    staged(DiskSpool(tmp_path), b"abc")
    spool = DiskSpool(tmp_path, reserve=2**62)
    writer = spool.open(ID, 3)
    with pytest.raises(NoSpace):
        writer.write(view(b"def"), 3)
    writer.sync()
    writer.close()
    assert content(spool) == b"abc"


def test_that_the_reserve_is_reached_is_told_once_and_so_is_its_end(tmp_path, monkeypatch, caplog):
    spool, free = DiskSpool(tmp_path, reserve=100), 100
    monkeypatch.setattr(disk, "free_bytes", lambda _: free)
    with caplog.at_level(logging.INFO):
        spool.admit()
        assert caplog.messages == []
        free = 99
        for _ in range(3):
            with pytest.raises(NoSpace):
                spool.admit()
            staged(spool)
        (record,) = caplog.records
        assert (record.levelname, record.getMessage()) == (
            "WARNING", "only 99 bytes are free, less than RESERVE (100): creations and bodies get 507",
        )  # fmt: skip
        caplog.clear()
        free = 100
        for _ in range(3):
            spool.admit()
        (record,) = caplog.records
        assert (record.levelname, record.getMessage()) == (
            "INFO", "100 bytes are free, RESERVE (100) is kept again: uploads are taken",
        )  # fmt: skip


def test_a_full_volume_is_no_space_and_keeps_what_was_synced(small_volume):
    spool = DiskSpool(small_volume)
    staged(spool, b"abc")
    writer = spool.open(ID, 3)
    with pytest.raises(NoSpace) as raised:
        writer.write(view(bytes(4 * 1024 * 1024)), 3)
    assert raised.value.__cause__.errno == errno.ENOSPC
    writer.close()
    assert free_bytes(small_volume) == 0
    spool.open(ID, 3).close()
    assert content(spool) == b"abc"
    assert free_bytes(small_volume) > 0


def test_the_reserve_of_a_real_volume_holds_before_it_is_full(small_volume):
    spool = DiskSpool(small_volume, reserve=1024 * 1024)
    writer = spool.open(ID, 0)

    def fill() -> None:
        for at in range(0, 8 * 256 * 1024, 256 * 1024):
            writer.write(view(bytes(256 * 1024)), at)
            writer.sync()

    with pytest.raises(NoSpace):
        fill()
    writer.close()
    assert 512 * 1024 <= free_bytes(small_volume) < 1024 * 1024
    with pytest.raises(NoSpace):
        spool.admit()
    spool.discard(ID)
    spool.admit()


def test_a_file_at_the_limit_of_its_process_is_no_space_and_takes_what_fits(tmp_path):
    """EFBIG by RLIMIT_FSIZE: the nearest thing to a full disk where nothing can be mounted."""
    spool = DiskSpool(tmp_path)
    writer = spool.open(ID, 0)
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8, old[1]))
    try:
        writer.write(view(b"abc"), 0)
        with pytest.raises(NoSpace) as raised:
            writer.write(view(b"0123456789"), 3)
        assert raised.value.__cause__.errno == errno.EFBIG
        writer.write(view(b"def"), 3)  # a failed write moved nothing
        writer.sync()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    writer.close()
    assert content(spool)[:6] == b"abcdef"


def test_what_a_disk_refuses_is_spool_down(tmp_path):
    nowhere = DiskSpool(tmp_path / "not a directory")
    (tmp_path / "not a directory").write_bytes(b"")
    for call in (
        nowhere.keep,
        lambda upload_id: nowhere.staged(upload_id).open(),
        nowhere.discard,
        lambda upload_id: nowhere.open(upload_id, 0),
    ):
        with pytest.raises(SpoolDown):
            call(ID)
    with pytest.raises(SpoolDown):
        list(nowhere.files())


def test_no_descriptor_is_left_open_by_what_fails(tmp_path):
    spool = DiskSpool(tmp_path)
    spool.keep(ID)
    before = open_descriptors()
    for _ in range(3):
        with pytest.raises(BytesLost):
            spool.open(ID, 1)
        with pytest.raises(BytesLost):
            spool.open(OTHER, 1)
    assert open_descriptors() == before


def test_the_spool_on_the_event_loop_is_caught(tmp_path):
    """That the watch in conftest is awake."""

    async def main() -> None:
        for call in (
            lambda: DiskSpool(tmp_path).keep(OTHER),
            lambda: DiskSpool(tmp_path).open(ID, 0),
            lambda: DiskSpool(tmp_path).discard(ID),
        ):
            with pytest.raises(BlockingError):
                call()

    asyncio.run(main())


def test_long_bytes_are_grafted_whole_with_and_without_copies_in_the_kernel(tmp_path, monkeypatch):
    data = os.urandom(3 * COPY + 5)
    spool = DiskSpool(tmp_path)
    staged(spool, data)
    spool.graft(OTHER, ID, 0, len(data))
    assert content(spool, OTHER) == data

    def refuse(*_):
        raise OSError(errno.EXDEV, "no such thing here")

    monkeypatch.setattr(os, "copy_file_range", refuse)
    spool.graft(OTHER, ID, 0, COPY)
    spool.graft(OTHER, ID, COPY, len(data) - COPY)
    assert content(spool, OTHER) == data
    monkeypatch.delattr(os, "copy_file_range")
    spool.graft(OTHER, ID, 0, len(data))
    assert content(spool, OTHER) == data


def test_grafted_bytes_are_synced_and_so_is_the_name(tmp_path, synced):
    spool = DiskSpool(tmp_path)
    staged(spool, b"abcdef")
    synced.clear()
    spool.graft(OTHER, ID, 0, 3)
    file, directory = (tmp_path / OTHER).stat().st_ino, tmp_path.stat().st_ino
    assert synced == [file, directory]
    spool.graft(OTHER, ID, 3, 3)
    assert synced == [file, directory, file]


def test_grafting_never_touches_what_was_published(tmp_path):
    spool = DiskSpool(tmp_path)
    staged(spool, b"abcdef")
    spool.graft(OTHER, ID, 0, 6)
    (tmp_path / "object").hardlink_to(tmp_path / OTHER)
    spool.graft(OTHER, ID, 0, 2)
    assert (tmp_path / "object").read_bytes() == b"abcdef"
    assert content(spool, OTHER) == b"ab"


def test_below_the_reserve_nothing_is_grafted_and_room_is_asked_for_all_of_it(tmp_path):
    spool = DiskSpool(tmp_path)
    staged(spool, b"abcdef")
    with pytest.raises(NoSpace):
        spool.admit(free_bytes(tmp_path) + 2**40)
    spool.admit(1)
    with pytest.raises(NoSpace):
        DiskSpool(tmp_path, reserve=2**62).graft(OTHER, ID, 0, 6)


def test_a_graft_leaves_the_reserve_alone(small_volume):
    spool = DiskSpool(small_volume, reserve=1024 * 1024)
    (small_volume / "a").write_bytes(bytes(700 * 1024))
    with pytest.raises(NoSpace):
        spool.graft("b", "a", 0, 700 * 1024)
    assert free_bytes(small_volume) >= 1024 * 1024


def test_without_its_directory_the_spool_is_down_and_nothing_is_lost(tmp_path):
    spool = DiskSpool(tmp_path / "gone")
    for ask in (spool.admit, lambda: spool.open(ID, 0), lambda: spool.keep(ID)):
        with pytest.raises(SpoolDown, match="directory of the spool is missing"):
            ask()
    with pytest.raises(BytesLost):
        spool.open(ID, 1)


def test_many_bodies_that_are_written_and_not_synced_leave_the_reserve_alone(small_volume):
    spool = DiskSpool(small_volume, reserve=1024 * 1024)
    writers = [spool.open(f"{number:032x}", 0) for number in range(8)]
    refused = 0
    for at in range(0, 256 * 1024, 64 * 1024):
        for writer in writers:
            try:
                writer.write(view(bytes(64 * 1024)), at)
            except NoSpace:
                refused += 1
    for writer in writers:
        writer.close()
    assert refused
    assert free_bytes(small_volume) >= 1024 * 1024 - LOOK_BYTES

"""The contract of `Spool` and `Writer`, over every adapter; and what only a real disk can refuse."""

import asyncio
import errno
import os
import resource
import time
from pathlib import Path

import pytest
from blockbuster import BlockingError

from tusplyr.core.errors import BytesLost, NoSpace, SpoolDown
from tusplyr.durable import free_bytes
from tusplyr.spool.disk import DiskSpool
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
    with spool.read(upload_id) as file:
        return file.read()


def staged(spool, *pieces: bytes, offset: int = 0) -> None:
    """Write and sync behind the offset."""
    writer = spool.open(ID, offset)
    for piece in pieces:
        writer.write(view(piece))
    writer.sync()
    writer.close()


def test_a_new_file_is_empty(spool):
    spool.create(ID)
    assert content(spool) == b""
    assert [upload_id for upload_id, _ in spool.files()] == [ID]


def test_a_second_create_of_an_id_is_refused_and_changes_nothing(spool):
    spool.create(ID)
    staged(spool, b"abc")
    with pytest.raises(SpoolDown):
        spool.create(ID)
    assert content(spool) == b"abc"


def test_bytes_are_written_one_behind_the_other(spool):
    spool.create(ID)
    staged(spool, b"ab", b"c", bytes(1024 * 1024))
    assert content(spool) == b"abc" + bytes(1024 * 1024)


def test_part_of_a_buffer_is_written_and_no_more(spool):
    spool.create(ID)
    writer = spool.open(ID, 0)
    writer.write(view(b"0123456789")[2:5])
    writer.sync()
    writer.close()
    assert content(spool) == b"234"


def test_writing_goes_on_at_the_offset(spool):
    spool.create(ID)
    staged(spool, b"abc")
    staged(spool, b"def", offset=3)
    assert content(spool) == b"abcdef"


def test_open_cuts_off_the_tail_that_was_never_acknowledged(spool):
    spool.create(ID)
    staged(spool, b"abcdef")
    spool.open(ID, 2).close()
    assert content(spool) == b"ab"
    staged(spool, b"X", offset=2)
    assert content(spool) == b"abX"


@pytest.mark.parametrize("offset", [4, 2**40])
def test_fewer_bytes_than_were_acknowledged_are_lost(spool, offset):
    spool.create(ID)
    staged(spool, b"abc")
    with pytest.raises(BytesLost):
        spool.open(ID, offset)
    assert content(spool) == b"abc"


def test_a_missing_file_is_lost(spool):
    with pytest.raises(BytesLost):
        spool.open(ID, 0)
    with pytest.raises(BytesLost):
        spool.read(ID)


def test_a_writer_is_closed_as_often_as_one_likes(spool):
    spool.create(ID)
    writer = spool.open(ID, 0)
    writer.close()
    writer.close()


def test_reading_starts_at_the_first_byte_and_can_seek(spool):
    spool.create(ID)
    staged(spool, b"abcdef")
    with spool.read(ID) as file:
        buffer = bytearray(4)
        assert (file.readinto(buffer), bytes(buffer)) == (4, b"abcd")
        file.seek(5)
        assert file.read() == b"f"


def test_a_file_is_discarded_once_or_twice(spool):
    spool.create(ID)
    spool.create(OTHER)
    spool.discard(ID)
    spool.discard(ID)
    assert [upload_id for upload_id, _ in spool.files()] == [OTHER]
    with pytest.raises(BytesLost):
        spool.open(ID, 0)


def test_files_say_when_they_were_last_written(spool):
    before = time.time() - 1
    spool.create(ID)
    spool.create(OTHER)
    staged(spool, b"abc")
    written = dict(spool.files())
    assert set(written) == {ID, OTHER}
    assert all(before <= at <= time.time() + 1 for at in written.values())


def test_memory_loses_in_a_crash_what_was_not_synced():
    spool = MemorySpool()
    spool.create(ID)
    staged(spool, b"abc")
    spool.open(ID, 3).write(view(b"def"))
    spool.crash(keep=1)
    assert content(spool) == b"abcd"
    spool.crash()
    assert content(spool) == b"abc"


def test_the_name_is_synced_before_create_returns_and_the_bytes_before_sync_does(tmp_path, monkeypatch):
    """Watches the two system calls; that they are durable is the kernel's promise."""
    synced = []
    for name in ("fsync", "fdatasync"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda fd, real=real: (synced.append(os.fstat(fd).st_ino), real(fd)))
    spool = DiskSpool(tmp_path)
    spool.create(ID)
    assert synced == [tmp_path.stat().st_ino]
    staged(spool, b"abc")
    assert synced[1:] == [(tmp_path / ID).stat().st_ino]


def test_below_the_reserve_nothing_is_created(tmp_path):
    spool = DiskSpool(tmp_path, reserve=2**62)
    with pytest.raises(NoSpace):
        spool.create(ID)
    assert list(spool.files()) == []


def test_below_the_reserve_a_sync_keeps_what_is_there_and_no_more_comes(tmp_path):
    DiskSpool(tmp_path).create(ID)
    spool = DiskSpool(tmp_path, reserve=2**62)
    writer = spool.open(ID, 0)
    writer.write(view(b"abc"))
    writer.sync()
    with pytest.raises(NoSpace):
        writer.write(view(b"def"))
    writer.close()
    assert content(spool) == b"abc"
    spool.discard(ID)


def test_a_full_volume_is_no_space_and_keeps_what_was_synced(small_volume):
    spool = DiskSpool(small_volume)
    spool.create(ID)
    staged(spool, b"abc")
    writer = spool.open(ID, 3)
    with pytest.raises(NoSpace) as raised:
        writer.write(view(bytes(4 * 1024 * 1024)))
    assert raised.value.__cause__.errno == errno.ENOSPC
    writer.close()
    assert free_bytes(small_volume) == 0
    spool.open(ID, 3).close()
    assert content(spool) == b"abc"
    assert free_bytes(small_volume) > 0


def test_the_reserve_of_a_real_volume_holds_before_it_is_full(small_volume):
    spool = DiskSpool(small_volume, reserve=1024 * 1024)
    spool.create(ID)
    writer = spool.open(ID, 0)

    def fill() -> None:
        for _ in range(8):
            writer.write(view(bytes(256 * 1024)))
            writer.sync()

    with pytest.raises(NoSpace):
        fill()
    writer.close()
    assert 512 * 1024 <= free_bytes(small_volume) < 1024 * 1024
    with pytest.raises(NoSpace):
        spool.create(OTHER)
    spool.discard(ID)
    spool.create(OTHER)


def test_a_file_at_the_limit_of_its_process_is_no_space_and_takes_what_fits(tmp_path):
    """EFBIG by RLIMIT_FSIZE: the nearest thing to a full disk where nothing can be mounted."""
    spool = DiskSpool(tmp_path)
    spool.create(ID)
    writer = spool.open(ID, 0)
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8, old[1]))
    try:
        writer.write(view(b"abc"))
        with pytest.raises(NoSpace) as raised:
            writer.write(view(b"0123456789"))
        assert raised.value.__cause__.errno == errno.EFBIG
        writer.write(view(b"def"))  # a failed write moved nothing
        writer.sync()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    writer.close()
    assert content(spool)[:6] == b"abcdef"


def test_what_a_disk_refuses_is_spool_down(tmp_path):
    nowhere = DiskSpool(tmp_path / "not a directory")
    (tmp_path / "not a directory").write_bytes(b"")
    for call in (nowhere.create, nowhere.read, nowhere.discard, lambda upload_id: nowhere.open(upload_id, 0)):
        with pytest.raises(SpoolDown):
            call(ID)
    with pytest.raises(SpoolDown):
        list(nowhere.files())


def test_no_descriptor_is_left_open_by_what_fails(tmp_path):
    spool = DiskSpool(tmp_path)
    spool.create(ID)
    before = open_descriptors()
    for _ in range(3):
        with pytest.raises(BytesLost):
            spool.open(ID, 1)
        with pytest.raises(SpoolDown):
            spool.create(ID)
    assert open_descriptors() == before


def test_the_spool_on_the_event_loop_is_caught(tmp_path):
    """That the watch in conftest is awake."""

    async def main() -> None:
        await asyncio.to_thread(DiskSpool(tmp_path).create, ID)
        for call in (
            lambda: DiskSpool(tmp_path).create(OTHER),
            lambda: DiskSpool(tmp_path).open(ID, 0),
            lambda: DiskSpool(tmp_path).discard(ID),
        ):
            with pytest.raises(BlockingError):
                call()

    asyncio.run(main())

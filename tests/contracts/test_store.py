"""The contract of `Store`, over every adapter; the filesystem on one volume and on two."""

import hashlib
import io
import os
import threading
import time
from pathlib import Path

import pytest

from rig import buckets
from rig.journal import RecordingJournal
from rig.s3 import options, unfinished
from tusplyr.core.digest import hash_file_chunked
from tusplyr.core.errors import BytesLost, Conflict, NoSpace, StoreDown
from tusplyr.core.model import Content
from tusplyr.ports import Staged
from tusplyr.stores.filesystem import INCOMING, FilesystemStore
from tusplyr.stores.memory import MemoryStore
from tusplyr.stores.s3 import S3Store

DATA = b"the whole content"


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


class Rig:
    """A store, a place where staged files are, and a way to see what publishing has left behind."""

    def __init__(self, store, spool, root=None, leftovers=None) -> None:
        self.store = store
        self.spool = spool
        self.root = root
        self.leftovers = leftovers or self._copies
        self.count = 0

    def source(self, data: bytes):
        self.count += 1
        path = self.spool / f"{self.count:032x}"
        path.write_bytes(data)
        return Staged(path.name, lambda: path.open("rb", buffering=0), str(path))

    def publish(self, data: bytes, key: str | None = None, claimed: bytes | None = None) -> Content:
        sha256 = hashlib.sha256(data if claimed is None else claimed).hexdigest()
        content = Content(key or f"audio/{sha256[:16]}.wav", sha256, len(data))
        assert self.store.publish(content, self.source(data))
        return content

    def _copies(self) -> list[str]:
        return [] if self.root is None else [path.name for path in (self.root / INCOMING).glob("*")]


S3 = ["moto", "r2", pytest.param("versitygw", marks=pytest.mark.e2e)]


@pytest.fixture(params=["memory", "one volume", "two volumes", *S3])
def rig(request, tmp_path):
    spool = tmp_path / "spool"
    spool.mkdir()
    if request.param == "memory":
        yield Rig(MemoryStore(), spool)
    elif request.param == "r2":
        with buckets.r2() as bucket:
            yield from in_buckets(bucket, spool)
    elif request.param in {"moto", "versitygw"}:
        yield from in_buckets(request.getfixturevalue(request.param)(), spool)
    else:
        one = request.param == "one volume"
        root = tmp_path / "store" if one else request.getfixturevalue("other_volume") / "store"
        root.mkdir()
        yield Rig(FilesystemStore(root), spool, root)


def in_buckets(bucket, spool):
    journal = RecordingJournal()
    store = S3Store(options(bucket), journal)
    yield Rig(store, spool, leftovers=lambda: unfinished(bucket) + journal.abandoned())
    store.close()


@pytest.fixture
def two(tmp_path, other_volume):
    return Rig(FilesystemStore(other_volume), tmp_path, other_volume)


def read(store, key: str) -> bytes:
    with store.open(key) as file:
        return file.read()


@pytest.mark.parametrize("data", [DATA, b"", bytes(range(256)) * 40_000], ids=["short", "empty", "10 MB"])
def test_what_was_published_is_read_back(rig, data):
    content = rig.publish(data)
    assert read(rig.store, content.key) == data
    assert rig.store.has(content)
    assert list(rig.store.keys()) == [content.key]
    assert rig.leftovers() == []


def test_what_is_not_there_is_none(rig):
    assert rig.store.open("audio/0123456789abcdef.wav") is None
    assert not rig.store.has(Content("audio/0123456789abcdef.wav", "0" * 64, len(DATA)))
    assert list(rig.store.keys()) == []


def test_publishing_again_is_a_success(rig):
    content = rig.publish(DATA)
    source = rig.source(DATA)
    for _ in range(2):
        assert rig.store.publish(content, source)
    assert read(rig.store, content.key) == DATA
    assert list(rig.store.keys()) == [content.key]
    assert rig.leftovers() == []


def test_the_same_content_of_another_upload_is_a_success(rig):
    assert rig.publish(DATA) == rig.publish(DATA)
    assert rig.leftovers() == []


@pytest.mark.parametrize("other", [b"another content!!", b"", DATA + b"!"], ids=["same length", "empty", "longer"])
def test_other_content_under_the_key_is_refused_and_nothing_changes(rig, other):
    content = rig.publish(DATA)
    with pytest.raises(Conflict):
        rig.publish(other, content.key)
    assert read(rig.store, content.key) == DATA
    assert list(rig.store.keys()) == [content.key]
    assert rig.leftovers() == []


@pytest.mark.parametrize("other", [DATA, b"another content!!"], ids=["the same", "another"])
def test_without_comparing_a_free_key_is_taken_and_what_is_under_a_taken_one_is_left_unread(rig, other):
    sha256 = hashlib.sha256(DATA).hexdigest()
    content = Content(f"files/{sha256[:16]}", sha256, len(DATA))
    assert rig.store.publish(content, rig.source(DATA), compare=False)
    newer = Content(content.key, hashlib.sha256(other).hexdigest(), len(other))
    assert not rig.store.publish(newer, rig.source(other), compare=False)
    assert read(rig.store, content.key) == DATA
    assert rig.leftovers() == []


@pytest.mark.parametrize("compare", [False, True])
def test_a_source_that_is_missing_is_told_as_lost_bytes(rig, compare):
    def missing():
        raise BytesLost("it is missing")

    content = Content("files/0123456789abcdef", hashlib.sha256(DATA).hexdigest(), len(DATA))
    with pytest.raises(BytesLost):
        rig.store.publish(content, Staged("missing", missing, str(rig.spool / "missing")), compare=compare)
    assert list(rig.store.keys()) == []
    assert rig.leftovers() == []


def test_a_spool_without_files_is_copied_from(tmp_path):
    (tmp_path / "store").mkdir()
    rig = Rig(FilesystemStore(tmp_path / "store"), tmp_path, tmp_path / "store")
    content = Content("files/0123456789abcdef", hashlib.sha256(DATA).hexdigest(), len(DATA))
    assert rig.store.publish(content, Staged("upload", lambda: io.BytesIO(DATA)))
    assert read(rig.store, content.key) == DATA
    assert rig.leftovers() == []


def test_an_object_can_be_sought(rig):
    content = rig.publish(DATA)
    with rig.store.open(content.key) as file:
        file.seek(4)
        assert file.read(5) == b"whole"
        assert hash_file_chunked(file) == content.sha256


def test_keys_are_those_of_every_folder(rig):
    keys = ["audio/b.wav", "audio/a.wav", "files/c", "images/d.png"]
    for key in keys:
        rig.publish(DATA, key)
    assert sorted(rig.store.keys()) == sorted(keys)


def test_of_many_publishing_one_key_at_once_all_succeed_and_one_object_is_there(rig):
    errors = []

    def publish() -> None:
        try:
            rig.publish(DATA)
        except StoreDown as error:
            errors.append(error)

    sources = [threading.Thread(target=publish) for _ in range(8)]
    for thread in sources:
        thread.start()
    for thread in sources:
        thread.join()
    assert errors == []
    assert len(list(rig.store.keys())) == 1
    assert rig.leftovers() == []


def test_sweeping_never_touches_an_object(rig):
    content = rig.publish(DATA)
    assert rig.store.sweep(2**40) == 0
    assert read(rig.store, content.key) == DATA


def test_on_one_volume_publishing_is_a_link_to_the_same_bytes(tmp_path):
    (tmp_path / "store").mkdir()
    rig = Rig(FilesystemStore(tmp_path / "store"), tmp_path, tmp_path / "store")
    content = rig.publish(DATA)
    spooled = tmp_path / f"{1:032x}"
    assert (tmp_path / "store" / content.key).stat().st_ino == spooled.stat().st_ino
    assert not (tmp_path / "store" / INCOMING).exists()
    spooled.unlink()
    assert read(rig.store, content.key) == DATA


def test_the_directory_is_synced_again_by_whoever_finds_the_key_taken(tmp_path, monkeypatch):
    """The one who made the link may have died before its sync."""
    rig = Rig(FilesystemStore(tmp_path), tmp_path, tmp_path)
    content = rig.publish(DATA)
    synced = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(os.fstat(fd).st_ino), real(fd)))
    rig.publish(DATA)
    assert synced == [(tmp_path / content.key).parent.stat().st_ino]


def test_a_copy_that_never_finished_is_swept_once_it_is_old(two):
    (two.root / INCOMING).mkdir()
    for name, at in (("old", 1000), ("young", 2000)):
        (two.root / INCOMING / name).write_bytes(b"half")
        os.utime(two.root / INCOMING / name, (at, at))
    assert two.store.sweep(1500) == 1
    assert two.leftovers() == ["young"]
    assert list(two.store.keys()) == []


def test_a_copy_that_vanishes_while_sweeping_is_no_error(two):
    """A name that is listed and not there when it is looked at: what a finishing publish leaves for an instant."""
    (two.root / INCOMING).mkdir()
    (two.root / INCOMING / "vanished").symlink_to("nowhere")
    assert two.store.sweep(2**40) == 0


def test_a_copy_that_is_not_what_was_received_is_not_published(two):
    with pytest.raises(StoreDown):
        two.publish(b"torn", claimed=b"whole")
    assert list(two.store.keys()) == []
    assert two.leftovers() == []


def test_a_volume_too_small_for_the_copy_is_no_space_and_keeps_nothing(tmp_path, small_volume):
    rig = Rig(FilesystemStore(small_volume), tmp_path, small_volume)
    with pytest.raises(NoSpace):
        rig.publish(bytes(4 * 1024 * 1024))
    assert list(rig.store.keys()) == []
    assert rig.leftovers() == []
    assert rig.store.has(rig.publish(DATA))


def test_what_a_disk_refuses_is_store_down(tmp_path):
    (tmp_path / "audio").write_bytes(b"not a directory")
    rig = Rig(FilesystemStore(tmp_path), tmp_path)
    with pytest.raises(StoreDown):
        rig.publish(DATA)
    with pytest.raises(StoreDown):
        rig.store.open("audio/x")
    with pytest.raises(StoreDown):
        rig.store.has(Content("audio/x", "0" * 64, 1))
    with pytest.raises(StoreDown):
        list(FilesystemStore(tmp_path / "audio").keys())


def test_no_descriptor_is_left_open(rig):
    content = rig.publish(DATA)
    before = open_descriptors()
    rig.publish(DATA)
    with pytest.raises(Conflict):
        rig.publish(b"other", content.key)
    deadline = time.monotonic() + 5
    while (
        open_descriptors() > before and time.monotonic() < deadline
    ):  # a server in this process closes in its own time
        time.sleep(0.01)
    assert open_descriptors() <= before


def test_memory_gives_a_reader_of_its_own():
    store = MemoryStore()
    store.publish(
        Content("files/a", hashlib.sha256(DATA).hexdigest(), len(DATA)), Staged("upload", lambda: io.BytesIO(DATA))
    )
    first, second = store.open("files/a"), store.open("files/a")
    assert (first.read(), second.read()) == (DATA, DATA)


def plant_pipe(path: Path) -> None:
    os.mkfifo(path)


def plant_link(path: Path) -> None:
    path.symlink_to("/etc/hostname")


def plant_folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("plant", [plant_pipe, plant_link, plant_folder])
def test_what_is_not_a_file_under_the_key_is_refused_and_never_waited_for(tmp_path, plant):
    rig = Rig(FilesystemStore(tmp_path / "store"), tmp_path, tmp_path / "store")
    (tmp_path / "store" / "audio").mkdir(parents=True)
    key = "audio/0123456789abcdef.wav"
    plant(tmp_path / "store" / key)
    with pytest.raises((StoreDown, Conflict)):
        rig.publish(DATA, key)
    with pytest.raises(StoreDown):
        rig.store.open(key)


def test_keys_are_those_of_files_alone(tmp_path):
    store = tmp_path / "store"
    rig = Rig(FilesystemStore(store), tmp_path, store)
    content = rig.publish(DATA)
    (store / "lost+found" / "#12").mkdir(parents=True)
    (store / "audio" / "folder").mkdir()
    assert list(rig.store.keys()) == [content.key]

"""Bodies that are verified before they count, and uploads that must turn out to be what was declared."""

import asyncio
import hashlib
import os

import pytest

from engine.rig import CUT, HANG, WAV, Rig, ScriptedBody, until
from tusplyr.core.checksum import ALGORITHMS, Checksum
from tusplyr.core.commands import Append, Create
from tusplyr.core.errors import (
    BadHeader,
    ChecksumMismatch,
    Cut,
    DigestMismatch,
    Gone,
    Interrupted,
    NoSpace,
    NotFound,
    TooLarge,
)
from tusplyr.core.model import Reason, Status, Upload
from tusplyr.durable import free_bytes
from tusplyr.engine.intake import Pace
from tusplyr.spool.disk import DiskSpool
from tusplyr.spool.memory import MemorySpool

KIB = 1024
DATA = b"0123456789"
SHA256 = hashlib.sha256(DATA).hexdigest()
WRONG = hashlib.sha256(b"else").hexdigest()


def checksum(data: bytes, algorithm: str = "sha1") -> Checksum:
    return Checksum(algorithm, hashlib.new(algorithm, data).digest())


async def append(rig: Rig, upload: Upload, offset: int, body: ScriptedBody, check: Checksum | None) -> Upload:
    size = sum(map(len, body._script)) if body._known else None

    def read() -> Append:
        return Append(offset=offset, body_length=size, checksum=check)

    return (await rig.engine.append(upload.id, read, body)).upload


async def late(rig: Rig, upload: Upload, offset: int, body: ScriptedBody, expected) -> Upload:
    """An append whose checksum comes behind the body."""

    def read() -> Append:
        return Append(offset=offset, body_length=None, expected=expected)

    return (await rig.engine.append(upload.id, read, body)).upload


@pytest.fixture
def rig(make) -> Rig:
    return make(pace=Pace(span=1, lapse=0.001))  # a checkpoint after every piece, where one is lawful


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_bytes_that_match_are_kept(rig, run, algorithm, known):
    """CK-03, CK-06, D-30."""

    async def main():
        upload = await rig.create(10)
        for start, end in ((0, 4), (4, 7), (7, 10)):
            piece = DATA[start:end]
            body = ScriptedBody(piece[:1], piece[1:], known=known)
            upload = await append(rig, upload, start, body, checksum(piece, algorithm))
            assert upload.offset == end
        assert (upload.status, upload.sha256) == (Status.STORED, SHA256)
        assert rig.stored(upload.key) == DATA

    run(main())


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("place", [(0, 7), (0, 10), (4, 7), (4, 10)])
def test_bytes_that_do_not_match_are_as_if_they_had_never_come(rig, run, algorithm, known, place):
    """CK-08: the running digest goes back as well."""

    async def main():
        start, end = place
        upload = await rig.create(10, *[DATA[:start]] * bool(start))
        wrong = ScriptedBody(b"x" * (end - start - 1), b"x", known=known)
        with pytest.raises(ChecksumMismatch):
            await append(rig, upload, start, wrong, checksum(DATA[start:end], algorithm))
        assert await rig.row(upload.id) == upload
        upload = await append(rig, upload, start, ScriptedBody(DATA[start:]), checksum(DATA[start:], algorithm))
        assert (upload.status, upload.sha256) == (Status.STORED, SHA256)
        assert rig.stored(upload.key) == DATA

    run(main())


def test_nothing_counts_before_it_is_verified(rig, run):
    """CK-11."""

    async def main():
        upload = await rig.create(10)
        body = ScriptedBody(DATA[:4], 0.01, DATA[4:6], HANG)
        running = asyncio.create_task(append(rig, upload, 0, body, checksum(DATA)))
        await until(lambda: body.waiting)
        assert (await rig.engine.query(upload.id, interrupts=False)).upload == upload
        assert (await rig.engine.query(upload.id, interrupts=True)).upload == upload
        with pytest.raises(Interrupted):
            await running

    run(main())


def test_a_cut_leaves_nothing_of_a_body_under_a_checksum(rig, run):
    """CK-10."""

    async def main():
        upload = await rig.create(10, DATA[:2])
        with pytest.raises(Cut):
            await append(rig, upload, 2, ScriptedBody(DATA[2:6], DATA[6:], CUT), checksum(DATA[2:]))
        assert await rig.row(upload.id) == upload
        upload = await append(rig, upload, 2, ScriptedBody(DATA[2:]), checksum(DATA[2:]))
        assert rig.stored(upload.key) == DATA

    run(main())


def test_an_empty_body_matches_the_checksum_of_nothing_alone(rig, run):
    """CK-12."""

    async def main():
        upload = await rig.create(10, DATA[:2])
        for known in (True, False):
            assert await append(rig, upload, 2, ScriptedBody(known=known), checksum(b"")) == upload
            with pytest.raises(ChecksumMismatch):
                await append(rig, upload, 2, ScriptedBody(known=known), checksum(b"x"))
        stored = await append(rig, upload, 2, ScriptedBody(DATA[2:]), None)
        assert await append(rig, stored, 10, ScriptedBody(known=True), checksum(b"")) == stored
        with pytest.raises(ChecksumMismatch):
            await append(rig, stored, 10, ScriptedBody(known=True), checksum(b"x"))
        assert await rig.row(upload.id) == stored

    run(main())


@pytest.mark.parametrize("data", [b"", DATA])
def test_a_creation_whose_body_does_not_match_leaves_nothing_to_address(rig, run, data):
    """CK-13."""

    async def main():
        def create(check: Checksum):
            command = Create(length=len(data), media=WAV, append=True, body_length=len(data), checksum=check)
            return rig.engine.create(command, ScriptedBody(*[data] * bool(data), known=True))

        with pytest.raises(ChecksumMismatch):
            await create(checksum(b"else"))
        (row,) = rig.ledger._rows.values()
        assert (row.status, row.reason) == (Status.GONE, Reason.TERMINATED)
        assert list(rig.spool.files()) == []
        upload = (await create(checksum(data))).upload
        assert (upload.status, rig.stored(upload.key)) == (Status.STORED, data)

    run(main())


@pytest.mark.parametrize("start", [0, 4])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_checksum_may_come_behind_the_body(rig, run, algorithm, start):
    """CT-02."""

    async def main():
        upload = await rig.create(10, *[DATA[:start]] * bool(start))
        rest = ScriptedBody(DATA[start:6], DATA[6:8])
        with pytest.raises(ChecksumMismatch):
            await late(rig, upload, start, rest, lambda: checksum(DATA, algorithm))
        assert await rig.row(upload.id) == upload
        rest = ScriptedBody(DATA[start:6], DATA[6:8])
        upload = await late(rig, upload, start, rest, lambda: checksum(DATA[start:8], algorithm))
        assert upload.offset == 8
        upload = await late(rig, upload, 8, ScriptedBody(DATA[8:]), lambda: checksum(DATA[8:], algorithm))
        assert rig.stored(upload.key) == DATA

    run(main())


def test_a_checksum_that_was_to_come_and_did_not_leaves_nothing_of_the_body(rig, run):
    """CT-03."""

    async def main():
        def missing():
            raise BadHeader("it is missing")

        upload = await rig.create(10, DATA[:2])
        with pytest.raises(BadHeader):
            await late(rig, upload, 2, ScriptedBody(DATA[2:]), missing)
        assert await rig.row(upload.id) == upload

    run(main())


def test_a_verified_body_is_not_read_again(make, run):
    class Unread(MemorySpool):
        def staged(self, upload_id):
            raise AssertionError("nobody needs to read")

    async def main():
        rig = make(spool=Unread())
        upload = await rig.create(20)
        for start in (0, 4):
            upload = await append(rig, upload, start, ScriptedBody(DATA[:4]), checksum(DATA[:4], "sha256"))
        assert upload.offset == 8

    run(main())


def test_a_body_too_long_is_refused_before_its_checksum(rig, run):
    async def main():
        upload = await rig.create(4)
        with pytest.raises(TooLarge):
            await append(rig, upload, 0, ScriptedBody(DATA[:4], DATA[4:]), checksum(DATA))
        assert await rig.row(upload.id) == upload

    run(main())


async def declaring(rig: Rig, sha256: str, *script: bytes, length: int = 10) -> Upload:
    command = Create(length=length, media=WAV, append=bool(script), body_length=None, declared=sha256)
    return (await rig.engine.create(command, ScriptedBody(*script))).upload


def test_a_declared_digest_that_is_right_changes_nothing(rig, run):
    async def main():
        upload = await declaring(rig, SHA256)
        upload = await append(rig, upload, 0, ScriptedBody(DATA), None)
        assert (upload.status, upload.sha256) == (Status.STORED, SHA256)

    run(main())


@pytest.mark.parametrize("known", [True, False])
def test_content_that_is_not_what_was_declared_is_not_published_and_the_upload_is_gone(rig, run, known):
    async def main():
        upload = await declaring(rig, WRONG)
        upload = await append(rig, upload, 0, ScriptedBody(DATA[:4]), None)
        with pytest.raises(DigestMismatch):
            await append(rig, upload, 4, ScriptedBody(DATA[4:], known=known), None)
        row = await rig.row(upload.id)
        assert (row.status, row.reason) == (Status.GONE, Reason.INVALID)
        assert list(rig.spool.files()) == []
        assert list(rig.store.keys()) == []
        with pytest.raises(Gone, match="digest"):
            await rig.engine.query(upload.id, interrupts=True)

    run(main())


def test_a_creation_that_brings_other_content_than_it_declares_is_gone(rig, run):
    async def main():
        with pytest.raises(DigestMismatch):
            await declaring(rig, WRONG, DATA)
        (row,) = rig.ledger._rows.values()
        assert (row.status, row.reason) == (Status.GONE, Reason.INVALID)

    run(main())


def test_an_empty_upload_that_declares_something_is_not_created(rig, run):
    async def main():
        with pytest.raises(DigestMismatch):
            await declaring(rig, WRONG, length=0)
        assert rig.ledger._rows == {}
        upload = await declaring(rig, hashlib.sha256().hexdigest(), length=0)
        assert upload.status is Status.STORED
        with pytest.raises(NotFound):
            await rig.engine.query("0" * 32, interrupts=False)

    run(main())


@pytest.mark.parametrize("checked", [False, True])
def test_a_body_under_a_checksum_stops_at_the_reserve_like_any_other(make, run, small_volume, checked):
    rig = make(spool=DiskSpool(small_volume, reserve=1024 * KIB), pace=Pace(span=128 * KIB, lapse=2.0))

    async def main():
        pieces = [os.urandom(64 * KIB) for _ in range(48)]
        upload = await rig.create(48 * 64 * KIB)
        with pytest.raises(NoSpace):
            await append(rig, upload, 0, ScriptedBody(*pieces), checksum(b"".join(pieces)) if checked else None)

    run(main())
    assert free_bytes(small_volume) >= 512 * KIB


def test_what_a_checksum_threw_away_does_not_keep_the_volume_full(make, run, tmp_path):
    rig = make(spool=DiskSpool(tmp_path))

    async def main():
        upload = await rig.create(1000)
        with pytest.raises(ChecksumMismatch):
            await append(rig, upload, 0, ScriptedBody(b"x" * 900), checksum(b"y"))

    run(main())
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) == 0

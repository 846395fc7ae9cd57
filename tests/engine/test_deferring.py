"""Uploads whose length is told later than their bytes."""

import hashlib

import pytest

from engine.rig import CUT, Rig, ScriptedBody
from tusplyr.core.commands import Append, Create
from tusplyr.core.decide import Limits
from tusplyr.core.errors import Cut, LengthFixed, TooLarge
from tusplyr.core.model import Status, Upload

DATA = b"0123456789"
SHA256 = hashlib.sha256(DATA).hexdigest()


async def begun(rig: Rig, *script: bytes) -> Upload:
    """An upload without a length."""
    command = Create(length=None, append=bool(script), body_length=None)
    return (await rig.engine.create(command, ScriptedBody(*script))).upload


async def append(rig: Rig, upload: Upload, offset: int, body: ScriptedBody, length: int | None = None) -> Upload:
    size = None if not body._known else sum(map(len, body._script))

    def read() -> Append:
        return Append(offset=offset, body_length=size, length=length)

    return (await rig.engine.append(upload.id, read, body)).upload


def test_bytes_may_come_before_the_length(rig, run):
    """CW-10, DL-05."""

    async def main():
        upload = await begun(rig, DATA[:4])
        assert (upload.offset, upload.length) == (4, None)
        upload = await append(rig, upload, 4, ScriptedBody(DATA[4:6]))
        assert await rig.row(upload.id) == upload
        assert (upload.offset, upload.length) == (6, None)
        upload = await append(rig, upload, 6, ScriptedBody(DATA[6:8], known=True), length=10)
        assert await rig.row(upload.id) == upload
        assert (upload.offset, upload.length) == (8, 10)
        upload = await append(rig, upload, 8, ScriptedBody(DATA[8:], known=True))
        assert (upload.status, upload.sha256) == (Status.STORED, SHA256)
        assert rig.stored(upload.key) == DATA

    run(main())


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("sent", [0, 4])
def test_the_length_may_come_with_the_last_byte_or_after_it(rig, run, known, sent):
    """DL-10."""

    async def main():
        upload = await begun(rig, DATA)
        upload = await append(rig, upload, 10, ScriptedBody(*[DATA[:sent]] * bool(sent), known=known), length=10 + sent)
        whole = DATA + DATA[:sent]
        assert (upload.status, upload.sha256) == (Status.STORED, hashlib.sha256(whole).hexdigest())
        assert rig.stored(upload.key) == whole

    run(main())


def test_a_length_of_nothing_makes_an_empty_upload_whole(rig, run):
    async def main():
        upload = await append(rig, await begun(rig), 0, ScriptedBody(known=True), length=0)
        assert (upload.status, upload.sha256) == (Status.STORED, hashlib.sha256().hexdigest())
        assert rig.stored(upload.key) == b""

    run(main())


@pytest.mark.parametrize("known", [True, False])
def test_an_empty_body_records_a_length(rig, run, known):
    """DL-05: HEAD shows it afterwards."""

    async def main():
        upload = await begun(rig, DATA[:4])
        upload = await append(rig, upload, 4, ScriptedBody(known=known), length=10)
        assert await rig.row(upload.id) == upload
        assert (upload.offset, upload.length, upload.status) == (4, 10, Status.RECEIVING)

    run(main())


def test_a_refused_length_is_not_recorded(make, run):
    """DL-06, DL-07, DL-08, DL-09."""

    async def main():
        rig = make(limits=Limits(20))
        upload = await begun(rig, DATA[:4])
        for length, size, error in ((3, 0, LengthFixed), (6, 3, TooLarge), (21, 1, TooLarge)):
            with pytest.raises(error):
                await append(rig, upload, 4, ScriptedBody(DATA[:size], known=True), length=length)
            assert await rig.row(upload.id) == upload
        upload = await append(rig, upload, 4, ScriptedBody(b"x", known=True), length=10)
        with pytest.raises(LengthFixed):
            await append(rig, upload, 5, ScriptedBody(b"y", known=True), length=11)
        assert await rig.row(upload.id) == upload

    run(main())


def test_a_body_that_passes_the_limit_leaves_the_upload_as_it_was(make, run):
    """DL-11."""

    async def main():
        rig = make(limits=Limits(8))
        upload = await begun(rig, DATA[:4])
        for body in (ScriptedBody(DATA[4:], known=True), ScriptedBody(DATA[4:6], DATA[6:])):
            with pytest.raises(TooLarge):
                await append(rig, upload, 4, body)
            assert await rig.row(upload.id) == upload
        assert (await append(rig, upload, 4, ScriptedBody(DATA[4:8]), length=8)).status is Status.STORED

    run(main())


def test_what_arrived_before_a_cut_is_kept_and_the_length_can_be_said_again(rig, run):
    """D-22."""

    async def main():
        upload = await begun(rig, DATA[:4])
        with pytest.raises(Cut):
            await append(rig, upload, 4, ScriptedBody(DATA[4:6], CUT), length=10)
        row = await rig.row(upload.id)
        assert row.offset == 6
        upload = await append(rig, row, 6, ScriptedBody(DATA[6:]), length=10)
        assert rig.stored(upload.key) == DATA

    run(main())

"""Which bytes of a stored upload a request asks for (RFC 9110, section 14)."""

import asyncio
import io

import pytest

from tusplyr.core.media import media_of
from tusplyr.core.model import Status, Upload
from tusplyr.web.download import Download, lacks

SHA256 = "0123456789abcdef" * 4
DATA = bytes(range(100))


def answer(headers, data=DATA):
    """The status, the headers and the bytes that a download answers with."""
    upload = Upload(
        id="0" * 32,
        length=len(data),
        offset=len(data),
        status=Status.STORED,
        sha256=SHA256,
        media=media_of("a.wav"),
        created_at=0.0,
        updated_at=0.0,
    )
    sent = []

    async def run(function, *args):
        return function(*args)

    async def send(message):
        sent.append(message)

    asked = {name: (value,) for name, value in headers.items()}
    file = io.BytesIO(data) if lacks(asked, upload) else None
    asyncio.run(Download(upload, file, asked, run)({}, None, send))
    assert file is None or file.closed
    told = {name.decode(): value.decode("latin-1") for name, value in sent[0]["headers"]}
    return sent[0]["status"], told, b"".join(message["body"] for message in sent[1:])


@pytest.mark.parametrize(
    ("asked", "first", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-99", 0, 100),
        ("bytes=10-19", 10, 20),
        ("bytes=99-", 99, 100),
        ("bytes=0-", 0, 100),
        ("bytes=90-1000", 90, 100),
        ("bytes=-1", 99, 100),
        ("bytes=-1000", 0, 100),
    ],
)
def test_a_range_is_answered_with_exactly_its_bytes(asked, first, end):
    status, told, body = answer({"range": asked})
    assert (status, body) == (206, DATA[first:end])
    assert told["content-range"] == f"bytes {first}-{end - 1}/100"
    assert told["content-length"] == str(end - first)


@pytest.mark.parametrize("asked", ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=5000-"])
def test_a_range_behind_the_end_cannot_be_satisfied(asked):
    status, told, body = answer({"range": asked})
    assert (status, body) == (416, b"")
    assert told["content-range"] == "bytes */100"


@pytest.mark.parametrize(
    "asked",
    [
        "",
        "bytes=",
        "bytes=-",
        "bytes=5-4",
        "bytes=0-1,5-6",
        "lines=0-1",
        "bytes=a-b",
        "bytes=+1-2",
        "bytes= 0-1",
        "bytes=0-1\n5",
    ],
)
def test_what_is_not_one_range_of_bytes_is_answered_with_the_whole(asked):
    status, told, body = answer({"range": asked})
    assert (status, body) == (200, DATA)
    assert "content-range" not in told


@pytest.mark.parametrize("asked", ["bytes=0-{}", "bytes={}-", "bytes=-{}"])
def test_a_number_of_thousands_of_digits_is_no_error(asked):
    status, _, _ = answer({"range": asked.format("9" * 5000)})
    assert status in {200, 206, 416}


def test_a_range_of_an_older_version_is_answered_with_the_whole():
    asked = {"range": "bytes=0-1"}
    assert answer(asked | {"if-range": '"other"'})[0] == 200
    assert answer(asked | {"if-range": f'"{SHA256}"'})[0] == 206


def test_an_empty_upload_has_no_range_and_a_whole():
    assert answer({"range": "bytes=0-"}, b"")[0] == 416
    assert answer({}, b"")[::2] == (200, b"")


def test_a_known_version_is_not_sent_again():
    status, _, body = answer({"if-none-match": f'"x", "{SHA256}"'})
    assert (status, body) == (304, b"")

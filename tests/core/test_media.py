"""What a file is, told from its name (plyr.md 1.1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusplyr.core.media import MEDIA, OTHER, media_of
from tusplyr.core.model import Media

TABLE = [
    ("mp3", "audio", "audio/mpeg"),
    ("wav", "audio", "audio/wav"),
    ("m4a", "audio", "audio/mp4"),
    ("aiff", "audio", "audio/aiff"),
    ("aif", "audio", "audio/aiff"),
    ("flac", "audio", "audio/flac"),
    ("webm", "audio", "audio/webm"),
    ("ogg", "audio", "audio/ogg"),
    ("jpg", "images", "image/jpeg"),
    ("jpeg", "images", "image/jpeg"),
    ("png", "images", "image/png"),
    ("webp", "images", "image/webp"),
    ("gif", "images", "image/gif"),
]


@pytest.mark.parametrize(("extension", "folder", "label"), TABLE)
def test_known_extensions_in_any_case(extension, folder, label):
    expected = Media(folder, f".{extension}", label)
    for name in (f"take.{extension}", f"take.{extension.upper()}", f"a/b.c/take one.{extension}", f"..{extension}"):
        assert media_of(name) == expected


def test_the_table_holds_nothing_else():
    assert set(MEDIA) == {extension for extension, _, _ in TABLE}


@pytest.mark.parametrize(
    "name",
    [
        *("", "mp3", ".mp3", "a/.mp3", "take", "take.", "take.mp3 ", "take.mp3?x=1", "take.mp3/", "take.mp3\0"),
        *("take.wave", "take.oga", "take.mp4", "take.opus", "take.heic", "take.mp3.exe", "take.\N{SCRIPT SMALL G}if"),
    ],
)
def test_everything_else_is_other(name):
    assert media_of(name) == OTHER


def test_alias_keeps_its_spelling_in_the_key():
    assert media_of("a.aif").key("0123456789abcdef") == "audio/0123456789abcdef.aif"
    assert media_of("a.JPEG").key("0123456789abcdef") == "images/0123456789abcdef.jpeg"
    assert OTHER.key("0123456789abcdef") == "files/0123456789abcdef"


@given(st.text())
def test_nothing_of_a_hostile_name_reaches_the_key(name):
    assert media_of(name) in {OTHER, *MEDIA.values()}

"""What is advertised works, and what is not is refused (ids C-01, C-09, C-53 and the first of every extension)."""

import pytest

from rig.tus import path_of
from web.service import BODY, TUS, ask, coded, patch, post, spell

WRONG = "Upload-Checksum: sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA="


def creates(tus):
    return post(tus, "Upload-Length: 5").status == 201


def creates_with_upload(tus):
    return post(tus, "Upload-Length: 5", BODY, body=b"hel").headers.get("upload-offset") == "3"


def defers_the_length(tus):
    return post(tus, "Upload-Defer-Length: 1").status == 201


def expires(tus):
    return "upload-expires" in post(tus, "Upload-Length: 5").headers


def checks(tus):
    return patch(tus, tus.create(5), 0, WRONG, body=b"hello").status == 460


def checks_trailers(tus):
    lines = (TUS, BODY, "Upload-Offset: 0", "Transfer-Encoding: chunked", "Trailer: Upload-Checksum")
    path = tus.create(5)
    tus.send(spell(tus, "PATCH", path, *lines) + coded(b"hello") + f"0\r\n{WRONG}\r\n\r\n".encode())
    return tus.reply().status == 460


def terminates(tus):
    return tus.delete(tus.create(5)).status == 204


def concatenates(tus):
    part = post(tus, "Upload-Length: 5", "Upload-Concat: partial", BODY, body=b"hello").headers.get("location", "")
    return post(tus, f"Upload-Concat: final;{part}").status == 201


def concatenates_early(tus):
    part = post(tus, "Upload-Length: 5", "Upload-Concat: partial").headers.get("location", "")
    return post(tus, f"Upload-Concat: final;{part}").status == 201


PROBES = {
    "creation": creates,
    "creation-with-upload": creates_with_upload,
    "creation-defer-length": defers_the_length,
    "expiration": expires,
    "checksum": checks,
    "checksum-trailer": checks_trailers,
    "termination": terminates,
    "concatenation": concatenates,
    "concatenation-unfinished": concatenates_early,
}


def offered(tus):
    return ask(tus, "OPTIONS", "/files").headers["tus-extension"].split(",")


def test_every_extension_that_is_advertised_is_one_of_the_protocol_and_is_named_once(tus):  # C-09
    assert set(offered(tus)) <= set(PROBES)
    assert len(set(offered(tus))) == len(offered(tus))


@pytest.mark.parametrize("extension", PROBES, ids=lambda extension: f"C-53 {extension}")
def test_an_extension_works_if_and_only_if_it_is_advertised(tus, extension):
    assert PROBES[extension](tus) == (extension in offered(tus))


def test_the_core_alone_brings_a_content_across(tus):
    """C-01, CR-11, C-30, C-36: discovery, then HEAD and PATCH in turn."""
    assert ask(tus, "OPTIONS", "/files").headers["tus-version"] == "1.0.0"
    content = bytes(range(200))
    path = path_of(post(tus, "Upload-Length: 200").headers["location"])
    while (at := tus.head(path).offset) < len(content):
        assert tus.patch(path, at, content[at : at + 70]).offset == min(at + 70, 200)
    assert ask(tus, "GET", path).body == content

"""The rules: (upload, command) to what the engine does, or to a refusal."""

import pytest
from msgspec.structs import replace

from tusplyr.core import decide
from tusplyr.core.commands import Append, Create
from tusplyr.core.decide import Limits
from tusplyr.core.errors import Gone, LengthFixed, NotFound, OffsetMismatch, TooLarge
from tusplyr.core.media import OTHER
from tusplyr.core.model import Reason, Status, Upload

UPLOAD = Upload(id="0" * 32, length=100, offset=40, media=OTHER, created_at=0.0, updated_at=0.0)
DEFERRED = replace(UPLOAD, length=None)
NONE, TO_100 = Limits(), Limits(100)
DONE = replace(UPLOAD, offset=100, status=Status.STORED)


@pytest.mark.parametrize(
    ("upload", "error"),
    [
        pytest.param(None, NotFound, id="C-37 unknown"),
        pytest.param(replace(UPLOAD, status=Status.GONE, reason=Reason.TERMINATED), NotFound, id="TM-03"),
        pytest.param(replace(UPLOAD, status=Status.GONE, reason=Reason.LOST), Gone, id="lost"),
    ],
)
def test_what_is_not_there_is_not_addressed(upload, error):
    with pytest.raises(error):
        decide.present(upload, NONE)


@pytest.mark.parametrize("status", [Status.RECEIVING, Status.RECEIVED, Status.STORED])
def test_everything_else_is_there(status):  # C-26: finished uploads still answer
    upload = replace(UPLOAD, status=status)
    assert decide.present(upload, NONE) is upload


DAY = Limits(expire_after=86_400.0)


def test_an_unfinished_upload_is_there_until_its_deadline_whoever_has_swept():  # EX-09
    assert decide.present(UPLOAD, DAY, 86_399.9) is UPLOAD
    with pytest.raises(Gone, match="expired"):
        decide.present(UPLOAD, DAY, 86_400.0)
    with pytest.raises(Gone, match="expired"):
        decide.present(replace(UPLOAD, status=Status.GONE, reason=Reason.EXPIRED), DAY, 0.0)


def test_an_upload_does_not_expire_while_more_of_it_arrives():  # EX-10
    assert decide.present(UPLOAD, DAY) is UPLOAD


@pytest.mark.parametrize("status", [Status.RECEIVED, Status.STORED])
def test_what_is_whole_does_not_expire(status):  # EX-08
    whole = replace(UPLOAD, status=status)
    assert decide.expires_at(whole, DAY) is None
    assert decide.present(whole, DAY, 1e12) is whole


def test_the_deadline_moves_with_the_last_progress():  # EX-04
    assert decide.expires_at(UPLOAD, DAY) == 86_400.0
    assert decide.expires_at(replace(UPLOAD, updated_at=5.0), DAY) == 86_405.0
    assert decide.expires_at(UPLOAD, NONE) is None


def test_a_server_that_forgets_answers_what_is_gone_like_what_never_was():  # D-18
    forgetful = Limits(expire_after=1.0, forget=True)
    for upload in (UPLOAD, replace(UPLOAD, status=Status.GONE, reason=Reason.LOST)):
        with pytest.raises(NotFound):
            decide.present(upload, forgetful, 1.0)


@pytest.mark.parametrize(
    ("upload", "offset", "body_length"),
    [
        pytest.param(UPLOAD, 40, 60, id="C-30 to the end"),
        pytest.param(UPLOAD, 40, 1, id="C-40"),
        pytest.param(UPLOAD, 40, 0, id="C-41"),
        pytest.param(UPLOAD, 40, None, id="C-42"),
        pytest.param(DONE, 100, 0, id="D-12 empty"),
        pytest.param(DONE, 100, None, id="D-12 chunked"),
        pytest.param(DEFERRED, 40, 60, id="DL-05 no length yet"),
        pytest.param(DEFERRED, 40, None, id="DL-05 no length yet, chunked"),
    ],
)
def test_an_append_that_fits_is_planned(upload, offset, body_length):
    assert decide.append(upload, Append(offset=offset, body_length=body_length), TO_100) is upload


@pytest.mark.parametrize(
    ("length", "body_length"),
    [
        pytest.param(100, 60, id="DL-05"),
        pytest.param(45, 5, id="DL-05 the last bytes"),
        pytest.param(40, 0, id="DL-10"),
        pytest.param(100, None, id="DL-05 chunked"),
    ],
)
def test_a_length_that_comes_late_is_that_of_the_upload(length, body_length):
    planned = decide.append(DEFERRED, Append(offset=40, body_length=body_length, length=length), TO_100)
    assert planned == replace(DEFERRED, length=length)
    assert decide.end(planned, TO_100) == length


@pytest.mark.parametrize(
    ("upload", "command", "error"),
    [
        pytest.param(UPLOAD, Append(offset=40, body_length=5, length=99), LengthFixed, id="DL-06 DL-12 D-22"),
        pytest.param(UPLOAD, Append(offset=7, body_length=5, length=99), LengthFixed, id="1.9 length before offset"),
        pytest.param(DEFERRED, Append(offset=40, body_length=0, length=39), LengthFixed, id="DL-07"),
        pytest.param(DEFERRED, Append(offset=40, body_length=5, length=44), TooLarge, id="DL-08"),
        pytest.param(DEFERRED, Append(offset=40, body_length=5, length=101), TooLarge, id="DL-09 D-20"),
        pytest.param(DEFERRED, Append(offset=40, body_length=61), TooLarge, id="DL-11"),
    ],
)
def test_a_length_that_cannot_be_is_refused(upload, command, error):
    with pytest.raises(error):
        decide.append(upload, command, TO_100)


def test_a_length_that_is_said_again_is_no_news():  # DL-06, DL-12, D-22
    assert decide.append(UPLOAD, Append(offset=40, body_length=5, length=100), TO_100) is UPLOAD


def test_an_upload_without_a_length_ends_where_the_limit_is():  # DL-11
    assert decide.end(DEFERRED, TO_100) == 100
    assert decide.end(DEFERRED, NONE) is None
    decide.admit(10**12, None)


@pytest.mark.parametrize("given", [0, 39, 41, 100, 2**63 - 1])
def test_an_append_elsewhere_is_a_mismatch_that_says_where(given):  # C-33
    with pytest.raises(OffsetMismatch) as raised:
        decide.append(UPLOAD, Append(offset=given, body_length=1000), NONE)
    assert (raised.value.expected, raised.value.given) == (40, given)


@pytest.mark.parametrize(
    ("upload", "offset", "body_length"),
    [
        pytest.param(UPLOAD, 40, 61, id="C-43"),
        pytest.param(UPLOAD, 40, 2**63 - 1, id="C-43 huge"),
        pytest.param(DONE, 100, 1, id="D-12"),
    ],
)
def test_a_body_longer_than_what_is_missing_is_too_large(upload, offset, body_length):
    with pytest.raises(TooLarge):
        decide.append(upload, Append(offset=offset, body_length=body_length), NONE)


@pytest.mark.parametrize(
    ("length", "limit", "append", "body_length"),
    [
        pytest.param(100, 100, False, 0, id="CR-08 equal"),
        pytest.param(100, None, False, 0, id="no limit"),
        pytest.param(0, 0, False, 0, id="CR-07"),
        pytest.param(5, None, True, 5, id="CW-07"),
        pytest.param(5, None, True, None, id="CW-02 chunked"),
        pytest.param(5, None, False, 1000, id="CW-09"),
        pytest.param(None, 100, True, 100, id="CW-10"),
        pytest.param(None, None, True, 10**12, id="CW-10 no limit"),
    ],
)
def test_a_creation_that_fits_is_allowed(length, limit, append, body_length):
    decide.create(Create(length=length, append=append, body_length=body_length), Limits(limit))


@pytest.mark.parametrize(
    ("length", "limit", "append", "body_length"),
    [
        pytest.param(101, 100, False, 0, id="CR-08"),
        pytest.param(1, 0, False, 0, id="limit of nothing"),
        pytest.param(100, None, True, 101, id="CW-05"),
        pytest.param(0, None, True, 1, id="CW-05 empty"),
        pytest.param(None, 100, True, 101, id="DL-11 in the POST"),
    ],
)
def test_a_creation_that_does_not_fit_is_too_large(length, limit, append, body_length):
    with pytest.raises(TooLarge):
        decide.create(Create(length=length, append=append, body_length=body_length), Limits(limit))


def test_a_body_is_admitted_up_to_its_last_byte():  # C-44
    decide.admit(100, 100)
    with pytest.raises(TooLarge):
        decide.admit(101, 100)


@pytest.mark.parametrize(("offset", "status"), [(0, Status.RECEIVING), (99, Status.RECEIVING), (100, Status.RECEIVED)])
def test_an_upload_is_received_at_its_length_and_not_before(offset, status):
    assert decide.settle(UPLOAD, offset) is status
    assert decide.settle(DEFERRED, offset) is Status.RECEIVING

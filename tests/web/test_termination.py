"""Termination (ids TM-* and D-18, D-33)."""

import pytest

from web.service import BODY, TUS, UNKNOWN, ask, check_refusal, check_standard, finished


def test_tm_01_termination_is_advertised(tus):
    assert "termination" in ask(tus, "OPTIONS", "/files").headers["tus-extension"].split(",")


def test_tm_02_tm_07_delete_frees_an_unfinished_upload(service, tus):
    path = tus.create(100)
    tus.patch(path, 0, b"hello")
    spooled = service.spool / path.rpartition("/")[2]
    assert spooled.stat().st_size == 5
    reply = tus.delete(path)
    assert (reply.status, reply.body) == (204, b"")
    check_standard(reply)
    assert "content-length" not in reply.headers
    assert not spooled.exists()
    (row,) = [row for row in service.state() if row[0] == spooled.name]
    assert row[1] == "gone"


def test_tm_04_d_33_delete_of_a_finished_upload_keeps_the_object(service, tus):
    path = finished(tus, b"kept for others", "kept.wav")
    objects = service.stored()
    assert tus.delete(path).status == 204
    assert service.stored() == objects
    check_refusal(ask(tus, "GET", path), 404)


@pytest.mark.parametrize("method", ["HEAD", "PATCH", "DELETE", "GET"], ids=lambda method: f"TM-03 D-18 {method}")
def test_a_terminated_upload_is_404_for_ever(service, tus, method):
    path = tus.create(100)
    tus.delete(path)
    before = service.state()
    body = b"hello" if method == "PATCH" else None
    check_refusal(ask(tus, method, path, TUS, BODY, "Upload-Offset: 0", body=body), 404)
    assert service.state() == before


def test_tm_03_the_status_document_of_a_terminated_upload_is_404(tus):
    path = tus.create(100)
    tus.delete(path)
    check_refusal(ask(tus, "GET", path + "/status"), 404)


def test_tm_05_delete_of_an_unknown_upload_is_404(tus):
    check_refusal(tus.delete(UNKNOWN), 404)


def test_tm_06_delete_stops_a_running_patch_first(service, tus, other):
    path = tus.create(1_000_000)
    tus.begin(path, 0, 1_000_000)
    tus.send(bytes(1000))
    assert other.delete(path).status == 204
    check_refusal(tus.reply(), 400)
    check_refusal(other.head(path), 404)
    assert not (service.spool / path.rpartition("/")[2]).exists()

"""Several requests for one upload, clients that fall silent, and refusals while a body is still coming in.

Protocol ids C-39, C-46, D-13 to D-16 and TM-06.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rig.tus import Client, path_of
from web.service import BODY, MIB, TOKEN, TUS, ask, check_refusal, coded, finished, patch, post, spell

BEARER = f"Authorization: Bearer {TOKEN}"
SOON = 0.9  # seconds; a takeover must not be felt
LENGTH = 1_000_000


@contextmanager
def at_once() -> Iterator[None]:
    """Fail when what is inside takes longer than `SOON`."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < SOON


def stalled(client, sent, *, chunked=False):
    """Begin a PATCH, send that many bytes of it and stop; return the path once all of them are at the server."""
    path = client.create(LENGTH)
    if chunked:
        client.send(spell(client, "PATCH", path, TUS, BODY, "Upload-Offset: 0", "Transfer-Encoding: chunked"))
        client.send(coded(*([bytes(10_000)] * (sent // 10_000))))
    else:
        client.begin(path, 0, LENGTH)
        client.send(bytes(sent))
    time.sleep(0.1)
    return path


def check_interrupted(client):
    """The request that was taken over from is told so, and its connection ends."""
    reply = client.reply()
    check_refusal(reply, 400)
    assert reply.headers["connection"] == "close"
    assert b"took over" in reply.body
    client.socket.settimeout(3)
    assert client.socket.recv(1) == b""


# Takeover


@pytest.mark.parametrize("chunked", [False, True], ids=["D-14 direct", "D-14 chunked"])
@pytest.mark.parametrize("sent", [0, 10_000, 700_000])
def test_head_takes_over_from_a_stalled_patch_and_every_byte_is_kept(tus, other, sent, chunked):
    path = stalled(tus, sent, chunked=chunked)
    with at_once():
        assert other.head(path).offset == sent
    check_interrupted(tus)


def test_patch_takes_over_from_a_stalled_patch_and_goes_on_behind_it(tus, other):  # C-46, D-14
    path = stalled(tus, 500_000)
    with at_once():
        assert other.patch(path, 500_000, b"x" * 500_000).offset == LENGTH
    check_interrupted(tus)
    assert ask(other, "GET", path).body == bytes(500_000) + b"x" * 500_000


def test_a_patch_that_is_wrong_about_the_offset_takes_over_all_the_same_and_is_told_the_right_one(tus, other):
    """C-46, C-33: the lock comes before the offset, which only its holder knows."""
    path = stalled(tus, 500_000)
    with at_once():
        check_refusal(patch(other, path, 0), 409, offset=500_000)
    check_interrupted(tus)
    assert other.head(path).offset == 500_000


def test_delete_takes_over_from_a_stalled_patch(tus, other):  # TM-06, D-14
    path = stalled(tus, 500_000)
    with at_once():
        assert other.delete(path).status == 204
    check_interrupted(tus)
    check_refusal(other.head(path), 404)


def test_a_stalled_post_is_taken_over_from_too(service, tus, other):
    known = {row[0] for row in service.state()}
    tus.send(spell(tus, "POST", "/files", TUS, BODY, "Upload-Length: 1000", "Content-Length: 1000") + bytes(400))
    time.sleep(0.2)
    (row,) = [row for row in service.state() if len(row) > 2 and row[0] not in known]
    with at_once():
        assert other.head(f"/files/{row[0]}").offset == 400
    check_interrupted(tus)


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_monitor_that_does_not_speak_the_protocol_interrupts_nobody(tus, other, method):
    """D-01 and 2.3: only a HEAD with Tus-Resumable takes over."""
    path = stalled(tus, 500_000)
    with at_once():
        reply = ask(other, method, path)
    assert reply.status == (200 if method == "HEAD" else 409)
    tus.send(bytes(500_000))
    assert tus.reply().offset == LENGTH


def test_of_many_that_come_at_once_every_one_is_answered_and_no_byte_is_lost(service):
    """A phone that reconnects again and again: each connection sends a little more of the same content."""
    content = bytes(range(250)) * 400
    clients = [Client(service.port) for _ in range(8)]
    try:
        path = clients[0].create(len(content))
        at = 0
        for client in clients:
            at = client.head(path).offset
            client.begin(path, at, len(content) - at)
            client.send(content[at : at + 10_000])
            time.sleep(0.03)
        with Client(service.port) as last:
            with at_once():
                at = last.head(path).offset
            assert at == 80_000
            assert last.patch(path, at, content[at:]).offset == len(content)
            assert ask(last, "GET", path).body == content
        for client in clients:
            check_interrupted(client)
    finally:
        for client in clients:
            client.close()


def test_two_clients_that_race_for_one_offset_never_mix_their_bytes(service):
    with Client(service.port) as tus:
        path = tus.create(LENGTH)
        replies = []

        def send(letter):
            with Client(service.port) as client:
                replies.append(client.patch(path, 0, letter * LENGTH))

        threads = [threading.Thread(target=send, args=(letter,)) for letter in (b"a", b"b")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {reply.status for reply in replies} <= {204, 400, 409}
        at = tus.head(path).offset
        stored = (service.spool / path[-32:]).read_bytes()[:at] if at < LENGTH else ask(tus, "GET", path).body
        assert stored in {b"a" * at, b"b" * at}


# Silence


@pytest.mark.parametrize("chunked", [False, True], ids=["C-39 D-16", "C-39 D-16 chunked"])
def test_a_body_that_falls_silent_is_kept_and_ended_with_503(guarded, chunked):
    with Client(guarded.port) as client, Client(guarded.port) as other:
        path = path_of(post(client, BEARER, f"Upload-Length: {LENGTH}").headers["location"])
        framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {LENGTH}"
        client.send(spell(client, "PATCH", path, TUS, BEARER, BODY, "Upload-Offset: 0", framing))
        client.send(coded(bytes(10_000)) if chunked else bytes(10_000))
        began = time.monotonic()
        reply = client.reply()
        assert 0.8 < time.monotonic() - began < 3
        check_refusal(reply, 503)
        assert reply.headers["connection"] == "close"
        assert ask(other, "HEAD", path, TUS, BEARER).offset == 10_000


def test_a_slow_body_is_not_a_silent_one(guarded):
    with Client(guarded.port) as client:
        path = path_of(post(client, BEARER, "Upload-Length: 6").headers["location"])
        client.send(spell(client, "PATCH", path, TUS, BEARER, BODY, "Upload-Offset: 0", "Content-Length: 6"))
        for letter in b"slowly"[:6]:
            client.send(bytes([letter]))
            time.sleep(0.3)
        assert client.reply().offset == 6


# Refusals while the body is still coming in


LARGE = 30 * MIB


@pytest.mark.parametrize(
    ("method", "path", "lines", "status"),
    [
        pytest.param("PATCH", "{started}", (BODY, "Upload-Offset: 0"), 409, id="409"),
        pytest.param("PATCH", "{fresh}", ("Upload-Offset: 0",), 415, id="415"),
        pytest.param("PATCH", "{small}", (BODY, "Upload-Offset: 0"), 413, id="413"),
        pytest.param("PATCH", "{done}", (BODY, "Upload-Offset: 5"), 413, id="413 complete"),
        pytest.param("PATCH", "/files/" + "0" * 32, (BODY, "Upload-Offset: 0"), 404, id="404"),
        pytest.param("PUT", "/files", (), 405, id="405"),
        pytest.param("POST", "/files", (BODY, "Upload-Length: 5"), 413, id="413 on POST"),
    ],
)
def test_an_early_refusal_can_be_read_while_30_mb_are_on_their_way(service, method, path, lines, status):
    with Client(service.port) as tus:
        started = tus.create(LARGE * 2)
        tus.patch(started, 0, b"hello")
        paths = {
            "started": started,
            "fresh": tus.create(LARGE),
            "small": tus.create(5),
            "done": finished(tus, b"x" * 5),
        }
        before = service.state()
        tus.send(spell(tus, method, path.format(**paths), TUS, *lines, f"Content-Length: {LARGE}"))
        sender = threading.Thread(target=_send_until_told, args=(tus, bytes(LARGE)))
        sender.start()
        reply = tus.reply()
        sender.join()
        check_refusal(reply, status, offset=5 if status == 409 else None)
        assert reply.headers["connection"] == "close"
        assert service.state() == before


def test_a_naive_client_that_sends_all_of_4_mb_before_it_reads_gets_its_refusal_and_no_reset(tus):
    path = tus.create(5)
    tus.begin(path, 0, 4 * MIB)
    for _ in range(64):
        tus.send(bytes(64 * 1024))
        time.sleep(0.002)
    check_refusal(tus.reply(), 413)


def _send_until_told(client: Client, body: bytes) -> None:
    """Send as a naive client does: all of it, whatever the server says meanwhile."""
    try:
        client.send(body)
    except (BrokenPipeError, ConnectionResetError):
        return


def test_the_connection_goes_on_behind_a_small_body_that_was_refused(tus):
    path = tus.create(5)
    for _ in range(3):
        check_refusal(patch(tus, path, 3, body=bytes(100_000)), 409, offset=0)
    assert tus.patch(path, 0, b"hello").offset == 5

"""The connection around a body: when it can be taken, what a refusal does to it, how long it may be silent."""

import asyncio
import os
import socket
import time

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tusplyr.web.exchange import DIRECT
from tusplyr.web.pool import MIB, Pool
from tusplyr.web.protocol import direct_possible, missing
from web.rig import App, certificate, head, reply, run, serving

pytestmark = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])


@pytest.fixture(scope="module")
def cert(tmp_path_factory):
    return certificate(tmp_path_factory.mktemp("tls"))


def test_every_name_that_we_use_inside_uvicorn_and_httptools_is_there(loop):
    assert missing() == [], f"this uvicorn or httptools lacks {', '.join(missing())}: bodies would be read plainly"
    assert direct_possible()
    assert missing({HttpToolsProtocol: ("data_received", "transport", "vanished")}) == ["HttpToolsProtocol.vanished"]


@pytest.mark.parametrize(
    ("request_head", "sent", "body"),
    [
        (head("/read", None, "Transfer-Encoding: chunked"), b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", b"abcde"),
        (head("/read", 0, "Connection: upgrade", "Upgrade: h2c"), b"", b""),
        (head("/read", 5).replace(b"HTTP/1.1", b"HTTP/1.0"), b"abcde", b"abcde"),
        (head("/read", None, method="GET"), b"", b""),
    ],
    ids=["chunked", "upgrade", "http/1.0", "no length"],
)
def test_other_bodies_are_left_to_the_plain_way(loop, request_head, sent, body):
    async def main():
        app = App("direct")
        async with serving(app) as place:
            client = await place.connect()
            client.send(request_head, sent)
            await app_done(app)
            assert app.seen[0].way == "plain"
            assert app.seen[0].data == body
            await client.close()

    async def app_done(app):
        while not app.seen or not app.seen[0].done.is_set():  # noqa: ASYNC110 - the request is not there yet
            await asyncio.sleep(0.005)

    run(loop, main)


@pytest.mark.parametrize("coding", ["Content-Length: 9", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("apart", [False, True], ids=["in one segment", "in two"])
def test_an_upgrade_with_a_body_is_refused_and_its_body_is_never_taken_for_a_request(loop, coding, apart):
    async def main():
        app = App("direct")
        async with serving(app) as place:
            client = await place.connect()
            client.send(head("/read", None, coding, "Connection: upgrade", "Upgrade: h2c"))
            if apart:
                await client.flush()
                await asyncio.sleep(0.05)
            client.send(head("/inner", None, method="GET"))
            assert (await client.reply())[0] == 400
            assert await client.reader.read() == b""
            assert app.seen == []
            await client.close()
            await place.empty()

    run(loop, main)


def test_a_body_that_has_to_wait_is_read_no_further_whatever_is_answered_before_it(loop):
    async def main():
        app, data = App("direct"), os.urandom(9 * MIB)
        async with serving(app) as place:
            client = await place.connect()
            ahead = head("/refuse", 0) * 10
            client.send(ahead + head("/hold", 0) + head("/read", len(data)), data)
            for _ in range(10):
                assert (await client.reply())[0] == 413
            await asyncio.sleep(0.1)
            (connection,) = place.server.server_state.connections
            assert connection.cycle.more_body
            assert len(connection.cycle.body) <= 64 * 1024 + 256 * 1024
            app.go.set()
            assert (await client.reply())[0] == 200
            assert (await client.reply())[0] == 200
            assert app.seen[-1].data == data
            assert app.pool.free == app.pool.count
            await client.close()
            await place.empty()

    run(loop, main)


def test_the_body_of_a_refused_request_is_not_kept(loop):
    async def main():
        app = App("direct")
        async with serving(app) as place:
            client = await place.connect()
            client.send(head("/refuse", 50_000), bytes(50_000))
            assert (await client.reply())[0] == 413
            (connection,) = place.server.server_state.connections
            assert connection.cycle.body == b""
            await client.close()
            await place.empty()

    run(loop, main)


def test_a_client_that_leaves_behind_its_requests_is_no_error(loop, caplog):
    async def main():
        app = App("direct")
        async with serving(app) as place:
            client = await place.connect()
            client.send(head("/hold", 0) * 3)
            await app_seen(app)
            client.reset()
            await asyncio.sleep(0.02)
            app.go.set()
            await asyncio.sleep(0.1)
            await place.empty()

    async def app_seen(app):
        while not app.seen:  # noqa: ASYNC110 - the request is not there yet
            await asyncio.sleep(0.005)

    run(loop, main)
    assert "Exception in ASGI application" not in caplog.text


def test_body_can_be_taken_once(loop):
    async def main():
        async def app(scope, receive, send):
            take = scope["extensions"][DIRECT]
            taken.extend([take(pool, idle=5), take(pool, idle=5)])
            assert await taken[0].next() == b"abc"
            await reply(send, 200, b"")

        taken, pool = [], App("direct").pool
        async with serving(app) as place:
            client = await place.connect()
            client.send(head("/", 3), b"abc")
            assert (await client.reply())[0] == 200
            assert taken[1] is None
            await client.close()

    run(loop, main)


def test_body_that_its_owner_forgets_gives_its_buffers_back(loop):
    async def main():
        async def app(scope, receive, send):
            body = scope["extensions"][DIRECT](pool, idle=5)
            body.release(await body.next())
            while pool.free == pool.count:  # noqa: ASYNC110 - more arrives than anyone takes
                await asyncio.sleep(0.005)
            raise RuntimeError("the application is broken")

        pool = App("direct").pool
        async with serving(app) as place:
            client = await place.connect()
            client.send(head("/", 9 * MIB), bytes(6 * MIB))
            assert (await client.reply())[0] == 500
            assert pool.free == pool.count
            await client.close()
            await place.empty()

    run(loop, main)


def test_reply_before_the_end_of_the_body_leaves_the_connection_right(loop):
    async def main():
        async def app(scope, receive, send):
            body = scope["extensions"][DIRECT](pool, idle=5)
            body.release(await body.next())
            await reply(send, 200, b"")

        pool = App("direct").pool
        async with serving(app) as place:
            client = await place.connect()
            for _ in range(3):
                client.send(head("/", MIB), b"begin")
                status, headers, _ = await client.reply()
                assert (status, headers.get("connection")) == (200, None)
                client.send(bytes(MIB - 5))
            assert pool.free == pool.count
            await client.close()
            await place.empty()

    run(loop, main)


def test_bytes_of_a_body_that_waits_for_the_pool_are_handed_out_at_once(loop, monkeypatch):
    async def main():
        app, data = App("direct", pool=Pool(1)), os.urandom(2 * MIB)
        buffer = app.pool.claim()
        async with serving(app) as place:
            client = await place.connect()
            client.send(head("/read", len(data)), data)
            begin = time.monotonic()
            while not app.seen or not app.seen[0].data:
                await asyncio.sleep(0.005)
                assert time.monotonic() - begin < 2
            await asyncio.sleep(0.05)
            assert len(app.seen[0].data) < MIB  # it does not read on without the pool
            app.pool.give(buffer)
            assert (await client.reply())[0] == 200
            assert app.seen[0].data == data
            await client.close()

    monkeypatch.setattr("tusplyr.web.tray.GATHER", 5)
    run(loop, main)


def test_listening_for_a_disconnect_does_not_disturb_the_body(loop):
    async def main():
        heard = []

        async def app(scope, receive, send):
            body = scope["extensions"][DIRECT](pool, idle=5)
            listener = asyncio.create_task(receive())
            while (view := await body.next()) is not None:
                await asyncio.sleep(0.01)
                body.release(view)
                count.append(len(view))
            heard.append(await listener)
            await reply(send, 200, b"")

        pool, count = App("direct").pool, []
        async with serving(app) as place:
            client = await place.connect()
            client.send(head("/", 9 * MIB), bytes(9 * MIB))
            assert (await client.reply())[0] == 200
            assert sum(count) == 9 * MIB
            assert heard == [{"type": "http.request", "body": b"", "more_body": False}]
            await client.close()

    run(loop, main)


def stubborn(port, request_head, length):
    """Send everything, come what may, and only then read the reply."""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.settimeout(10)
        sent, data = 0, bytes(1 << 18)
        try:
            sock.sendall(request_head)
            while sent < length:
                sent += sock.send(data[: length - sent])
        except OSError:
            pass
        return sent, sock.recv(65536)


def test_client_that_is_refused_while_it_sends_50_mb_reads_the_reply(loop):
    async def main():
        app = App("direct")
        async with serving(app) as place:
            for _ in range(3):
                sent, answer = await asyncio.to_thread(stubborn, place.port, head("/refuse", 50 * MIB), 50 * MIB)
                assert answer.startswith(b"HTTP/1.1 413")
                assert b"connection: close" in answer
                assert 8 * MIB <= sent < 50 * MIB
            await place.empty()

    run(loop, main)


@pytest.mark.parametrize("way", ["direct", "plain"])
def test_application_that_breaks_while_the_client_sends_50_mb_is_heard(loop, way):
    async def main():
        app = App(way)
        async with serving(app) as place:
            _, answer = await asyncio.to_thread(stubborn, place.port, head("/crash", 50 * MIB), 50 * MIB)
            assert answer.startswith(b"HTTP/1.1 500")
            await place.empty()
            assert app.pool.free == app.pool.count

    run(loop, main)


def test_refused_body_of_up_to_a_mebibyte_costs_no_connection(loop):
    async def main():
        app = App("direct")
        async with serving(app) as place:
            client = await place.connect()
            for length in (10, 100_000, MIB):
                client.send(head("/refuse", length))
                status, headers, _ = await client.reply()
                assert (status, headers.get("connection")) == (413, None)
                client.send(bytes(length), head("/read", 4), b"good")
                assert (await client.reply())[::2] == (200, b"4")
            await client.close()
            await place.empty()

    run(loop, main)


def test_refused_body_arrives_no_further_over_tls(loop, cert):
    async def main():
        app = App("direct")
        async with serving(app, cert=cert) as place:
            client = await place.connect()
            client.send(head("/refuse", 40 * MIB), bytes(MIB))
            status, headers, _ = await client.reply()
            assert (status, headers["connection"]) == (413, "close")
            await client.close()
            await place.empty()

    run(loop, main)


@pytest.mark.parametrize("length", [5, 50 * MIB])
def test_refusal_of_a_body_that_waits_for_continue_closes_at_once(loop, length):
    async def main():
        async with serving(App("direct")) as place:
            client = await place.connect()
            client.send(head("/refuse", length, "Expect: 100-continue"))
            begin = time.monotonic()
            status, headers, _ = await client.reply()
            assert (status, headers["connection"]) == (413, "close")
            assert await client.reader.read() == b""
            assert time.monotonic() - begin < 0.5
            await client.close()
            await place.empty()

    run(loop, main)


def test_shutdown_does_not_wait_for_a_connection_that_is_drained(loop):
    async def main():
        async with serving(App("direct")) as place:
            client = await place.connect()
            client.send(head("/refuse", 50 * MIB))
            await client.reply()
            begin = time.monotonic()
            await place.shutdown()
            assert time.monotonic() - begin < 0.6
            await client.close()

    run(loop, main)

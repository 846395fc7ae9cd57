"""The connection under a body, read in either way: what comes before, behind and instead of its end."""

import asyncio
import os
import time

import pytest

from tusplyr.core.errors import ShuttingDown
from tusplyr.web.pool import MIB
from web.rig import App, ask, full, head, run, serving

pytestmark = [
    pytest.mark.parametrize("loop", ["asyncio", "uvloop"]),
    pytest.mark.parametrize("way", ["direct", "plain"]),
]


def test_keep_alive_and_pipelined_heads_in_the_same_segment(loop, way):
    async def main():
        app = App(way)
        bodies = [os.urandom(n) for n in (3, 70_000, 0, MIB + 1, 1, 400_000, 5)]
        async with serving(app) as place:
            client = await place.connect()
            client.send(*(part for data in bodies for part in (head("/read", len(data)), data)))
            for data in bodies:
                assert (await client.reply())[2] == b"%d" % len(data)
            client.send(head("/read", 3), b"end")
            assert (await client.reply())[0] == 200
            assert [seen.data for seen in app.seen] == [*bodies, b"end"]
            await client.close()
            full(app)

    run(loop, main)


def test_next_head_in_the_same_segment_as_the_last_bytes_is_not_taken_for_the_body(loop, way):
    async def main():
        app = App(way)
        async with serving(app) as place:
            client = await place.connect()
            for number, length in enumerate([11, 70_000, 400_000, 3 * MIB]):
                data = os.urandom(length)
                client.send(head("/read", length), data[:10])
                while len(app.seen) <= 2 * number:  # noqa: ASYNC110 - the request is not there yet
                    await asyncio.sleep(0.002)
                await app.seen[-1].taken.wait()
                client.send(data[10:], head("/read", 4), b"next")
                assert (await client.reply())[2] == b"%d" % length
                assert (await client.reply())[2] == b"4"
                assert [seen.data for seen in app.seen[-2:]] == [data, b"next"]
                assert app.seen[-2].way == way
            await client.close()
            full(app)

    run(loop, main)


def test_client_that_closes_its_side_after_its_body_gets_the_reply(loop, way):
    async def main():
        app = App(way)
        app.pace = 0.05
        async with serving(app) as place:
            for length in (5, 100_000, 2 * MIB):
                client = await place.connect()
                client.send(head("/read", length), os.urandom(length))
                await client.fin()
                assert (await client.reply())[2] == b"%d" % length
                assert await client.reader.read() == b""
                await client.close()
            await place.empty()

    run(loop, main)


def test_continue_is_said_when_the_body_is_taken_and_not_before(loop, way):
    async def main():
        app = App(way)
        async with serving(app) as place:
            client = await place.connect()
            client.send(head("/hold", 4, "Expect: 100-continue"))
            await asyncio.sleep(0.05)
            assert not client.reader._buffer  # nothing yet
            app.go.set()
            assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            client.send(b"body")
            assert (await client.reply())[0] == 200
            client.send(head("/read", 4, "Expect: 100-continue"), b"bold")
            assert (await client.reply())[0] == 200  # the body was there: the server need not say it
            assert [seen.data for seen in app.seen] == [b"body", b"bold"]
            await client.close()

    run(loop, main)


def test_application_that_breaks_leaves_the_connection_and_the_pool_right(loop, way):
    async def main():
        app = App(way)
        async with serving(app) as place:
            for length in (10, 900_000, 5 * MIB):
                client = await place.connect()
                client.send(head("/crash", length), bytes(length))
                assert (await client.reply())[0] == 500
                assert await client.reader.read() == b""
                await client.close()
            await ask(place, app, b"good")
            await place.empty()
            full(app)

    run(loop, main)


def test_cancelled_application_leaves_the_pool_full(loop, way):
    async def main():
        app = App(way)
        async with serving(app) as place:
            client = await place.connect()
            client.send(head("/read", 5 * MIB), bytes(2 * MIB))
            await asyncio.sleep(0.1)
            for task in list(place.server.server_state.tasks):
                task.cancel()
            assert (await client.reply())[0] == 500
            await client.close()
            await place.empty()
            full(app)

    run(loop, main)


def test_shutdown_ends_a_stalled_body_with_a_reply(loop, way):
    async def main():
        app = App(way)
        async with serving(app) as place:
            client = await place.connect()
            client.send(head("/read", 5 * MIB), b"some")
            await asyncio.sleep(0.1)
            begin = time.monotonic()
            await place.shutdown()
            assert time.monotonic() - begin < 2
        assert (await client.reply())[0] == 503
        assert app.seen[0].data == b"some"
        assert isinstance(app.seen[0].error, ShuttingDown)
        assert app.seen[0].way == way
        await client.close()

    run(loop, main)


def test_a_head_that_has_not_ended_at_its_limit_is_answered_431_and_reaches_no_application(loop, way):
    async def main():
        app = App(way)
        async with serving(app) as place:
            client = await place.connect()
            client.send(head("/read", 3, "X-Long: " + "x" * 70 * 1024)[:-2])
            status, headers, text = await client.reply()
            assert (status, text) == (431, b"The head of the request is too large.")
            assert headers["connection"] == "close"
            assert app.seen == []
            await client.close()
            await place.empty()

    run(loop, main)


def test_a_large_head_below_the_limit_is_read(loop, way):
    async def main():
        app = App(way)
        async with serving(app) as place:
            client = await place.connect()
            for _ in range(2):
                client.send(head("/read", 3, "X-Long: " + "x" * 60 * 1024), b"abc")
                assert (await client.reply())[2] == b"3"
            await client.close()

    run(loop, main)


def test_the_bytes_of_a_body_do_not_count_for_the_next_head_however_slowly_it_comes(loop, way):
    async def main():
        app = App(way)
        async with serving(app) as place:
            client = await place.connect()
            client.send(head("/read", 200_000), bytes(200_000))
            assert (await client.reply())[2] == b"200000"
            assert app.seen[0].way == way
            slow = head("/read", 3)
            for at in range(0, len(slow), 20):
                client.send(slow[at : at + 20])
                await client.flush()
                await asyncio.sleep(0.005)
            client.send(b"abc")
            assert (await client.reply())[:3:2] == (200, b"3")
            await client.close()

    run(loop, main)

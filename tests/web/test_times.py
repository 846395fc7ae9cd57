"""How long a connection may be silent: before a head, in the rest of a refused body, between requests."""

import asyncio
import os
import time

import pytest

from tusplyr.web.pool import MIB
from tusplyr.web.protocol import TusplyrProtocol
from web.rig import App, head, run, serving

pytestmark = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])


class Hasty(TusplyrProtocol):
    head_lapse = 0.2
    linger_lapse = 0.2


@pytest.mark.parametrize("length", [1000, 50 * MIB, None])
def test_refused_client_that_stalls_is_closed_in_time(loop, length):
    async def main():
        async with serving(App("direct"), protocol=Hasty) as place:
            client = await place.connect()
            extra = ["Transfer-Encoding: chunked"] if length is None else []
            client.send(head("/refuse", length, *extra), b"5\r\n")
            assert (await client.reply())[0] == 413
            await asyncio.wait_for(place.empty(), 1)
            await client.close()

    run(loop, main)


HEAD_START = b"PATCH /read HTTP/1.1\r\nHo"
SERVED = head("/read", 2) + b"ok"


@pytest.mark.parametrize(
    ("before", "start"),
    [(b"", b""), (b"", HEAD_START), (b"", b"\r\n"), (SERVED, HEAD_START), (SERVED, b"\r\n")],
    ids=["nothing", "half a head", "an empty line", "half a second head", "an empty line after a reply"],
)
def test_head_that_does_not_end_is_closed(loop, before, start):
    async def main():
        async with serving(App("direct"), protocol=Hasty) as place:
            client = await place.connect()
            if before:
                client.send(before)
                await client.reply()
            begin = time.monotonic()
            client.send(start)
            assert await client.reader.read() == b""
            assert 0.15 < time.monotonic() - begin < 1
            await client.close()

    run(loop, main)


def test_time_for_the_head_does_not_count_for_the_body(loop):
    async def main():
        async with serving(App("direct"), protocol=Hasty) as place:
            client = await place.connect()
            client.send(head("/read", 3), b"a")
            await asyncio.sleep(0.3)
            client.send(b"bc")
            assert (await client.reply())[0] == 200
            await asyncio.sleep(0.3)
            client.send(head("/read", 1), b"d")
            assert (await client.reply())[0] == 200
            await client.close()

    run(loop, main)


def test_keep_alive_connection_is_closed_when_idle_as_uvicorn_does(loop):
    async def main():
        async with serving(App("direct")) as place:
            place.server.config.timeout_keep_alive = 0.2
            client = await place.connect()
            data = os.urandom(300_000)
            client.send(head("/read", len(data)), data)
            assert (await client.reply())[0] == 200
            client.send(head("/refuse", 9), b"unwanted!")
            assert (await client.reply())[0] == 413
            begin = time.monotonic()
            assert await client.reader.read() == b""
            assert 0.1 < time.monotonic() - begin < 1
            await client.close()

    run(loop, main)


def test_idle_time_ends_when_the_next_request_begins_behind_a_refused_body(loop):
    async def main():
        async with serving(App("direct")) as place:
            place.server.config.timeout_keep_alive = 0.2
            client = await place.connect()
            client.send(head("/refuse", 9))
            assert (await client.reply())[0] == 413
            client.send(b"unwanted!", head("/read", 4), b"sl")
            await asyncio.sleep(0.4)
            client.send(b"ow")
            assert (await client.reply())[0] == 200
            await client.close()

    run(loop, main)

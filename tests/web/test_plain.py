"""The plain body over a `receive` that no uvicorn is behind: messages of any length, and servers that err."""

import asyncio
import os

import pytest

from tusplyr.core.errors import Cut, Interrupted
from tusplyr.web.plain import PlainBody
from tusplyr.web.pool import MIB, Pool


def feed(*messages):
    """Return a `receive` that gives these messages and then waits for ever."""
    waiting = list(messages)

    async def receive():
        if not waiting:
            await asyncio.Event().wait()
        message = waiting.pop(0)
        if isinstance(message, Exception):
            raise message
        return message

    return receive


def piece(data, *, more=True):
    return {"type": "http.request", "body": data, "more_body": more}


async def collect(body, got):
    try:
        while (view := await body.next()) is not None:
            assert not view.readonly
            got += view
            body.release(view)
    finally:
        await body.close()


async def check_rest(body, first, data):
    """What follows the first view of a body that was stopped is the rest of what had arrived, and then the reason."""
    got = bytearray(first)
    body.release(first)
    with pytest.raises(Interrupted):
        await collect(body, got)
    assert got == data


def test_message_longer_than_the_pool_arrives_whole():
    async def main():
        pool, data, got = Pool(1), os.urandom(5 * MIB), bytearray()
        body = PlainBody(feed(piece(data, more=False)), pool, length=len(data), idle=5)
        await collect(body, got)
        assert got == data
        assert body.ended
        assert pool.free == 1

    asyncio.run(main())


def test_stop_hands_out_the_rest_of_a_message_that_did_not_fit():
    async def main():
        pool, data = Pool(1), os.urandom(5 * MIB)
        body = PlainBody(feed(piece(data)), pool, length=9 * MIB, idle=5)
        first = await body.next()
        await asyncio.sleep(0.02)  # the next bytes wait for the buffer that was just handed out
        body.stop(Interrupted())
        await check_rest(body, first, data)
        assert pool.free == 1

    asyncio.run(main())


def test_stop_hands_out_a_rest_that_is_longer_than_the_buffer_that_was_just_given():
    async def main():
        pool, data = Pool(1), os.urandom(3 * MIB)
        buffer = pool.claim()
        body = PlainBody(feed(piece(data)), pool, length=9 * MIB, idle=5)
        first = await body.next()
        await asyncio.sleep(0.02)  # a batch is gathered, and the rest of the message waits for the pool
        pool.give(buffer)
        body.stop(Interrupted())  # before anything was put into the buffer
        await check_rest(body, first, data)
        assert pool.free == 1

    asyncio.run(main())


def test_closed_body_waits_for_the_pool_no_longer():
    async def main():
        pool = Pool(1)
        buffer = pool.claim()
        body = PlainBody(feed(piece(bytes(MIB))), pool, length=None, idle=5)
        body.release(await body.next())
        await asyncio.sleep(0.02)
        assert pool._waiting  # nothing public tells it
        await body.close()
        assert not pool._waiting
        pool.give(buffer)
        assert pool.free == 1

    asyncio.run(main())


def test_body_shorter_than_its_length_was_cut():
    async def main():
        got = bytearray()
        with pytest.raises(Cut):
            await collect(PlainBody(feed(piece(b"abc", more=False)), Pool(), length=4, idle=5), got)
        assert got == b"abc"

    asyncio.run(main())


def test_error_of_the_server_is_raised_behind_what_arrived():
    async def main():
        got = bytearray()
        with pytest.raises(OSError, match="broken"):
            await collect(PlainBody(feed(piece(b"abc"), OSError("broken")), Pool(), length=4, idle=5), got)
        assert got == b"abc"

    asyncio.run(main())

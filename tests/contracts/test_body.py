"""What every `ports.Body` does, whichever way the bytes come in and whichever loop runs."""

import asyncio
import os
import random
import time

import pytest

from tusplyr.core.errors import Cut, Interrupted, ShuttingDown, Silent
from tusplyr.web.direct import SHARE
from tusplyr.web.pool import MIB, Pool
from web.rig import App, ask, certificate, full, head, run, serving

pytestmark = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])


@pytest.fixture(params=["direct", "plain"])
def way(request):
    return request.param


@pytest.fixture(scope="module")
def cert(tmp_path_factory):
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.mark.parametrize("length", [0, 1, 1000, 64 * 1024, 300_000, MIB, 5 * MIB + 7])
def test_whole_body_arrives_whatever_its_length(loop, way, length):
    async def main():
        app, data = App(way), os.urandom(length)
        async with serving(app) as place:
            await ask(place, app, data)
            assert app.seen[0].data == data
            assert app.seen[0].way == way
            assert app.seen[0].body.ended
            full(app)

    run(loop, main)


def test_body_arrives_whatever_its_split(loop, way):
    async def main():
        app = App(way)
        rng = random.Random(7)
        async with serving(app) as place:
            for length in (2, 700, 200_000, 2 * MIB):
                data = os.urandom(length)
                splits = sorted(rng.randrange(length + 1) for _ in range(5))
                await ask(place, app, data, splits=splits)
                assert app.seen[-1].data == data
            full(app)

    run(loop, main)


def test_body_arrives_over_tls(loop, way, cert):
    async def main():
        app, data = App(way), os.urandom(3 * MIB + 5)
        async with serving(app, cert=cert) as place:
            await ask(place, app, data, splits=[1, 70_000])
            assert app.seen[0].data == data
            assert app.seen[0].way == way

    run(loop, main)


def test_single_byte_dribbles_are_gathered(loop, way):
    async def main():
        app, data = App(way), os.urandom(60)
        async with serving(app) as place:
            await ask(place, app, data, splits=range(1, 60))
            assert app.seen[0].data == data
            assert len(app.seen[0].pieces) < 20

    run(loop, main)


def test_gathered_bytes_are_not_kept_waiting(loop, way):
    async def main():
        app = App(way)
        async with serving(app) as place:
            client = await place.connect()
            client.send(head("/read", 100), b"abc")
            begin = time.monotonic()
            while not app.seen or app.seen[0].data != b"abc":
                await asyncio.sleep(0.005)
                assert time.monotonic() - begin < 2
            await client.close()
            await app.seen[0].done.wait()

    run(loop, main)


@pytest.mark.parametrize("ending", ["fin", "reset"])
@pytest.mark.parametrize("count", [50_000, 400_000, 3 * MIB])
def test_every_byte_that_arrived_before_a_cut_is_handed_out(loop, way, ending, count):
    async def main():
        app, data = App(way), os.urandom(count)
        app.pace = 0.002
        async with serving(app) as place:
            client = await place.connect()
            client.send(head("/read", 10 * MIB), data)
            await client.flush()
            client.reset() if ending == "reset" else await client.close()
            await place.empty()
            await app.seen[0].done.wait()
            assert app.seen[0].data == data
            assert isinstance(app.seen[0].error, Cut)
            assert not app.seen[0].body.ended
            full(app)

    run(loop, main)


@pytest.mark.parametrize("ending", ["fin", "reset"])
@pytest.mark.parametrize("count", [50_000, 100_000])
def test_bytes_that_arrived_before_the_body_was_taken_survive_a_cut(loop, way, ending, count):
    async def main():
        app, data = App(way), os.urandom(count)
        async with serving(app) as place:
            client = await place.connect()
            client.send(head("/hold", 10 * MIB), data)
            await client.flush()
            client.reset() if ending == "reset" else await client.close()
            await asyncio.sleep(0.05)
            app.go.set()
            await app.seen[0].done.wait()
            assert app.seen[0].data == data
            assert isinstance(app.seen[0].error, Cut)
            await place.empty()
            full(app)

    run(loop, main)


def test_stop_hands_out_what_arrived_and_then_says_why(loop, way):
    async def main():
        app, data = App(way), os.urandom(700_000)
        async with serving(app) as place:
            client = await place.connect()
            client.send(head("/read", 2 * MIB), data)
            await client.flush()
            await asyncio.sleep(0.1)
            app.seen[0].body.stop(Interrupted())
            app.seen[0].body.stop(ShuttingDown())
            status, headers, _ = await client.reply()
            assert (status, headers["connection"]) == (503, "close")
            assert app.seen[0].data == data
            assert isinstance(app.seen[0].error, Interrupted)
            await client.close()
            await place.empty()
            full(app)

    run(loop, main)


def test_silence_ends_the_body_with_what_had_arrived(loop, way):
    async def main():
        app = App(way, idle=0.15)
        async with serving(app) as place:
            client = await place.connect()
            client.send(head("/read", 100))
            for _ in range(4):  # each byte starts the time anew
                client.send(b"x")
                await asyncio.sleep(0.08)
            before = time.monotonic()
            status, _, _ = await client.reply()
            assert time.monotonic() - before < 0.4
            assert status == 503
            assert app.seen[0].data == b"xxxx"
            assert isinstance(app.seen[0].error, Silent)
            await client.close()

    run(loop, main)


def test_slow_consumer_is_not_taken_for_a_silent_client(loop, way):
    async def main():
        app, data = App(way, pool=Pool(1), idle=0.05), os.urandom(2 * MIB)
        app.pace = 0.08
        async with serving(app) as place:
            await ask(place, app, data)
            assert app.seen[0].data == data

    run(loop, main)


def test_fast_sender_takes_no_more_than_its_share_from_a_slow_consumer(loop, way):
    async def main():
        app, data = App(way), os.urandom(9 * MIB)
        app.pace = 0.03
        least = app.pool.count
        async with serving(app) as place:
            asking = asyncio.create_task(ask(place, app, data))
            while not asking.done():
                least = min(least, app.pool.free)
                await asyncio.sleep(0.002)
            await asking
            assert app.pool.count - SHARE <= least < app.pool.count
            assert app.seen[0].data == data

    run(loop, main)


def test_cancelling_next_loses_nothing(loop, way):
    async def main():
        app, data = App(way), os.urandom(3 * MIB)
        async with serving(app) as place:
            client = await place.connect()
            client.send(head("/hold", len(data)))
            got = bytearray()

            async def impatient(seen, scope, receive, *, crash):
                body = seen.body = app._open(seen, scope, receive)
                while True:
                    task = asyncio.ensure_future(body.next())
                    for _ in range(random.randrange(4)):
                        await asyncio.sleep(0)
                    task.cancel()
                    await asyncio.wait([task])
                    if task.cancelled():
                        continue
                    if task.result() is None:
                        break
                    got.extend(task.result())
                    body.release(task.result())
                await body.close()

            app._read = impatient
            app.go.set()
            for at in range(0, len(data), 65_000):
                client.send(data[at : at + 65_000])
                await asyncio.sleep(0.001)
            assert (await client.reply())[0] == 200
            assert got == data
            await client.close()
            full(app)

    run(loop, main)


def test_pool_of_one_serves_sixteen_senders_fairly(loop, way):
    async def main():
        app, data = App(way, pool=Pool(1)), os.urandom(3 * MIB)
        app.pace = 0.001
        progress = []  # bytes of all senders together, each time that one is done

        async def sender(place):
            await ask(place, app, data)
            progress.append(sum(len(seen.data) for seen in app.seen))

        async with serving(app) as place:
            await asyncio.gather(*(sender(place) for _ in range(16)))
            assert all(seen.data == data and seen.way == way for seen in app.seen)
            assert app.pool.free == 1
            # In turn, not one after the other: when the first is done the others have much of theirs.
            assert progress[0] > progress[-1] / 5

    run(loop, main)


def test_hundred_stalled_clients_hold_no_buffer(loop, way):
    async def main():
        app, part = App(way, pool=Pool(4)), os.urandom(300_000)
        async with serving(app) as place:
            clients = [await place.connect() for _ in range(100)]
            for client in clients:
                client.send(head("/read", MIB), part)
            while sum(len(seen.data) for seen in app.seen) < 100 * len(part):  # noqa: ASYNC110 - no event for a sum
                await asyncio.sleep(0.01)
            assert app.pool.free == 4
            await ask(place, app, part * 4)
            for client in clients:
                await client.close()
            await place.empty()

    run(loop, main)

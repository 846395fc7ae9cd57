"""The pool: its bound, and who is served when it is empty."""

import asyncio

import pytest

from tusplyr.web.pool import LEAST, MIB, Pool


def test_there_are_never_more_buffers_than_the_bound():
    pool = Pool(2)
    first, second = pool.claim(), pool.claim()
    assert len(first) == len(second) == MIB
    assert pool.claim() is None
    assert pool.peek() is None
    pool.give(first)
    assert pool.claim() is first


def test_peeking_claims_nothing():
    pool = Pool(1)
    assert pool.peek() is pool.peek()
    assert pool.free == 1
    assert pool.claim() is not None
    assert pool.free == 0


@pytest.mark.parametrize(("count", "size"), [(0, MIB), (1, LEAST - 1)])
def test_pool_that_cannot_work_is_refused(count, size):
    with pytest.raises(ValueError, match="pool"):
        Pool(count, size)


def test_who_waits_longest_is_served_first_and_who_left_is_not():
    async def main():
        pool, served = Pool(1), []
        buffer = pool.claim()

        def waiter(name):
            def wake():
                served.append(name)
                assert pool.claim() is buffer

            return wake

        first, second, third = waiter("first"), waiter("second"), waiter("third")
        for wake in (first, second, third):
            pool.wait(wake)
        pool.forget(second)
        assert pool.scarce
        pool.give(buffer)
        await asyncio.sleep(0.01)
        assert served == ["first"]
        pool.give(buffer)
        await asyncio.sleep(0.01)
        assert served == ["first", "third"]

    asyncio.run(main())


def test_reader_that_takes_nothing_does_not_starve_those_behind_it():
    async def main():
        pool, served = Pool(1), []
        buffer = pool.claim()
        for name in ("stalled", "hungry", "last"):
            pool.wait(lambda name=name: served.append(name))
        pool.give(buffer)
        assert served == ["stalled"]
        await asyncio.sleep(0.05)
        assert served == ["stalled", "hungry", "last"]

    asyncio.run(main())

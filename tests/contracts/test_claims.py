"""The contract of `Claims`: one holder, the newest request wins, nothing is left behind."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from tusplyr.core.errors import Busy, Interrupted, ShuttingDown
from tusplyr.engine.claims import LocalClaims

ID = "0123456789abcdef" * 2
OTHER = "f" * 32


class Request:
    """A request that holds until it is asked to stop, and then a little longer: its last checkpoint."""

    def __init__(self, claims: LocalClaims, name: str, log: list[str], *, stubborn: bool = False) -> None:
        self.claims = claims
        self.name = name
        self.log = log
        self.stubborn = stubborn
        self.stopped = asyncio.Event()
        self.reasons: list[BaseException] = []
        self.task = asyncio.create_task(self.run())

    def stop(self, why) -> None:
        self.reasons.append(why)
        if not self.stubborn:
            self.stopped.set()

    async def run(self) -> None:
        async with self.claims.hold(ID, self.stop):
            self.log.append(f"{self.name} holds")
            await self.stopped.wait()
            await asyncio.sleep(0.01)
            self.log.append(f"{self.name} lets go")


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def empty(claims: LocalClaims) -> bool:
    """Looks inside: a table that grows is a leak that no behaviour shows."""
    return claims._claims == {} and not claims.held(ID)


def no_stop(_) -> None:
    """Stop nothing."""


def test_held_for_the_length_of_the_block_and_no_longer(run):
    async def main():
        claims = LocalClaims(1)
        assert not claims.held(ID)
        async with claims.hold(ID, no_stop):
            assert claims.held(ID)
            assert not claims.held(OTHER)
        assert empty(claims)

    run(main())


def test_uploads_are_held_independently(run):
    async def main():
        claims = LocalClaims(0.01)
        stopped = []
        async with claims.hold(ID, stopped.append), claims.hold(OTHER, stopped.append):
            assert claims.held(ID)
            assert claims.held(OTHER)
        assert stopped == []

    run(main())


def test_a_newcomer_interrupts_the_holder_and_waits_for_it(run):
    async def main():
        claims, log = LocalClaims(5), []
        first = Request(claims, "first", log)
        await settled()
        second = Request(claims, "second", log)
        await settled()
        assert [type(why) for why in first.reasons] == [Interrupted]
        assert log == ["first holds"]
        await first.task
        await settled()
        assert log == ["first holds", "first lets go", "second holds"]
        assert second.reasons == []
        second.stop(None)
        await second.task
        assert empty(claims)

    run(main())


def test_of_many_newcomers_the_newest_ends_up_as_the_holder(run):
    async def main():
        claims, log = LocalClaims(5), []
        requests = []
        for name in "abcd":
            requests.append(Request(claims, name, log))
            await settled()
        await asyncio.gather(*(request.task for request in requests[:3]))
        await settled()
        assert log == ["a holds", "a lets go", "b holds", "b lets go", "c holds", "c lets go", "d holds"]
        assert all(isinstance(why, Interrupted) for request in requests[:3] for why in request.reasons)
        assert all(request.reasons for request in requests[:3])
        assert requests[3].reasons == []
        requests[3].stop(None)
        await requests[3].task
        assert empty(claims)

    run(main())


def test_whoever_comes_between_two_holders_interrupts_the_one_that_is_about_to_hold(run):
    """The lock is free for an instant, and a waiter has been woken that does not run yet."""

    async def main():
        claims, log, first = LocalClaims(5), [], []
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(claims.hold(ID, first.append))
            second = Request(claims, "second", log)
            await settled()
            third = Request(claims, "third", log)  # runs as soon as this lets go, before the one that is woken by it
        assert second.reasons == []
        await second.task
        await settled()
        assert log == ["second holds", "second lets go", "third holds"]
        assert [type(why) for why in second.reasons] == [Interrupted]
        assert len(first) == 1, "asked to stop after it had let go"
        third.stop(None)
        await third.task
        assert empty(claims)

    run(main())


def test_a_holder_that_does_not_let_go_in_time_leaves_the_newcomer_busy(run):  # D-15
    async def main():
        claims, log = LocalClaims(0.02), []
        first = Request(claims, "first", log, stubborn=True)
        await settled()
        with pytest.raises(Busy):
            async with claims.hold(ID, no_stop):
                pytest.fail("two holders")
        assert claims.held(ID)
        assert [type(why) for why in first.reasons] == [Interrupted]
        first.stopped.set()
        await first.task
        assert empty(claims)

    run(main())


def test_a_waiter_that_is_cancelled_leaves_nothing_behind(run):
    async def main():
        claims, log = LocalClaims(5), []
        first = Request(claims, "first", log, stubborn=True)
        await settled()
        second = Request(claims, "second", log)
        third = Request(claims, "third", log)
        await settled()
        second.task.cancel()
        await asyncio.wait([second.task])
        assert second.task.cancelled()
        first.stopped.set()
        await settled()
        await first.task
        await settled()
        assert log == ["first holds", "first lets go", "third holds"]
        assert third.reasons == []
        third.stop(None)
        await third.task
        assert empty(claims)

    run(main())


def test_cancelled_at_any_moment_of_a_handover_nobody_is_locked_out(run):
    async def main():
        for steps in range(12):
            claims, log = LocalClaims(5), []
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(claims.hold(ID, no_stop))
                waiter = Request(claims, "waiter", log)
                await settled()
            for _ in range(steps):
                await asyncio.sleep(0)
            waiter.task.cancel()
            await asyncio.wait([waiter.task])
            assert empty(claims)
            async with asyncio.timeout(1), claims.hold(ID, no_stop):
                assert claims.held(ID)
            assert empty(claims)

    run(main())


def test_a_holder_that_fails_or_is_cancelled_lets_go(run):
    async def main():
        claims, log = LocalClaims(5), []
        with pytest.raises(ZeroDivisionError):
            async with claims.hold(ID, no_stop):
                raise ZeroDivisionError
        assert empty(claims)
        first = Request(claims, "first", log)
        await settled()
        first.task.cancel()
        await asyncio.wait([first.task])
        assert empty(claims)

    run(main())


def test_stop_all_reaches_every_holder_now_and_from_now_on(run):
    async def main():
        claims, log, stopped = LocalClaims(5), [], []
        first = Request(claims, "first", log)
        await settled()
        second = Request(claims, "second", log)
        async with claims.hold(OTHER, stopped.append):
            await settled()
            why = ShuttingDown()
            claims.stop_all(why)
            assert stopped == [why]
        await asyncio.gather(first.task, second.task)
        assert first.reasons[-1] is why
        assert second.reasons == [why]
        late = Request(claims, "late", log)
        await late.task
        assert late.reasons == [why]
        assert empty(claims)

    run(main())


def test_never_two_holders_whatever_the_crowd(run):
    async def main():
        claims = LocalClaims(5)
        holding = most = 0

        async def crowd(number: int) -> None:
            nonlocal holding, most
            await asyncio.sleep(0.001 * (number % 5))
            stopped = asyncio.Event()
            async with claims.hold(ID, lambda _: stopped.set()):
                holding += 1
                most = max(most, holding)
                if number < 49:
                    await asyncio.wait([asyncio.create_task(stopped.wait())], timeout=0.002)
                holding -= 1

        await asyncio.gather(*(crowd(number) for number in range(50)))
        assert most == 1
        assert empty(claims)

    run(main())

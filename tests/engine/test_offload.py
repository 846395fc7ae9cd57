"""What nobody waits for: it shares hops to a thread, none of it is forgotten, and none of it stops the rest."""

import asyncio
import logging
import threading

import pytest

from engine.rig import until
from tusplyr.core.errors import SpoolDown
from tusplyr.engine.offload import MANY, Offload


@pytest.fixture
def done():
    return []


def note(done):
    return lambda job: done.append((job, threading.get_ident()))


def test_jobs_that_come_together_share_a_hop_and_keep_their_order(run, done):
    async def main():
        offload = Offload(4, gather=0.02)
        for job in range(5):
            offload.later(note(done), job)
        assert done == []
        await until(lambda: len(done) == 5)
        assert [job for job, _ in done] == list(range(5))
        assert len({thread for _, thread in done}) == 1
        offload.later(note(done), 5)
        await until(lambda: len(done) == 6)
        await asyncio.to_thread(offload.close)

    run(main())


def test_many_jobs_wait_no_longer(run, done):
    async def main():
        offload = Offload(1, gather=3600)
        for job in range(MANY):
            offload.later(note(done), job)
        await until(lambda: len(done) == MANY)
        await asyncio.to_thread(offload.close)

    run(main())


def test_what_still_waits_is_done_before_the_threads_end(run, done):
    async def main():
        offload = Offload(1, gather=3600)
        offload.later(note(done), 1)
        await asyncio.to_thread(offload.close)
        assert [job for job, _ in done] == [1]

    run(main())


def test_a_job_that_fails_is_logged_and_the_next_is_done(run, done, caplog):
    async def main():
        def failing(_job):
            raise SpoolDown("the disk is gone")

        offload = Offload(1, gather=0)
        offload.later(failing, 1)
        offload.later(note(done), 2)
        await until(lambda: bool(done))
        await asyncio.to_thread(offload.close)

    with caplog.at_level(logging.WARNING):
        run(main())
    assert "the disk is gone" in caplog.text
    assert "left to the sweep" in caplog.text

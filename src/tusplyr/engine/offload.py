"""The one way from the event loop to blocking code.

Owns the worker threads and the rule that a hop which has begun is always joined. Must not know what is
run. Invariant: when `run` returns or raises, no thread is still using what it was given, even if the
caller was cancelled meanwhile; so buffers and digests can be touched again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from tusplyr.core.errors import TusplyrError

log = logging.getLogger(__name__)

MANY = 64  # jobs that nobody waits for, and that wait for company no longer

Result = TypeVar("Result")


class Offload:
    """A bounded pool of worker threads.

    Args:
        threads: how many; also how many blocking calls can be under way at once.
        gather: seconds that what nobody waits for waits for company.
    """

    def __init__(self, threads: int, gather: float = 0.05) -> None:
        self._gather = gather
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="tusplyr-disk")
        self._later: list[partial[None]] = []

    def start(self, function: Callable[..., Result], *args: object) -> asyncio.Future[Result]:
        """Begin a blocking function in a worker thread; who began it joins it, too."""
        return asyncio.get_running_loop().run_in_executor(self._executor, function, *args)

    async def run(self, function: Callable[..., Result], *args: object) -> Result:
        """Run a blocking function in a worker thread and return its result. Joins under cancellation."""
        return await joined(self.start(function, *args))

    def later(self, function: Callable[..., None], *args: object) -> None:
        """Run a blocking function that nobody waits for and that may fail: a sweep makes up for it.

        What comes within `gather` seconds shares a hop to a thread.
        """
        if not self._later:
            asyncio.get_running_loop().call_later(self._gather, self._flush)
        self._later.append(partial(function, *args))
        if len(self._later) >= MANY:
            self._flush()

    def close(self) -> None:
        """End the threads, after everything that was handed to them."""
        self._flush()
        self._executor.shutdown()

    def _flush(self) -> None:
        if self._later:
            jobs, self._later = self._later, []
            self._executor.submit(_logged, jobs)


def _logged(jobs: list[partial[None]]) -> None:
    for job in jobs:
        try:
            job()
        except TusplyrError as error:
            log.warning("%s%s failed and is left to the sweep: %s", job.func.__name__, job.args, error)


async def joined(awaitable: Awaitable[Result]) -> Result:
    """Await to the end, whatever happens to the caller; a cancellation is let through afterwards."""
    future = asyncio.ensure_future(awaitable)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError as cancelled:
        while not future.done():
            try:
                await asyncio.wait({future})
            except asyncio.CancelledError:
                continue
        if not future.cancelled():
            future.exception()  # retrieved: the caller hears of the cancellation alone
        raise cancelled from None

"""Work in threads of its own, so that nobody who is to end waits for a request that hangs.

Owns the threads. Must not know what is done in them. Invariant: what was given up goes on by itself, holds what it
holds until it ends, and counts for nothing.
"""

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

from tusplyr.core.errors import StoreDown, Suspended
from tusplyr.ports import Halted

TICK = 0.1  # seconds between two looks whether it is to stop
PATIENCE = 2.0  # seconds that what is under way has to end after that

Result = TypeVar("Result")


def start(name: str, work: Callable[[], Result]) -> Future[Result]:
    """Do something in a new thread, which keeps no process alive that wants to end.

    The future has what the work returns or raises, and `StoreDown` where no thread can be had.
    """
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - it is raised again where it is waited for
            future.set_exception(error)

    try:
        threading.Thread(target=run, name=name, daemon=True).start()
    except RuntimeError as error:
        future.set_exception(StoreDown(f"no thread can be had for a request: {error}"))
    return future


def carry(name: str, work: Callable[[], Result], halted: Halted) -> Result:
    """Do something that asks `halted` too, and return or raise what it does.

    Raises:
        Suspended: it was halted, and did not end within `PATIENCE`.
    """
    future = start(name, work)
    until = math.inf
    while not wait([future], TICK).done and time.monotonic() < until:
        until = min(until, time.monotonic() + PATIENCE) if halted() else until
    if not future.done():
        raise Suspended("publishing was asked to stop, and a request hangs")
    return future.result()

"""What every ring shares: coroutines run with a limit, and nothing of ours may block the event loop."""

import asyncio
import os
import subprocess
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from blockbuster import BlockBuster, BlockBusterFunction

Result = TypeVar("Result")

PATIENCE = 60.0  # seconds; a test that takes longer hangs, on a busy machine too
DISK = ("open", "fsync", "fdatasync", "pwrite", "ftruncate")  # calls of `os` that blockbuster itself does not watch
FILES = ("FileIO.read", "FileIO.readinto", "FileIO.write")


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> Iterator[None]:
    """Fail a blocking call that code of tusplyr makes on a thread with a running loop."""
    watch = BlockBuster("tusplyr")
    for module, names in (("os", DISK), ("io", FILES)):
        for name in names:
            full = f"{module}.{name}"
            function = BlockBusterFunction(None, full, scanned_modules="tusplyr")
            function.can_block_in("linecache.py", "updatecache")  # the text of a traceback in the log
            watch.functions[full] = function
    watch.activate()
    try:
        yield
    finally:
        watch.deactivate()


@pytest.fixture(scope="session")
def run() -> Callable[[Coroutine[Any, Any, Result]], Result]:
    """Run one coroutine on a loop of its own, with a limit."""

    def runner(main: Coroutine[Any, Any, Result]) -> Result:
        async def limited() -> Result:
            async with asyncio.timeout(PATIENCE):
                return await main

        return asyncio.run(limited())

    return runner


@pytest.fixture
def small_volume(tmp_path: Path) -> Iterator[Path]:
    """An empty volume of 2 MiB that really fills up: a tmpfs, mounted as root."""
    place = tmp_path / "small"
    place.mkdir()
    if os.getuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place], check=False).returncode:
        pytest.skip("mounting a small volume needs root (CI has it)")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


@pytest.fixture
def other_volume(tmp_path: Path) -> Iterator[Path]:
    """A directory on another volume than `tmp_path`, where link(2) cannot reach."""
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("a second volume is needed: /dev/shm (CI has it)")
    with tempfile.TemporaryDirectory(dir=shared) as place:
        yield Path(place)

"""SIGKILL in the middle of commits: whatever was acknowledged is there after reopening."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import tusplyr
from tusplyr.core.model import Status
from tusplyr.ledger.migrate import migrate
from tusplyr.ledger.sql import SqlLedger

CALLERS = 8
WRITER = """
import asyncio, os, sys
from pathlib import Path
from tusplyr.core.media import OTHER
from tusplyr.core.model import Upload
from tusplyr.ledger.sql import SqlLedger

async def caller(ledger, number, run):
    upload = Upload(id=f"{run:016x}{number:016x}", length=2**60, media=OTHER, created_at=0.5, updated_at=0.5)
    await ledger.create(upload)
    while True:
        upload = await ledger.checkpoint(upload, upload.offset + 1, b"x" * 120)
        os.write(1, f"{number} {upload.offset}\\n".encode())

async def main():
    ledger = await SqlLedger.open(Path(sys.argv[1]))
    await asyncio.gather(*(caller(ledger, number, int(sys.argv[3])) for number in range(int(sys.argv[2]))))

asyncio.run(main())
"""


def acknowledged_before_kill(path: Path, run: int, log: Path, lifetime: float) -> dict[int, int]:
    """Let a writer live for some seconds, kill it, and return the last offset that each caller was told."""
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [sys.executable, "-c", WRITER, path, str(CALLERS), str(run)],
            stdout=output,
            env=os.environ | {"PYTHONPATH": str(Path(tusplyr.__file__).parents[1])},
        ) as writer,
    ):
        while log.stat().st_size == 0:
            assert writer.poll() is None
            time.sleep(0.005)
        time.sleep(lifetime)
        writer.send_signal(signal.SIGKILL)
        assert writer.wait() == -signal.SIGKILL
    lines = log.read_text().splitlines(keepends=True)
    return {int(number): int(offset) for number, offset in (line.split() for line in lines if line.endswith("\n"))}


@pytest.mark.crash
def test_every_acknowledged_checkpoint_survives_sigkill(tmp_path):
    path = tmp_path / "tusplyr.db"
    migrate(path)

    async def reopened(run: int, acknowledged: dict[int, int]) -> None:
        ledger = await SqlLedger.open(path)
        for number, offset in acknowledged.items():
            row = await ledger.get(f"{run:016x}{number:016x}")
            assert row is not None
            # One more may be durable than was told: the kill fell between the commit and the answer.
            assert offset <= row.offset <= offset + 1
            assert (await ledger.checkpoint(row, row.length, None, "f" * 64)).status is Status.RECEIVED
        await ledger.close()

    chance = random.Random(20)
    for run in range(4):
        acknowledged = acknowledged_before_kill(path, run, tmp_path / f"{run}.log", chance.uniform(0.01, 0.2))
        assert acknowledged
        asyncio.run(reopened(run, acknowledged))
